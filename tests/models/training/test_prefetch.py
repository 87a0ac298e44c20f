import threading
import time
from itertools import islice

import numpy as np
import pytest
import torch

from gaga.models.training.prefetch import Feed
from tests.models.training.test_step import PerAtom, stepper


def streamed_stepper():
    return stepper(PerAtom(), held_bytes=0)


def test_batches_come_in_their_order_from_any_step_and_are_the_same_streamed():
    held, streamed = stepper(PerAtom()), streamed_stepper()
    one, other = Feed(held, 9), Feed(streamed, 9)
    expected = held.objective.batches(held.columns, 9)
    for (step, members), a, b in zip(expected, one, islice(other, 20), strict=False):
        assert a[0] == b[0] == step
        np.testing.assert_array_equal(a[1], members)
        np.testing.assert_array_equal(b[1], members)
        assert torch.equal(held.columns.clean(a[2].atoms), streamed.columns.clean(b[2].atoms))
        for name in ("keys", "t", "weights"):
            assert torch.equal(getattr(a[2], name), getattr(b[2], name))
    one.close(), other.close()


def test_streamed_batches_are_read_ahead_and_not_without_end(monkeypatch):
    it, read = streamed_stepper(), []
    original = it.columns.read
    monkeypatch.setattr(it.columns, "read", lambda members: read.append(len(members)) or original(members))
    feed = Feed(it, 0)
    next(feed)
    deadline = time.monotonic() + 10
    while len(read) < 10 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert 10 <= len(read) <= 16, "no more than a few batches are read before somebody takes them"
    feed.close()


def test_what_steps_wait_is_measured(monkeypatch):
    it = streamed_stepper()
    original = it.columns.read
    monkeypatch.setattr(it.columns, "read", lambda members: time.sleep(0.05) or original(members))
    feed = Feed(it, 0)
    next(feed)
    assert 0.05 <= feed.waited < 5
    waited = feed.waited
    time.sleep(0.3)
    next(feed)
    assert feed.waited - waited < 0.05, "it lay ready"
    feed.close()


def test_threads_end_with_the_feed():
    before = threading.active_count()
    feed = Feed(streamed_stepper(), 0)
    next(feed)
    assert threading.active_count() > before
    feed.close()
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_a_batch_that_cannot_be_read_is_an_error_of_the_step_that_takes_it(monkeypatch):
    it = streamed_stepper()

    def fails(members):
        raise OSError("gone")

    monkeypatch.setattr(it.columns, "read", fails)
    feed = Feed(it, 0)
    with pytest.raises(OSError, match="gone"):
        next(feed)
    feed.close()
