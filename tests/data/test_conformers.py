"""Conformers: which records of a file are one molecule, by SMILES, titles, or bonds."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from gaga.chem.io import Record
from gaga.chem.writers import as_written
from gaga.data.conformers import conformer_groups
from gaga.data.own import read_own


def named_records(names, seed=0):
    rng = np.random.default_rng(seed)
    return [Record(np.array([8, 1, 1], np.uint8), rng.normal(size=(3, 3)), name=name) for name in names]


def test_no_split_cuts_the_conformers_of_a_molecule(tmp_path):
    records = named_records([f"water {k % 30}" for k in range(120)])
    (tmp_path / "conformers.xyz").write_bytes(b"".join(as_written(Path("m.xyz"), record) for record in records))
    data = read_own(tmp_path / "conformers.xyz")
    assert data.groups.tolist() == [k % 30 for k in range(120)]
    assert [len(data.splits[s]) for s in ("train", "valid", "test")] == [96, 12, 12]
    for members in data.splits.values():
        assert (np.bincount(data.groups[members], minlength=30) % 4 == 0).all()


def test_conformers_are_told_by_smiles_before_names_and_by_their_atoms():
    by_name = named_records([f"m{k // 2}" for k in range(24)])
    assert conformer_groups(by_name).tolist() == [k // 2 for k in range(24)]
    told = [replace(r, properties={"smiles": f"{k}"}) for k, r in enumerate(by_name)]
    assert conformer_groups(told) is None
    shuffled = [replace(by_name[0], atomic_numbers=np.array([1, 8, 1], np.uint8)), *by_name[1:]]
    assert conformer_groups(shuffled)[0] == conformer_groups(shuffled)[1]
    others = [replace(r, atomic_numbers=np.array([8, 1, 1 + k % 2], np.uint8)) for k, r in enumerate(by_name)]
    assert conformer_groups(others) is None


def test_a_name_for_everything_or_none_is_no_molecule():
    assert conformer_groups(named_records(["written by hand"] * 100)) is None
    assert conformer_groups(named_records([""] * 100)) is None
    mixed = named_records(["untitled"] * 100)
    others = [replace(r, atomic_numbers=np.array([8, 1, 1 + k % 20], np.uint8)) for k, r in enumerate(mixed)]
    assert conformer_groups(others) is None
    named = named_records([f"m{k // 2}" for k in range(40)])
    assert conformer_groups([*named, *others]).tolist() == [*(k // 2 for k in range(40)), *range(20, 120)]


def test_few_molecules_told_by_smiles_are_kept_whole():
    records = [replace(r, properties={"SMILES": f"{k % 3}"}) for k, r in enumerate(named_records(["it"] * 30))]
    assert conformer_groups(records).tolist() == [k % 3 for k in range(30)]
    assert conformer_groups([replace(r, name=f"{k % 2}") for k, r in enumerate(named_records([""] * 30))]) is None


def test_a_name_is_no_smiles():
    told = [replace(r, properties={"SMILES": r.name}, name="") for r in named_records(["O"] * 20)]
    groups = conformer_groups([*named_records(["O"] * 20), *told, *named_records([f"{k}" for k in range(20)])])
    assert groups[:20].tolist() == [0] * 20
    assert groups[20:40].tolist() == [1] * 20
