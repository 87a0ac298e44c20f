"""What is known of a molecule beyond its atoms: charge, pieces, and who it is.

A file's word counts first: bonds and formal charges of an SDF, a property `charge`, a property `SMILES`. If it is
silent, bonds are perceived from the geometry: pieces by covalent radii, charges and bond orders by `bonds.perceive`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int64, UInt8

from gaga.chem.bonds import COVALENT_FACTORS, perceive
from gaga.chem.connectivity import HYDROGEN, close_pairs, pieces
from gaga.chem.embed import NotEmbedded, parse
from gaga.chem.records import Bonding, PropertyValue, Record
from gaga.chem.strict import stereo_smiles
from gaga.core.text import decimal

if TYPE_CHECKING:
    from rdkit.Chem import Mol

_CHARGE_NAMES = ("charge", "total_charge", "net_charge", "formal_charge", "molecular_charge", "pubchem_total_charge")
_SMILES_NAMES = ("smiles", "canonical_smiles", "isomeric_smiles")
_MAX_CHARGE = 100


def total_charge(record: Record) -> int | None:
    """The charge that a file tells: by a property of that name, or as the sum of an SDF's formal charges.

    An SDF with bonds and no charges tells that the molecule is neutral. None if the file says nothing.
    """
    for name, value in record.properties.items():
        if _folded(name) in _CHARGE_NAMES and (charge := _integer(value)) is not None:
            return charge
    return None if record.bonding is None else int(record.bonding.charges.sum())


def _folded(name: str) -> str:
    return "_".join(name.lower().replace("-", " ").replace("_", " ").split())


def _integer(value: object) -> int | None:
    text = str(value).strip()
    try:
        number = decimal(text[-1:] + text[:-1] if text.endswith(("+", "-")) else text)  # 2+ is a habit too
    except ValueError:
        return None
    return int(number) if abs(number) <= _MAX_CHARGE and number == int(number) else None


def is_neutral(record: Record) -> bool:
    """Whether the molecule is neutral: as its file tells, else whether bonds of a neutral one fit its geometry."""
    charge = total_charge(record)
    return perceive(record.atomic_numbers, record.positions) is not None if charge is None else charge == 0


def largest_fragment(record: Record) -> Record:
    """The piece of the most heavy atoms, then of the most atoms, then the first; the record itself if it is whole.

    Pieces are by the file's bonds, else by covalent radii. What the file says of the whole, the piece does not keep.
    """
    found = _pieces(record)
    if len(found) < 2:
        return record
    heavy = record.atomic_numbers != HYDROGEN
    kept = max(found, key=lambda piece: (int(heavy[piece].sum()), int(piece.sum())))
    said = {name: value for name, value in record.properties.items() if _folded(name) not in _OF_THE_WHOLE}
    return replace(
        record,
        atomic_numbers=record.atomic_numbers[kept],
        positions=record.positions[kept],
        properties=said,
        bonding=None if record.bonding is None else _cut(record.bonding, kept),
    )


_OF_THE_WHOLE = (*_CHARGE_NAMES, *_SMILES_NAMES)


def _cut(bonding: Bonding, kept: Bool[np.ndarray, " N"]) -> Bonding:
    place = np.cumsum(kept) - 1
    return Bonding(place[bonding.pairs[kept[bonding.pairs[:, 0]]]], bonding.charges[kept])


def _pieces(record: Record) -> list[Bool[np.ndarray, " N"]]:
    """Which atoms are in each piece, in the order of their first atoms."""
    if record.bonding is not None and len(record.bonding.pairs):
        pairs = record.bonding.pairs
    else:
        pairs = close_pairs(record.atomic_numbers, record.positions, COVALENT_FACTORS[-1])
    labels = pieces(len(record.atomic_numbers), pairs)
    return [labels == label for label in range(labels.max(initial=-1) + 1)]


def smiles_of(record: Record) -> str:
    """The SMILES that a file tells; empty if it tells none."""
    for name, value in record.properties.items():
        if _folded(name) in _SMILES_NAMES and str(value).strip():
            return str(value).split()[0]
    return ""


def without_smiles(properties: Mapping[str, PropertyValue]) -> dict[str, PropertyValue]:
    """Properties but those that tell a SMILES."""
    return {name: value for name, value in properties.items() if _folded(name) not in _SMILES_NAMES}


def identity(record: Record) -> bytes:
    """16 bytes that are the same for the same molecule.

    Of the canonical SMILES, with stereochemistry, that the file tells or that is perceived from the geometry, so that
    conformers are the same molecule; of elements and positions in float32 if there is none.
    """
    try:
        return identity_of_smiles(parse(smiles_of(record)).canonical)
    except NotEmbedded:
        canonical = _canonical(record)
    if canonical is None:
        return _geometry(record.atomic_numbers, record.positions)
    return identity_of_smiles(canonical)


def identity_of_smiles(canonical: str) -> bytes:
    """`identity` of a molecule whose canonical SMILES is known."""
    return hashlib.blake2b(canonical.encode(), digest_size=16).digest()


def _canonical(record: Record) -> str | None:
    """Canonical SMILES with the stereochemistry of the geometry; None without bonds.

    Which atoms of a ring RDKit calls stereocentres of which sense depends on the order of atoms, and so does its SMILES
    of some polycycles. Hence such a molecule is perceived anew in a canonical order; if atoms of its rings are
    symmetric, in one for each of them, and the first SMILES in alphabetic order is taken.
    """
    from rdkit import Chem

    charge = total_charge(record) or 0
    molecule = perceive(record.atomic_numbers, record.positions, charge=charge)
    if molecule is None:
        return None
    smiles = stereo_smiles(molecule)
    if "@" not in smiles:
        return smiles
    ranks = list(Chem.CanonicalRankAtoms(molecule, breakTies=False, includeChirality=False))
    rings = molecule.GetRingInfo()
    tied = [atom for atom, rank in enumerate(ranks) if ranks.count(rank) > 1 and rings.NumAtomRings(atom)]
    found = []
    for order in [_order_from(molecule, first) for first in tied or [0]]:
        other = perceive(record.atomic_numbers[order], record.positions[order], charge=charge)
        found += [] if other is None else [stereo_smiles(other)]
    return min(found, default=smiles)


def _order_from(molecule: "Mol", first: int) -> Int64[np.ndarray, " N"]:
    """A canonical order of the atoms: of symmetric ones, those are earlier that are closer to this one."""
    from rdkit import Chem

    order = np.argsort(Chem.GetDistanceMatrix(molecule)[first], kind="stable")
    moved = Chem.RenumberAtoms(molecule, order.tolist())
    canonical: Int64[np.ndarray, " N"] = order[
        np.argsort(list(Chem.CanonicalRankAtoms(moved, breakTies=True, includeChirality=False)))
    ]
    return canonical


def _geometry(atomic_numbers: UInt8[np.ndarray, " N"], positions: Float[np.ndarray, "N 3"]) -> bytes:
    digest = hashlib.blake2b(atomic_numbers.tobytes(), digest_size=16)
    digest.update(positions.astype("<f4").tobytes())
    return digest.digest()
