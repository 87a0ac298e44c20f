import gc

import pytest
import torch

from gaga.models.network.capture import Replay, _nothing_collected


def count(device):
    total = torch.zeros((), device=device)
    step = torch.ones((), device=device)
    return total, step, Replay(lambda: total.add_(step), torch.device(device))


def test_each_call_is_one_execution():
    total, step, replay = count("cpu")
    for _ in range(7):
        replay()
    step.fill_(10.0)
    replay()
    assert float(total) == 17.0


@pytest.mark.gpu
def test_each_call_is_one_execution_recorded_or_not():
    total, step, replay = count("cuda")
    for k in range(7):
        replay()
        assert float(total) == k + 1
    step.fill_(10.0)
    replay()
    assert float(total) == 17.0


class Loop:
    """Garbage that only the collector finds."""

    def __init__(self, freed):
        self.itself, self.freed = self, freed

    def __del__(self):
        self.freed.append(True)


def test_no_garbage_is_collected_while_a_step_is_recorded():
    freed, enabled = [], gc.isenabled()
    Loop(freed)
    with _nothing_collected():
        assert freed == [True]
        Loop(freed)
        _ = [[] for _ in range(100_000)]
        assert freed == [True]
    gc.collect()
    assert freed == [True, True]
    assert gc.isenabled() == enabled
