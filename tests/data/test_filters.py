"""Filters on streams of molecules: every molecule is taken or counted under one reason."""

import numpy as np
import pytest

from gaga.chem.embed import embed, parse
from gaga.chem.records import UNREADABLE, Record, Skipped
from gaga.chem.tables import SmilesRow
from gaga.core.errors import InvalidInput
from gaga.data.filters import Account, Candidate, Filters, chosen


def row(smiles: str) -> SmilesRow:
    return SmilesRow(smiles, "here")


def record(smiles: str) -> Record:
    return Record(parse(smiles).atomic_numbers, embed(smiles).positions, name=smiles)


def take(sources, workers: int | None = 1, **filters) -> tuple[list[Candidate], Account]:
    account = Account()
    return list(chosen(iter(sources), Filters(**filters), account, workers)), account


def names(candidates: list[Candidate]) -> list[str]:
    return [c.source.smiles if isinstance(c.source, SmilesRow) else c.source.name for c in candidates]


@pytest.mark.parametrize("make", [row, record])
@pytest.mark.parametrize(
    ("filters", "taken", "left_out"),
    [
        ({}, ["C", "CCO", "CS", "[NH4+]", "OCC"], {}),
        ({"min_atoms": 6}, ["CCO", "CS", "OCC"], {"fewer than 6 atoms": 2}),
        ({"max_atoms": 6}, ["C", "CS", "[NH4+]"], {"more than 6 atoms": 2}),
        ({"elements": (1, 6, 8)}, ["C", "CCO", "OCC"], {"elements other than H, C, O": 2}),
        ({"neutral": True}, ["C", "CCO", "CS", "OCC"], {"not neutral": 1}),
        ({"no_duplicates": True}, ["C", "CCO", "CS", "[NH4+]"], {"duplicate": 1}),
        (
            {"max_atoms": 6, "elements": (1, 6, 7, 8), "neutral": True, "no_duplicates": True}, ["C"],
            {"more than 6 atoms": 2, "elements other than H, C, N, O": 1, "not neutral": 1},
        ),
    ],
)  # fmt: skip
def test_each_filter(make, filters, taken, left_out):
    sources = [Skipped(UNREADABLE, "there"), *map(make, ["C", "CCO", "CS", "[NH4+]", "OCC"])]
    candidates, account = take(sources, **filters)
    assert names(candidates) == taken
    assert account.read == 6
    assert dict(account.left_out) == {UNREADABLE: 1, **left_out}


def test_rows_that_are_no_molecules_are_counted():
    candidates, account = take([row("xx"), row("CC.O"), row("C")])
    assert names(candidates) == ["C"]
    assert dict(account.left_out) == {"cannot parse SMILES": 1, "several fragments": 1}


def test_the_largest_fragment_is_what_the_others_look_at():
    sources = [row("CC(=O)[O-].[Na+]"), row("C[NH3+].[Cl-]"), row("CCO.O"), row("OCC")]
    candidates, account = take(sources, largest_fragment=True, neutral=True, no_duplicates=True)
    assert names(candidates) == ["CCO"]
    assert dict(account.left_out) == {"not neutral": 2, "duplicate": 1}


def test_a_candidate_knows_its_atoms_and_charge():
    (anion,), _ = take([row("CC(=O)[O-]")])
    assert (anion.charge, sorted(anion.atomic_numbers.tolist())) == (-1, [1, 1, 1, 6, 6, 8, 8])


def test_processes_change_nothing():
    few = [row(smiles) for smiles in ("C", "CC", "C" * 5, "CO", "xx")]
    many = [SmilesRow(f"{'C' * (i % 9 + 1)}O", f"{i}") for i in range(600)] + few
    alone, counted = take(many, no_duplicates=True, max_atoms=25)
    spread, also_counted = take(many, workers=2, no_duplicates=True, max_atoms=25)
    assert names(alone) == names(spread)
    assert len(alone) == 7 + 3
    assert counted == also_counted


@pytest.mark.parametrize(
    "bad", [{"min_atoms": 5, "max_atoms": 4}, {"max_atoms": 0}, {"min_atoms": -1}, {"elements": ()}]
)
def test_filters_that_nothing_passes_are_refused(bad):
    with pytest.raises(InvalidInput):
        Filters(**bad)


def test_a_stream_is_taken_as_it_is_needed():
    taken = []

    def sources():
        for i in range(100):
            taken.append(i)
            yield Record(np.array([1], np.uint8), np.zeros((1, 3)))

    stream = chosen(sources(), Filters(), Account(), 1)
    next(stream)
    assert len(taken) == 1
