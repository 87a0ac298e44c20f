import multiprocessing
import os
import signal
import sys

import numpy as np
import pytest

from gaga.chem.geometry import Measured
from gaga.core.errors import InvalidInput, Unavailable
from gaga.core.molecules import PackedMolecules, pack
from gaga.data import load_dataset
from gaga.evaluation import PROTOCOLS, verdicts
from gaga.evaluation.verdicts import OnDiskMeasurements, judge
from gaga.storage.partial import PartialFile


@pytest.fixture(scope="module")
def sample():
    molecules = load_dataset("qm9").molecules
    return molecules.take(np.random.default_rng(0).choice(len(molecules), 600, replace=False))


def test_workers_do_not_change_verdicts(sample, monkeypatch):
    monkeypatch.setattr(verdicts, "_CHUNK", 40)
    some = sample.take(np.arange(100))
    assert_same(*(judge(some, "edm", workers=n) for n in (1, 2)))  # by strict: see the worker that is killed


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_empty_and_not_finite_molecules_fail_in_their_place(sample, protocol):
    numbers, positions = sample[0]
    molecules = pack(
        [(numbers, positions), (np.zeros(0), np.zeros((0, 3))), (numbers, np.full_like(positions, np.nan))]
    )
    found = judge(molecules, protocol).verdicts
    assert found.valid.tolist() == found.stable.tolist() == found.connected.tolist() == [True, False, False]
    assert found.n_stable_atoms.tolist() == [len(numbers), 0, 0]
    assert found.smiles[1:] == ("", "")


def test_bonds_of_all_molecules_are_measured(sample):
    by_hand = sum(len(judge(sample.take([i]), "edm").lengths.values) for i in range(20))
    judged = judge(sample.take(np.arange(20)), "edm")
    assert len(judged.lengths.values) == by_hand > 20 * 5
    assert len(judged.angles.values) > len(judged.lengths.values)


def test_progress_counts_molecules(sample, monkeypatch):
    monkeypatch.setattr(verdicts, "_CHUNK", 25)
    seen = []
    some = sample.take(np.arange(60))
    judge(some, "edm", workers=1, progress=lambda done, total, note="": seen.append((done, total)))
    assert seen == [(25, 60), (50, 60), (60, 60)]


def test_no_molecules():
    nothing = PackedMolecules(np.zeros((0, 3), np.float32), np.zeros(0, np.uint8), np.zeros(1, np.int64))
    assert len(judge(nothing, "edm").verdicts.n_atoms) == 0


def test_wrong_arguments(sample):
    with pytest.raises(InvalidInput, match="unknown protocol"):
        judge(sample, "loose")
    with pytest.raises(InvalidInput, match="at least one worker"):
        judge(sample, "edm", workers=0)


@pytest.mark.skipif(sys.platform == "win32", reason="kills with SIGKILL")
def test_a_worker_that_is_killed_is_one_clear_error_and_what_was_judged_is_kept(sample, tmp_path, monkeypatch):
    monkeypatch.setattr(verdicts, "_CHUNK", 40)
    many = sample.take(np.arange(400))

    def kill(done, total, note=""):
        if done == 80:
            os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)

    with PartialFile(tmp_path / "journal", {}, remedy="") as journal:
        with pytest.raises(Unavailable, match=r"ended early.*`resume=True`"):
            judge(many, "strict", workers=2, progress=kill, pieces=journal)
        assert 2 <= len(journal) < 10
        assert multiprocessing.active_children() == []
        assert_same(judge(many, "strict", workers=2, pieces=journal), judge(many, "strict", workers=1))


def test_a_molecule_too_large_for_every_pair_is_refused(monkeypatch):
    monkeypatch.setattr(verdicts, "MAX_ATOMS", 4)
    positions = np.arange(15, dtype=np.float32).reshape(5, 3)
    with pytest.raises(InvalidInput, match="more than 4 atoms"):
        judge(pack([([6] * 5, positions)]), "edm")
    assert len(judge(pack([([6] * 4, positions[:4])]), "edm").verdicts.n_atoms) == 1


class Stopped(Exception):
    """Somebody stopped the run."""


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_judging_that_stops_after_any_piece_ends_bit_for_bit_as_another(sample, protocol, tmp_path, monkeypatch):
    monkeypatch.setattr(verdicts, "_CHUNK", 15)
    molecules = sample.take(np.arange(50))
    expected = judge(molecules, protocol)
    for pieces, last in enumerate((15, 30, 45, 50), start=1):

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
    monkeypatch.setattr(verdicts, "_CHUNK", 3)
    molecules = pack([sample[0], sulfur_chain(4000), sample[1], sample[2], sample[3]])
    with PartialFile(tmp_path / "journal", {}, remedy="") as journal:
        judged = judge(molecules, "strict", workers=1, time_limit=5.0, pieces=journal)
        assert len(journal) == 2
        assert multiprocessing.active_children() == []
        assert_same(judge(molecules, "strict", time_limit=5.0, pieces=journal), judged)
    found = judged.verdicts
    assert found.reasons == ("", "time", "", "", "")
    assert found.valid.tolist() == [True, False, True, True, True]
    assert (found.n_atoms[1], found.n_stable_atoms[1], found.smiles[1]) == (4000, 0, "")
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


@pytest.fixture
def parts():
    rng = np.random.default_rng(0)
    return [
        Measured(rng.integers(0, 5, n).astype(np.int32), rng.normal(size=n).astype(np.float32))
        for n in (3, 0, 100_000, 1)
    ]


def test_measurements_on_disk_are_those_that_were_added_in_order(parts):
    on_disk = OnDiskMeasurements()
    for part in parts:
        on_disk.append(part.codes, part.values)
    whole = Measured(np.concatenate([p.codes for p in parts]), np.concatenate([p.values for p in parts]))
    np.testing.assert_array_equal(on_disk.codes, whole.codes)
    np.testing.assert_array_equal(on_disk.values, whole.values)
    for code in range(7):
        np.testing.assert_array_equal(on_disk.of_kind(code), whole.of_kind(code))
    assert len(on_disk.of_kind(3)) > 19_000
    assert on_disk.of_kind(3).dtype == np.float32


def test_no_measurements_on_disk():
    on_disk = OnDiskMeasurements()
    assert (len(on_disk.codes), len(on_disk.of_kind(1))) == (0, 0)
