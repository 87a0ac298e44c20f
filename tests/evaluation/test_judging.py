import multiprocessing
import os
import signal
import sys

import numpy as np
import pytest

from gaga.core.errors import InvalidInput, Unavailable
from gaga.core.molecules import PackedMolecules, pack
from gaga.data import load_dataset
from gaga.evaluation import judging
from gaga.evaluation.judging import PROTOCOLS, judge
from gaga.storage.partial import PartialFile


@pytest.fixture(scope="module")
def sample():
    molecules = load_dataset("qm9").molecules
    return molecules.take(np.random.default_rng(0).choice(len(molecules), 600, replace=False))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_workers_do_not_change_verdicts(sample, protocol):
    one, two = (judge(sample, protocol, workers=n) for n in (1, 2))
    for field in ("n_atoms", "n_stable_atoms", "stable", "valid", "connected"):
        np.testing.assert_array_equal(getattr(one.verdicts, field), getattr(two.verdicts, field))
    assert one.verdicts.smiles == two.verdicts.smiles
    np.testing.assert_array_equal(one.lengths.values, two.lengths.values)
    np.testing.assert_array_equal(one.angles.codes, two.angles.codes)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_empty_and_not_finite_molecules_fail_in_their_place(sample, protocol):
    numbers, positions = sample[0]
    molecules = pack(
        [(numbers, positions), (np.zeros(0), np.zeros((0, 3))), (numbers, np.full_like(positions, np.nan))]
    )
    verdicts = judge(molecules, protocol).verdicts
    assert verdicts.valid.tolist() == [True, False, False]
    assert verdicts.stable.tolist() == [True, False, False]
    assert verdicts.connected.tolist() == [True, False, False]
    assert verdicts.n_stable_atoms.tolist() == [len(numbers), 0, 0]
    assert verdicts.smiles[1:] == ("", "")


def test_bonds_of_all_molecules_are_measured(sample):
    by_hand = sum(len(judge(sample.take([i]), "edm").lengths.values) for i in range(20))
    judged = judge(sample.take(np.arange(20)), "edm")
    assert len(judged.lengths.values) == by_hand > 20 * 5
    assert len(judged.angles.values) > len(judged.lengths.values)


def test_progress_counts_molecules(sample):
    seen = []
    judge(sample, "edm", workers=1, progress=lambda done, total, note="": seen.append((done, total)))
    assert seen == [(250, 600), (500, 600), (600, 600)]


def test_no_molecules():
    nothing = PackedMolecules(np.zeros((0, 3), np.float32), np.zeros(0, np.uint8), np.zeros(1, np.int64))
    assert len(judge(nothing, "edm").verdicts.n_atoms) == 0


def test_wrong_arguments(sample):
    with pytest.raises(InvalidInput, match="unknown protocol"):
        judge(sample, "loose")
    with pytest.raises(InvalidInput, match="at least one worker"):
        judge(sample, "edm", workers=0)


@pytest.mark.skipif(sys.platform == "win32", reason="kills with SIGKILL")
def test_a_worker_that_is_killed_is_one_clear_error_and_what_was_judged_is_kept(sample, tmp_path):
    many = sample.take(np.tile(np.arange(len(sample)), 4))

    def kill(done, total, note=""):
        if done == 500:
            os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)

    with PartialFile(tmp_path / "journal", {}, remedy="") as journal:
        with pytest.raises(Unavailable, match=r"ended early.*`resume=True`"):
            judge(many, "strict", workers=2, progress=kill, pieces=journal)
        assert 2 <= len(journal) < 10
        assert multiprocessing.active_children() == []
        assert_same(judge(many, "strict", workers=2, pieces=journal), judge(many, "strict", workers=1))


