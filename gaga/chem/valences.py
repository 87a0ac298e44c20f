"""The valences that atoms of real molecules have: a table that ships with the package.

Looked up by element, formal charge and (aromatic bonds, sum of the other bonds' orders), as Nikitin et al. 2025
("GEOM-Drugs Revisited", arXiv 2505.00169) propose. `benchmarks/build_reference.py` derives it from real molecules, from
RDKit's own periodic table and from textbooks of organic chemistry; its column `source` says which.
"""

import csv
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gaga.chem.elements import N_ELEMENTS, symbol_of

if TYPE_CHECKING:
    from rdkit import Chem

_AROMATIC = 1.5  # RDKit's order of an aromatic bond

Valence = tuple[int, int, int, int]
"""(atomic number, formal charge, number of aromatic bonds, sum of the orders of the other bonds)."""


@cache
def allowed_valences() -> frozenset[Valence]:
    """The valences of real molecules."""
    text = files("gaga").joinpath("shipped", "valences.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return frozenset(_parse(row) for row in rows if row["source"] != "rare")


IONS: frozenset[Valence] = frozenset({
    (3, 1, 0, 0), (11, 1, 0, 0), (19, 1, 0, 0), (12, 2, 0, 0), (20, 2, 0, 0),  # Li, Na, K, Mg, Ca
    (9, -1, 0, 0), (17, -1, 0, 0), (35, -1, 0, 0), (53, -1, 0, 0),  # halides
    (53, -1, 0, 2),  # triiodide
    (6, 1, 0, 3), (6, 1, 2, 1), (6, 1, 3, 0),  # carbocations, tropylium
    (6, -1, 2, 1), (6, -1, 3, 0),  # cyclopentadienide, fluorenide
    (13, -1, 0, 4), (14, -1, 0, 5), (15, -1, 0, 6), (15, -1, 0, 2), (34, -1, 0, 1),  # AlCl4-, SiF5-, PF6-, P2-, Se-
})  # fmt: skip
"""Valences, besides those of the table, in molecules whose total charge is not 0, from textbooks. In a neutral molecule
they are a slip of perception."""


@cache
def lewis_states(*, ion: bool = False) -> dict[int, tuple[tuple[int, int], ...]]:
    """By atomic number, the (formal charge, sum of bond orders) that atoms of Lewis structures have.

    Args:
        ion: those of molecules whose total charge is not 0, which have more.
    """
    states: dict[int, list[tuple[int, int]]] = {}
    for number, charge, aromatic, other in sorted(allowed_valences() | (IONS if ion else frozenset())):
        if not aromatic:
            states.setdefault(number, []).append((charge, other))
    return {number: tuple(found) for number, found in states.items()}


@cache
def max_bonds() -> NDArray[np.int64]:
    """By atomic number, the most bonds that an atom has: by the table, and 12 of elements that it does not have."""
    most = np.full(N_ELEMENTS + 1, 12)
    for number, states in lewis_states(ion=True).items():
        most[number] = max(valence for _, valence in states)
    return most


@cache
def lowest_valences() -> NDArray[np.int64]:
    """By atomic number, the least sum of bond orders of an uncharged atom; -1 of elements whose charges RDKit's search
    counts in another way."""
    lowest = np.full(N_ELEMENTS + 1, -1)
    for number in (1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 33, 34, 35, 53):
        lowest[number] = min(valence for charge, valence in lewis_states()[number] if not charge)
    return lowest


def atom_valences(molecule: "Chem.Mol") -> list[Valence]:
    """The valence of each atom."""
    from rdkit import Chem

    matrix = Chem.GetAdjacencyMatrix(molecule, useBO=True, force=True)  # a tenth of the time that a loop takes
    aromatic = (matrix == _AROMATIC).sum(axis=0)
    other = np.rint(matrix.sum(axis=0) - _AROMATIC * aromatic).astype(np.int64)
    atoms = map(molecule.GetAtomWithIdx, range(molecule.GetNumAtoms()))
    return [
        (atom.GetAtomicNum(), atom.GetFormalCharge(), a, b)
        for atom, a, b in zip(atoms, aromatic.tolist(), other.tolist(), strict=True)
    ]


def describe(valence: Valence) -> str:
    """A valence in words."""
    number, charge, aromatic, other = valence
    bonds = f"{aromatic} aromatic bonds and " if aromatic else ""
    ion = f"{symbol_of(number)}{charge:+d}" if charge else symbol_of(number)
    return f"{ion} with {bonds}bonds of order {other}"


def strange_valences(molecule: "Chem.Mol") -> dict[int, Valence]:
    """By index, the valences of those atoms whose valence real molecules do not have.

    Each atom is looked up twice: with its aromatic bonds counted apart, and in the kekulised molecule, so that a ring
    that is only called aromatic does not pass. If no Kekulé structure is found, no aromatic atom passes. A molecule
    whose total charge is not 0 may have the valences of IONS too.
    """
    valences = atom_valences(molecule)
    table = allowed_valences() | (IONS if sum(charge for _, charge, _, _ in valences) else frozenset())
    kekulised = _kekulised_valences(molecule) if any(aromatic for _, _, aromatic, _ in valences) else valences
    return {
        atom: found if found not in table else kekule
        for atom, (found, kekule) in enumerate(zip(valences, kekulised, strict=True))
        if not {found, kekule} <= table
    }


def _kekulised_valences(molecule: "Chem.Mol") -> list[Valence]:
    from rdkit import Chem

    copy = Chem.Mol(molecule)
    try:
        Chem.Kekulize(copy, clearAromaticFlags=True)
    except ValueError:
        # An aromatic atom keeps the number of its aromatic bonds and has no other valence: in no table.
        return [(z, q, a, b) if not a else (z, q, 0, -1) for z, q, a, b in atom_valences(molecule)]
    return atom_valences(copy)


def _parse(row: dict[str, str]) -> Valence:
    return int(row["atomic_number"]), int(row["charge"]), int(row["aromatic"]), int(row["other"])
