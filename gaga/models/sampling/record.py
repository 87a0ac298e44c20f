"""What the result store keeps of a sampling run: every molecule, and a verdict on each."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8

from gaga.chem.elements import atoms_of_formula
from gaga.core.statistics import Interval, share_interval
from gaga.models.sampling.molecules import JudgedMolecule
from gaga.models.sampling.targets import Asked
from gaga.models.sampling.unfinished import Keys
from gaga.storage.blocks import TEXT, Blocks, Column

_BY_ATOM: Mapping[str, Any] = {"dims": ("atom",)}
_BY_MOLECULE: Mapping[str, Any] = {"dims": ("molecule",)}
_PLACES: Mapping[str, Any] = {"unit": "Å", "dims": ("atom", "axis")}


@dataclass(frozen=True, eq=False)
class SampleRecord:
    """M molecules in the order of their seeds and numbers, as they are read from the store.

    Attributes:
        positions, atomic_numbers, offsets: packed molecules.
        seeds, indices: the key of each molecule. finite: whether the network stayed finite; positions are NaN if not
            (0 in older records).
        stable: EDM's molecule stability. n_stable_atoms: EDM's count.
        valid: by the strict protocol, for all molecules, or empty if rdkit was missing.
        smiles: of valid molecules, else empty.
        written: how many went to the file. output_sha256: hash of that file.
        products: library of float32 products on a CPU (mkl, onednn), empty on other devices and in older records.
        targets: what each molecule was asked to have, by property; empty if nothing was, and None in older records.
        variance_molecule, variance_bonds: variance that the solver returns for Gaussian data as wide as molecules and
            as bonds, over the true one (`solvers.returned_variances`); NaN in older records.
    """

    positions: Float32[np.ndarray, "A 3"]
    atomic_numbers: UInt8[np.ndarray, " A"]
    offsets: Int64[np.ndarray, " M_plus_1"]
    seeds: Int64[np.ndarray, " M"]
    indices: Int64[np.ndarray, " M"]
    finite: Bool[np.ndarray, " M"]
    stable: Bool[np.ndarray, " M"]
    n_stable_atoms: Int64[np.ndarray, " M"]
    valid: Bool[np.ndarray, " V"]
    smiles: tuple[str, ...]
    written: int
    output_sha256: str
    products: str = ""
    variance_molecule: float = float("nan")
    variance_bonds: float = float("nan")
    targets: Mapping[str, Float64[np.ndarray, " M"]] | None = None


@dataclass(frozen=True, eq=False)
class _Columns:
    """The same in pieces, as it goes to the store."""

    positions: Blocks = field(metadata=_PLACES)
    atomic_numbers: Blocks = field(metadata=_BY_ATOM)
    offsets: Blocks
    seeds: Blocks = field(metadata=_BY_MOLECULE)
    indices: Blocks = field(metadata=_BY_MOLECULE)
    finite: Blocks = field(metadata=_BY_MOLECULE)
    stable: Blocks = field(metadata=_BY_MOLECULE)
    n_stable_atoms: Blocks = field(metadata=_BY_MOLECULE)
    valid: Blocks
    smiles: Blocks
    written: int
    output_sha256: str
    products: str
    variance_molecule: float
    variance_bonds: float
    targets: Mapping[str, Blocks]


class SampleColumns:
    """A record that grows molecule by molecule, next to the store; none of it stays in memory. A context manager.

    Args:
        folder: where there is room for it.
        asked: what molecules are asked to have; None if nothing is.

    Raises:
        Unavailable: nothing can be written there.
    """

    def __init__(self, folder: Path, asked: Asked | None = None) -> None:
        self._files, self._asked = ExitStack(), asked
        names = () if asked is None else asked.conditioning.names
        self._targets = {name: self._files.enter_context(Column(folder, np.float64)) for name in names}
        self._columns = {
            name: self._files.enter_context(Column(folder, dtype, row)) for name, (dtype, row) in _TYPES.items()
        }
        self._columns["offsets"].append(np.zeros(1, dtype=np.int64))
        self._n_atoms, self._written, self._judged = 0, 0, True

    def add(self, molecules: Sequence[JudgedMolecule]) -> None:
        """Append molecules.

        Raises:
            Unavailable: the disk is full.
        """
        ends = self._n_atoms + np.cumsum([len(m.atomic_numbers) for m in molecules])
        parts = {
            "positions": np.concatenate([m.positions for m in molecules]),
            "atomic_numbers": np.concatenate([m.atomic_numbers for m in molecules]),
            "offsets": ends,
            "seeds": np.array([m.seed for m in molecules]),
            "indices": np.array([m.index for m in molecules]),
            "finite": np.array([m.finite for m in molecules]),
            "stable": np.array([m.stable for m in molecules]),
            "n_stable_atoms": np.array([m.n_stable_atoms for m in molecules]),
            "valid": np.array([bool(m.valid) for m in molecules]),
            "smiles": np.array([m.smiles for m in molecules]),
        }
        for name, values in parts.items():
            self._columns[name].append(values)
        if self._asked is not None:
            wanted = self._asked.of_each(parts["seeds"], parts["indices"], np.diff(ends, prepend=self._n_atoms))
            for column, values in zip(self._targets.values(), wanted.T, strict=True):
                column.append(values)
        self._n_atoms = int(ends[-1])
        self._written += sum(bool(m.text) for m in molecules)
        self._judged &= all(m.valid is not None for m in molecules)

    def record(self, output_sha256: str, products: str, variances: tuple[float, float]) -> _Columns:
        """What goes to the store, to be read as a `SampleRecord`, for an output of this hash."""
        columns = self._columns if self._judged else self._columns | {"valid": self._columns["none"]}
        members = {name: columns[name] for name in _TYPES if name != "none"}
        return _Columns(
            **members, written=self._written, output_sha256=output_sha256, products=products,
            variance_molecule=variances[0], variance_bonds=variances[1], targets=self._targets,
        )  # fmt: skip

    def __enter__(self) -> "SampleColumns":
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()


# dtype and shape of a row of each column; `none` is what `valid` is if nothing was judged.
_TYPES: Mapping[str, tuple[Any, tuple[int, ...]]] = {
    "positions": (np.float32, (3,)),
    "atomic_numbers": (np.uint8, ()),
    "offsets": (np.int64, ()),
    "seeds": (np.int64, ()),
    "indices": (np.int64, ()),
    "finite": (np.bool_, ()),
    "stable": (np.bool_, ()),
    "n_stable_atoms": (np.int64, ()),
    "valid": (np.bool_, ()),
    "smiles": (TEXT, ()),
    "none": (np.bool_, ()),
}


@dataclass(frozen=True, eq=False)
class SampleSummary:
    """The counts of a run by seed, S of them.

    Attributes:
        keys: its molecules. written: how many are in the output. output_sha256: its hash.
        products, variance_molecule, variance_bonds: as in `SampleRecord`.
        atoms, stable_atoms: of each seed's molecules, by EDM's rule.
        finite, stable: molecules of each seed.
        valid: the same by the strict protocol; None if rdkit was missing.
        of_composition: all molecules that have the composition that was asked for; None if none was.
    """

    keys: Keys
    written: int
    output_sha256: str
    products: str
    variance_molecule: float
    variance_bonds: float
    atoms: Int64[np.ndarray, " S"]
    stable_atoms: Int64[np.ndarray, " S"]
    finite: Int64[np.ndarray, " S"]
    stable: Int64[np.ndarray, " S"]
    valid: Int64[np.ndarray, " S"] | None
    of_composition: int | None = None

    @classmethod
    def of(cls, members: Mapping[str, Any], keys: Keys, composition: str | None = None) -> "SampleSummary":
        """The counts of a record whose arrays come in pieces, by name; `composition` is the one asked for."""
        return cls(
            keys=keys,
            written=members["written"],
            output_sha256=members["output_sha256"],
            products=members.get("products", ""),
            variance_molecule=members.get("variance_molecule", float("nan")),
            variance_bonds=members.get("variance_bonds", float("nan")),
            atoms=np.diff(_every(members["offsets"], keys.n)),
            stable_atoms=_sums(members["n_stable_atoms"], keys),
            finite=_sums(members["finite"], keys),
            stable=_sums(members["stable"], keys),
            valid=_sums(members["valid"], keys) if members["valid"].shape[0] else None,
            of_composition=None if composition is None else _of_composition(members["atomic_numbers"], composition),
        )

    @property
    def molecules(self) -> int:
        """How many were drawn."""
        return len(self.keys)

    @property
    def not_finite(self) -> int:
        """Molecules that are counted as failures as the network's numbers overflowed."""
        return self.molecules - int(self.finite.sum())

    def rates(self) -> dict[str, Interval]:
        """Shares of all molecules that are stable or valid, with bootstrap intervals over molecules."""
        rng = np.random.default_rng(0)
        counts = {"molecule_stable_edm": self.stable} | ({} if self.valid is None else {"valid_strict": self.valid})
        return {name: share_interval(int(c.sum()), self.molecules, rng=rng) for name, c in counts.items()}

    def by_seed(self) -> dict[int, dict[str, float]]:
        """Stability and validity of each seed's molecules."""
        shares = {"atom_stable_edm": self.stable_atoms / self.atoms, "molecule_stable_edm": self.stable / self.keys.n}
        shares |= {} if self.valid is None else {"valid_strict": self.valid / self.keys.n}
        return {
            self.keys.seed + k: {name: float(values[k]) for name, values in shares.items()}
            for k in range(self.keys.repeats)
        }

    def over_seeds(self) -> dict[str, tuple[float, float]]:
        """Mean of each share over the seeds, and its standard deviation (of a sample); empty if there is one seed."""
        seeds = list(self.by_seed().values())
        if len(seeds) < 2:
            return {}
        values = {name: [shares[name] for shares in seeds] for name in seeds[0]}
        return {name: (float(np.mean(v)), float(np.std(v, ddof=1))) for name, v in values.items()}


def _sums(values: Blocks, keys: Keys) -> Int64[np.ndarray, " S"]:
    """The sum over each seed's molecules."""
    sums, first = np.zeros(keys.repeats, dtype=np.int64), 0
    for piece in values:
        seeds = np.arange(first, first + len(piece)) // keys.n
        sums += np.bincount(seeds, weights=piece, minlength=keys.repeats).astype(np.int64)
        first += len(piece)
    return sums


def _of_composition(atomic_numbers: Blocks, formula: str) -> int:
    """How many molecules have this composition, which says how many atoms all of them have."""
    counts = atoms_of_formula(formula)
    wanted = np.repeat(list(counts), list(counts.values()))
    found = np.sort(np.concatenate(list(atomic_numbers)).reshape(-1, len(wanted)), axis=1)
    return int((found == np.sort(wanted)).all(axis=1).sum())


def _every(values: Blocks, n: int) -> Int64[np.ndarray, " k"]:
    """Every n-th value, from the first on."""
    first, kept = 0, []
    for piece in values:
        kept.append(piece[-first % n :: n])
        first += len(piece)
    return np.concatenate(kept)