def test_a_molecule_too_large_for_every_pair_is_refused(monkeypatch):
    monkeypatch.setattr(judging, "MAX_ATOMS", 4)
    positions = np.arange(15, dtype=np.float32).reshape(5, 3)
    with pytest.raises(InvalidInput, match="more than 4 atoms"):
        judging.judge(pack([([6] * 5, positions)]), "edm")
    assert len(judging.judge(pack([([6] * 4, positions[:4])]), "edm").verdicts.n_atoms) == 1


class Stopped(Exception):
    """Somebody stopped the run."""


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_judging_that_stops_after_any_piece_ends_bit_for_bit_as_another(sample, protocol, tmp_path, monkeypatch):
    monkeypatch.setattr(judging, "_CHUNK", 40)
    molecules = sample.take(np.arange(130))
    expected = judge(molecules, protocol)
    for pieces, last in enumerate((40, 80, 120, 130), start=1):

        def stop(done, total, note="", last=last):
            if done == last:
                raise Stopped

        with PartialFile(tmp_path / f"{pieces}", {}, remedy="") as journal:
            with pytest.raises(Stopped):
                judge(molecules, protocol, pieces=journal, progress=stop)
            assert len(journal) == pieces
        with PartialFile(tmp_path / f"{pieces}", {}, remedy="") as journal:
            assert_same(judge(molecules, protocol, pieces=journal), expected)


def assert_same(found, expected):
    for field in ("n_atoms", "n_stable_atoms", "stable", "valid", "connected"):
        np.testing.assert_array_equal(getattr(found.verdicts, field), getattr(expected.verdicts, field))
    assert found.verdicts.smiles == expected.verdicts.smiles
    assert found.verdicts.reasons == expected.verdicts.reasons
    for part in ("lengths", "angles"):
        for field in ("codes", "values"):
            ours, theirs = (getattr(getattr(judged, part), field) for judged in (found, expected))
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)


def sulfur_chain(n):
    """A zigzag of sulfur: what RDKit tries on one of a few thousand atoms takes minutes."""
    positions = np.stack([1.74 * np.arange(n), 1.09 * (np.arange(n) % 2), np.zeros(n)], axis=1)
    return np.full(n, 16, np.uint8), positions


def test_a_molecule_that_takes_too_long_fails_by_itself(sample, tmp_path, monkeypatch):
    monkeypatch.setattr(judging, "_CHUNK", 3)
    molecules = pack([sample[0], sulfur_chain(4000), sample[1], sample[2], sample[3]])
    with PartialFile(tmp_path / "journal", {}, remedy="") as journal:
        judged = judge(molecules, "strict", workers=1, time_limit=5.0, pieces=journal)
        assert len(journal) == 2
        assert multiprocessing.active_children() == []
        assert_same(judge(molecules, "strict", time_limit=5.0, pieces=journal), judged)
    verdicts = judged.verdicts
    assert verdicts.reasons == ("", "time", "", "", "")
    assert verdicts.valid.tolist() == [True, False, True, True, True]
    assert (verdicts.n_atoms[1], verdicts.n_stable_atoms[1], verdicts.smiles[1]) == (4000, 0, "")
    assert_same(
        judge(molecules.take([0, 2, 3, 4]), "strict"), judge(molecules.take([0, 2, 3, 4]), "strict", time_limit=60.0)
    )


def test_reasons(sample):
    numbers, positions = sample[0]
    carbon_pair = (np.array([6, 1]), np.array([[0, 0, 0], [0, 0, 1.1]]))
    molecules = pack(
        [sample[0], (np.zeros(0), np.zeros((0, 3))), (numbers, np.full_like(positions, np.nan)), carbon_pair]
    )
    assert judge(molecules, "strict").verdicts.reasons == (
        "", "no atoms", "positions are not finite", "no bond orders fit",
    )  # fmt: skip
    assert judge(molecules, "edm").verdicts.reasons[1:] == (
        "no atoms", "positions are not finite", "an atom with a wrong number of bonds",
    )  # fmt: skip


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_no_time_is_refused(sample, seconds):
    with pytest.raises(InvalidInput, match="more than nothing"):
        judge(sample, "edm", time_limit=seconds)
