"""Gaussianity that is interrupted after any of its pieces ends as if it had not been."""

import numpy as np
import pytest

from gaga.core.molecules import PackedMolecules, offsets_of
from gaga.data.features import FeatureSpace
from gaga.noise import make_schedule
from gaga.stats import reference
from gaga.stats.config import GaussianityConfig
from gaga.stats.gaussianity import gaussianity
from gaga.stats.moments import estimate_moments
from gaga.storage.partial import PartialFile
from gaga.storage.serialise import flatten, to_tree

CONFIG = GaussianityConfig(timesteps=(100, 500, 900), n_null=40, n_resamples=10, references=("size", "matched"))


class Stopped(Exception):
    """Somebody stopped the run."""


class Stopping(PartialFile):
    """A journal that stops the run once it has so many pieces."""

    def __init__(self, path, most):
        super().__init__(path, {"seed": 4}, remedy="")
        self.most = most

    def put(self, name, piece):
        super().put(name, piece)
        if len(self) == self.most:
            raise Stopped


@pytest.fixture
def run(monkeypatch):
    """Sixty molecules, in pieces of a few."""
    monkeypatch.setattr(reference, "_CHUNK_ATOM_STEPS", 3 * 80)
    monkeypatch.setattr(reference, "_MOLECULES_PER_GROUP", 0.2)
    rng = np.random.default_rng(0)
    sizes = rng.integers(3, 20, size=60)
    positions = rng.normal(scale=1.5, size=(int(sizes.sum()), 3)).astype(np.float32)
    numbers = rng.choice([1, 6, 7, 8, 9], size=len(positions)).astype(np.uint8)
    molecules, space = PackedMolecules(positions, numbers, offsets_of(sizes)), FeatureSpace((1, 6, 7, 8, 9))
    moments = estimate_moments(molecules, space)

    def compute(**on):
        found = gaussianity(molecules, space, make_schedule(), moments, CONFIG, seed=4, **{"threads": 1, **on})
        return flatten(to_tree(found))

    return compute


def assert_bitwise(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(("device", "stride"), [(None, 2), ("cpu", 5)])
def test_a_run_stopped_after_any_piece_ends_bit_for_bit_as_another(run, tmp_path, device, stride):
    expected = run(device=device)
    with Stopping(tmp_path / "whole", most=-1) as journal:
        assert_bitwise(run(device=device, pieces=journal), expected)
        pieces = len(journal)
    assert pieces > 15, "three tests in pieces, two curves and two nulls' of three steps"
    for most in range(1, pieces + 1, stride):
        path = tmp_path / f"after {most}"
        with Stopping(path, most) as journal, pytest.raises(Stopped):
            run(device=device, pieces=journal)
        with Stopping(path, most=-1) as journal:
            assert len(journal) == most
            assert_bitwise(run(device=device, pieces=journal), expected)
            assert len(journal) == pieces


def test_a_run_stopped_at_every_piece_goes_on_with_other_chunks_and_threads(run, tmp_path, monkeypatch):
    """The cut into chunks, as the number of threads, is of no account to what was kept."""
    expected, stops = run(), 0
    for stops in range(1, 100):
        monkeypatch.setattr(reference, "_CHUNK_ATOM_STEPS", 3 * (40 + 7 * stops))
        try:
            with Stopping(tmp_path / "journal", most=stops) as journal:
                found = run(pieces=journal, threads=1 + stops % 2)
            break
        except Stopped:
            continue
    assert stops > 10
    assert_bitwise(found, expected)


def test_all_that_is_finished_is_reported_at_once(run, tmp_path):
    seen = []
    for _ in range(2):
        with Stopping(tmp_path / "journal", most=-1) as journal:
            run(pieces=journal, progress=lambda done, total: seen.append((done, total)))
    total = 2 * 3 * (60 + 2 * 40)
    assert seen[-1] == (total, total)
    assert len(seen) > 20
    assert len([done for done, _ in seen if done == total]) == 2
    assert seen[-6:] == [(n * 3, total) for n in (60, 100, 140, 200, 240, 280)]
