"""What evaluations are held against: the real data's row, its geometry, and hashes of its training molecules.

All of it is data that ships with the package, made by benchmarks/build_reference.py through the same code.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64, UInt64

from gaga.core.errors import NotFound
from gaga.evaluation.judging import check_protocol
from gaga.evaluation.rates import Rates
from gaga.storage.files import atomic_write
from gaga.storage.serialise import from_tree

REFERENCES = ("qm9",)


@dataclass(frozen=True, kw_only=True)
class ReferenceRow:
    """The real data through the same code.

    Attributes:
        description: which molecules these are.
        n_molecules: how many.
        n_train: molecules of the training split that novelty and distances are held against.
        n_train_in_all: how many it has; where more, novelty is an upper bound.
        rates: their rates.
        bond_lengths: mean distance of bond lengths to the training split's, in Å: the floor of this number.
        bond_angles: the same of bond angles, in degrees.
        sizes: the same of numbers of atoms.
        split: fingerprint of the data set and its split.
        rdkit: version of RDKit.
    """

    description: str
    n_molecules: int
    n_train: int
    n_train_in_all: int
    rates: Rates
    bond_lengths: float
    bond_angles: float
    sizes: float
    split: str
    rdkit: str


@dataclass(frozen=True, eq=False)
class Quantiles:
    """The distributions of several kinds of bonds or angles, each as equally likely values.

    Attributes:
        codes: the kinds, most frequent first, [K].
        shares: each kind's part of all bonds or angles, [K].
        values: quantiles at the levels (i + 1/2) / Q, [K, Q], in Å or degrees.
    """

    codes: Int32[np.ndarray, " K"]
    shares: Float64[np.ndarray, " K"]
    values: Float32[np.ndarray, "K Q"]


@dataclass(frozen=True, eq=False)
class Reference:
    """A data set's training split as one protocol sees it.

    Attributes:
        lengths: bond lengths in Å.
        angles: bond angles in degrees.
        sizes: number of molecules of each number of atoms 0..N_max.
        hashes: `hash_smiles` of its valid molecules, ascending, each once.
    """

    lengths: Quantiles
    angles: Quantiles
    sizes: Int64[np.ndarray, " N_max_plus_1"]
    hashes: UInt64[np.ndarray, " H"]

    def contains(self, smiles: list[str]) -> Bool[np.ndarray, " n"]:
        """Which of these SMILES, made by the same protocol, the training split has."""
        return np.isin(hash_smiles(smiles), self.hashes)


@dataclass(frozen=True, eq=False, kw_only=True)
class DataReference:
    """All that an evaluation is held against.

    Attributes:
        name: of the data set.
        protocol: by which its molecules were judged.
        reference: its training split.
        row: its own row.
    """

    name: str
    protocol: str
    reference: Reference
    row: ReferenceRow


def shipped(name: str, protocol: str) -> DataReference:
    """What ships with the package of a data set.

    Raises:
        NotFound: no reference of that name ships with the package.
        InvalidInput: unknown protocol.
    """
    reference, row = load_reference(name, protocol), load_row(name, protocol)
    return DataReference(name=name, protocol=protocol, reference=reference, row=row)


@cache
def load_reference(name: str, protocol: str) -> Reference:
    """The shipped reference of a data set under a protocol.

    Raises:
        NotFound: no reference of that name ships with the package.
        InvalidInput: unknown protocol.
    """
    _check(name, protocol)
    with (
        as_file(files("gaga").joinpath("shipped", f"reference_{name}_{protocol}.npz")) as path,
        np.load(path) as f,
    ):
        return Reference(
            lengths=Quantiles(f["length_codes"], f["length_shares"], f["length_values"]),
            angles=Quantiles(f["angle_codes"], f["angle_shares"], f["angle_values"]),
            sizes=f["sizes"],
            hashes=np.cumsum(f["hash_steps"], dtype=np.uint64),
        )


@cache
def load_row(name: str, protocol: str) -> ReferenceRow:
    """The shipped row of a data set under a protocol.

    Raises:
        NotFound: no reference of that name ships with the package.
        InvalidInput: unknown protocol.
    """
    _check(name, protocol)
    text = files("gaga").joinpath("shipped", f"reference_{name}.json").read_text(encoding="utf-8")
    return row_from_json(json.loads(text)[protocol])


def row_to_json(row: ReferenceRow) -> dict[str, object]:
    """A row as plain JSON values."""
    return asdict(row)


def row_from_json(values: dict[str, object]) -> ReferenceRow:
    """The row that `row_to_json` wrote.

    Raises:
        InvalidInput: the values are not those of a row.
    """
    return from_tree(values, ReferenceRow)


def save_reference(path: str, reference: Reference) -> None:
    """Write a reference; hashes as their differences, which compress better."""
    with atomic_write(Path(path)) as partial:
        np.savez_compressed(
            partial,
            length_codes=reference.lengths.codes,
            length_shares=reference.lengths.shares,
            length_values=reference.lengths.values,
            angle_codes=reference.angles.codes,
            angle_shares=reference.angles.shares,
            angle_values=reference.angles.values,
            sizes=reference.sizes,
            hash_steps=np.diff(reference.hashes, prepend=np.uint64(0)),
        )


def hash_smiles(smiles: list[str]) -> UInt64[np.ndarray, " n"]:
    """The first 64 bits of each SMILES' SHA-256: 100,000 of them mistake a new one once in 10^14."""
    digests = b"".join(hashlib.sha256(text.encode("ascii")).digest()[:8] for text in smiles)
    return np.frombuffer(digests, dtype=">u8").astype(np.uint64)


def _check(name: str, protocol: str) -> None:
    check_protocol(protocol)
    if name not in REFERENCES:
        raise NotFound(
            "no reference of that name ships with gaga",
            received=name,
            remedy=f"use {REFERENCES[0]}, None, or what reference_of makes of a data set",
        )
