"""What is known of a molecule beyond its atoms: charge, pieces, and who it is.

A file's word counts first: bonds and formal charges of an SDF, a property `charge`, a property `SMILES`. Where it is
silent, bonds are perceived from the geometry: pieces by covalent radii, charges and bond orders by `bonds.perceive`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int64, UInt8

from gaga.base.decimals import decimal
from gaga.chem.bonds import COVALENT_FACTORS, perceive
from gaga.chem.embed import NotEmbedded, parse
from gaga.chem.records import Bonding, PropertyValue, Record

if TYPE_CHECKING:
    from rdkit.Chem import Mol

_CHARGE_NAMES = ("charge", "total_charge", "net_charge", "formal_charge", "molecular_charge", "pubchem_total_charge")
_SMILES_NAMES = ("smiles", "canonical_smiles", "isomeric_smiles")
_MAX_CHARGE = 100
HYDROGEN = 1


def total_charge(record: Record) -> int | None:
    """The charge that a file tells: by a property of that name, or as the sum of an SDF's formal charges.

    An SDF with bonds and no charges tells that the molecule is neutral. None where nothing is told.
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
    pieces = _pieces(record)
    if len(pieces) < 2:
        return record
    heavy = record.atomic_numbers != HYDROGEN
    kept = max(pieces, key=lambda piece: (int(heavy[piece].sum()), int(piece.sum())))
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
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    told = record.bonding is not None and len(record.bonding.pairs)
    pairs = record.bonding.pairs if record.bonding is not None and told else _near(record)
    n = len(record.atomic_numbers)
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    count, labels = connected_components(graph, directed=False)
    return [labels == label for label in range(count)]


def _near(record: Record) -> Int64[np.ndarray, "K 2"]:
    """Pairs closer than COVALENT_FACTORS[-1] times their summed covalent radii."""
    from rdkit.Chem import GetPeriodicTable
    from scipy.spatial import cKDTree

    table = GetPeriodicTable()
    radii = np.array([table.GetRcovalent(int(z)) for z in record.atomic_numbers])
    limit = 2 * COVALENT_FACTORS[-1] * radii.max()
    pairs = cKDTree(record.positions).query_pairs(limit, output_type="ndarray").astype(np.int64).reshape(-1, 2)
    distances = np.linalg.norm(record.positions[pairs[:, 0]] - record.positions[pairs[:, 1]], axis=1)
    near: Int64[np.ndarray, "K 2"] = pairs[distances < COVALENT_FACTORS[-1] * radii[pairs].sum(axis=1)]
    return near


def smiles_of(record: Record) -> str:
    """The SMILES that a file tells; empty where it tells none."""
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
    conformers are the same molecule; of elements and positions in float32 where there is none.
    """
    try:
        return identity_of_smiles(parse(smiles_of(record)).canonical)
    except NotEmbedded:
        molecule = perceive(record.atomic_numbers, record.positions, charge=total_charge(record) or 0)
    if molecule is None:
        return _geometry(record.atomic_numbers, record.positions)
    return identity_of_smiles(_canonical(molecule))


def identity_of_smiles(canonical: str) -> bytes:
    """`identity` of a molecule whose canonical SMILES is known."""
    return hashlib.blake2b(canonical.encode(), digest_size=16).digest()


def _canonical(molecule: "Mol") -> str:
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        Chem.AssignStereochemistryFrom3D(molecule)
        return str(Chem.MolToSmiles(Chem.RemoveHs(molecule, sanitize=False)))


def _geometry(atomic_numbers: UInt8[np.ndarray, " N"], positions: Float[np.ndarray, "N 3"]) -> bytes:
    digest = hashlib.blake2b(atomic_numbers.tobytes(), digest_size=16)
    digest.update(positions.astype("<f4").tobytes())
    return digest.digest()
