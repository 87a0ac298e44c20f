"""Geometries that are made: the same whoever makes them, kept in pieces, failures counted."""

import os
from collections import Counter

import numpy as np
import pytest

from gaga.chem import xtb
from gaga.chem.embed import NOT_EMBEDDED, embed, parse
from gaga.chem.facts import smiles_of
from gaga.chem.records import Record
from gaga.chem.tables import SmilesRow
from gaga.core.errors import InvalidInput, Unavailable
from gaga.data import geometries
from gaga.data.filters import Account, Candidate
from gaga.data.geometries import GeometryOptions, made
from gaga.storage.partial import PartialResults

CONTRADICTION = "[C@@]12(F)C[C@@]1(F)C2"
SMILES = ["C" * (i % 5 + 1) + "O" for i in range(40)] + [CONTRADICTION, "OB(O)C"]


def candidate(smiles: str) -> Candidate:
    parsed = parse(smiles)
    return Candidate(SmilesRow(smiles, "here", smiles, {"logP": "1"}), parsed.atomic_numbers, parsed.charge, b"")


def placed(smiles: str) -> Candidate:
    parsed = parse(smiles)
    record = Record(parsed.atomic_numbers, embed(smiles).positions, smiles, {"charge": str(parsed.charge)})
    return Candidate(record, parsed.atomic_numbers, parsed.charge, b"")


class Kept(PartialResults):
    """PartialResults in memory; `put` says when to fail."""

    def __init__(self, full: int = 10**9) -> None:
        self.kept, self.full = {}, full

    def get(self, name):
        return self.kept.get(name)

    def put(self, name, piece):
        if len(self.kept) == self.full:
            raise KeyboardInterrupt
        self.kept[name] = piece

    def __contains__(self, name):
        return name in self.kept


def make(smiles=SMILES, making=None, *, workers=1, pieces=None, account=None) -> list[Record]:
    return list(
        made(
            map(candidate, smiles),
            making or GeometryOptions(embed=True),
            account if account is not None else Account(),
            workers=workers,
            pieces=pieces or Kept(),
        )
    )


def same(first: list[Record], second: list[Record]) -> bool:
    return len(first) == len(second) and all(
        a.name == b.name and np.array_equal(a.positions, b.positions) and dict(a.properties) == dict(b.properties)
        for a, b in zip(first, second, strict=True)
    )


@pytest.fixture(scope="module")
def alone() -> list[Record]:
    return make()


def test_molecules_are_embedded_and_failures_counted(alone):
    account = Account()
    found = make(account=account)
    assert [record.name for record in found] == [s for s in SMILES if s != CONTRADICTION]
    assert account.left_out == Counter({NOT_EMBEDDED: 1})
    assert account.force_fields == Counter({"MMFF94": 40, "UFF": 1})
    assert dict(found[0].properties) == {"logP": "1", "SMILES": "CO"}
    assert np.array_equal(found[0].positions, embed("CO").positions)
    assert same(found, alone)


def test_processes_change_nothing(alone):
    assert same(make(SMILES * 2, workers=2), alone * 2)


def test_an_interrupted_run_goes_on(alone, monkeypatch):
    pieces = Kept(full=2)
    with pytest.raises(KeyboardInterrupt):
        make(pieces=pieces)
    assert len(pieces.kept) == 2
    pieces.full = 10**9
    embedded = []
    monkeypatch.setattr(geometries, "make_all", lambda making, some: embedded.append(len(some)) or _real(making, some))
    account = Account()
    assert same(make(pieces=pieces, account=account), alone)
    assert embedded == [len(SMILES) - 2 * 16]
    # What was counted before the interruption is counted again.
    assert account.force_fields == Counter({"MMFF94": 40, "UFF": 1})
    embedded.clear()
    assert same(make(pieces=pieces), alone)
    assert not embedded


_real = geometries.make_all


@pytest.fixture
def moving_xtb(tmp_path, monkeypatch):
    """A stand-in for xtb that moves every atom by 1 Å; it fails for a charged molecule."""
    program = tmp_path / "xtb"
    program.write_text(
        "#!/bin/sh\n"
        'if [ "$1" = --version ]; then echo "* xtb version 9.9 (x)"; exit; fi\n'
        '[ "$6" = 0 ] || exit 1\n'
        "awk 'NR==2 {print \" energy: -1.0 \"} NR!=2' start.xyz > xtbopt.log\n"
        "awk 'NR==1 {print} NR==2 {print \" energy: -1.5 \"} NR>2 {print $1, $2 + 1, $3, $4}' start.xyz > xtbopt.xyz\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")


def test_xtb_relaxes_what_was_embedded_or_read(moving_xtb):
    account = Account()
    sources = [candidate("CO"), placed("CO"), candidate("C[O-]"), placed("[NH4+]")]
    found = list(made(iter(sources), GeometryOptions(embed=True, optimise="xtb"), account, workers=1))
    assert account.left_out == Counter({xtb.FAILED: 2})
    for record in found:
        assert record.positions == pytest.approx(embed("CO").positions + np.array([1, 0, 0]), abs=1e-5)
        assert record.properties["xtb_energy"] == -1.5
    assert xtb.version() == "9.9"


def test_what_was_made_goes_before_what_a_file_says(moving_xtb):
    row = SmilesRow("CO", "row 1", "", {"isomeric_smiles": "CO.[Na+]", "xtb_energy": "7", "other": "3"})
    record = Record(candidate("CO").atomic_numbers, embed("CO").positions, "", {"xtb_energy": 7.0})
    sources = [Candidate(source, candidate("CO").atomic_numbers, 0, b"") for source in (row, record)]
    first, second = made(iter(sources), GeometryOptions(embed=True, optimise="xtb"), Account(), workers=1)
    assert first.properties == {"SMILES": "CO", "xtb_energy": -1.5, "other": "3"}
    assert smiles_of(first) == "CO"
    assert second.properties == {"xtb_energy": -1.5}


def test_xtb_is_missed_before_anything_is_done(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="xtb is not installed"):
        make(making=GeometryOptions(embed=True, optimise="xtb"))


@pytest.mark.skipif(xtb.available() is None, reason="the program xtb is not installed")
def test_by_the_program_itself():
    (found,) = make(["CC(=O)[O-]"], GeometryOptions(embed=True, optimise="xtb"))
    c_o = np.linalg.norm(found.positions[[2, 3]] - found.positions[1], axis=1)
    assert c_o == pytest.approx([1.25, 1.25], abs=0.02)  # of a carboxylate: equal


@pytest.mark.parametrize("bad", [{"optimise": "orca"}, {"time_limit_s": 0}, {"time_limit_s": float("inf")}])
def test_what_cannot_be_asked(bad):
    with pytest.raises(InvalidInput):
        GeometryOptions(**bad)
