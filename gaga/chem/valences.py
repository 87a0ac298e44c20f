"""The valences that atoms of real molecules have: a table that ships with the package.

Looked up by element, formal charge and (aromatic bonds, sum of the other bonds' orders), as Nikitin et al. 2025
("GEOM-Drugs Revisited", arXiv 2505.00169) propose. `benchmarks/build_reference.py` derives it from real molecules, from
RDKit's own periodic table and from textbooks of organic chemistry; its column `source` says which.
"""

import csv
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from gaga.chem.elements import symbol_of

if TYPE_CHECKING:
    from rdkit import Chem

Valence = tuple[int, int, int, int]
"""(atomic number, formal charge, number of aromatic bonds, sum of the orders of the other bonds)."""


@cache
def allowed_valences() -> frozenset[Valence]:
    """The valences of real molecules."""
    text = files("gaga").joinpath("shipped", "valences.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return frozenset(_parse(row) for row in rows if row["source"] != "rare")


@cache
def lewis_states() -> dict[int, tuple[tuple[int, int], ...]]:
    """By atomic number, the (formal charge, sum of bond orders) that atoms of Lewis structures have."""
    states: dict[int, list[tuple[int, int]]] = {}
    for number, charge, aromatic, other in sorted(allowed_valences()):
        if not aromatic:
            states.setdefault(number, []).append((charge, other))
    return {number: tuple(found) for number, found in states.items()}


def atom_valences(molecule: "Chem.Mol") -> list[Valence]:
    """The valence of each atom."""
    aromatic, other = [0] * molecule.GetNumAtoms(), [0] * molecule.GetNumAtoms()
    for bond in molecule.GetBonds():
        is_aromatic = bond.GetIsAromatic()
        counts, order = (aromatic, 1) if is_aromatic else (other, int(bond.GetBondTypeAsDouble()))
        counts[bond.GetBeginAtomIdx()] += order
        counts[bond.GetEndAtomIdx()] += order
    kinds = [(atom.GetAtomicNum(), atom.GetFormalCharge()) for atom in molecule.GetAtoms()]
    return [(*kind, a, b) for kind, a, b in zip(kinds, aromatic, other, strict=True)]


def describe(valence: Valence) -> str:
    """A valence in words."""
    number, charge, aromatic, other = valence
    bonds = f"{aromatic} aromatic bonds and " if aromatic else ""
    ion = f"{symbol_of(number)}{charge:+d}" if charge else symbol_of(number)
    return f"{ion} with {bonds}bonds of order {other}"


def strange_valences(molecule: "Chem.Mol") -> list[Valence]:
    """The valences of those atoms whose valence real molecules do not have.

    Each atom is looked up twice: with its aromatic bonds counted apart, and in the kekulised molecule, so that a ring
    that is only called aromatic does not pass. Where no Kekulé structure is found, no aromatic atom passes.
    """
    table, valences = allowed_valences(), atom_valences(molecule)
    kekulised = _kekulised_valences(molecule) if any(aromatic for _, _, aromatic, _ in valences) else valences
    pairs = zip(valences, kekulised, strict=True)
    return [found if found not in table else kekule for found, kekule in pairs if not {found, kekule} <= table]


def _kekulised_valences(molecule: "Chem.Mol") -> list[Valence]:
    from rdkit import Chem

    copy = Chem.Mol(molecule)
    try:
        Chem.Kekulize(copy, clearAromaticFlags=True)
    except ValueError:
        # An aromatic atom keeps the number of its aromatic bonds and has no valence beside: in no table.
        return [(z, q, a, b) if not a else (z, q, 0, -1) for z, q, a, b in atom_valences(molecule)]
    return atom_valences(copy)


def _parse(row: dict[str, str]) -> Valence:
    return int(row["atomic_number"]), int(row["charge"]), int(row["aromatic"]), int(row["other"])
