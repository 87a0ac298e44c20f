"""What the result store keeps of a sampling run: every molecule, and a verdict on each."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from gaga.base.molecules import offsets_of
from gaga.base.resampling import Interval, rate_interval
from gaga.chem.annotate import Annotated
from gaga.data.spool import Spooled


@dataclass(frozen=True, eq=False)
class Judged:
    """One molecule with EDM's stability and the strict protocol's verdict; `valid` is None where rdkit is missing."""

    molecule: Spooled
    stable: bool
    n_stable_atoms: int
    valid: bool | None
    smiles: str

    @classmethod
    def of(cls, molecule: Spooled, found: Annotated) -> "Judged":
        """The verdict; a molecule that is not finite fails everything."""
        if not molecule.finite:
            return cls(molecule, False, 0, None if found.valid is None else False, "")
        return cls(molecule, found.stable, found.n_stable_atoms, found.valid, found.smiles)


@dataclass(frozen=True, eq=False)
class SampleRecord:
    """M molecules in the order of their seeds and numbers.

    Attributes:
        positions, atomic_numbers, offsets: packed molecules.
        seeds, indices: the key of each molecule. finite: whether the network stayed finite.
        stable: EDM's molecule stability. n_stable_atoms: EDM's count.
        valid: by the strict protocol, for all molecules, or empty where rdkit was missing.
        smiles: of valid molecules, else empty.
        written: how many went to the file. output_sha256: hash of that file.
    """

    positions: Float32[np.ndarray, "A 3"] = field(metadata={"unit": "Å", "dims": ("atom", "axis")})
    atomic_numbers: UInt8[np.ndarray, " A"] = field(metadata={"dims": ("atom",)})
    offsets: Int64[np.ndarray, " M_plus_1"]
    seeds: Int64[np.ndarray, " M"] = field(metadata={"dims": ("molecule",)})
    indices: Int64[np.ndarray, " M"] = field(metadata={"dims": ("molecule",)})
    finite: Bool[np.ndarray, " M"] = field(metadata={"dims": ("molecule",)})
    stable: Bool[np.ndarray, " M"] = field(metadata={"dims": ("molecule",)})
    n_stable_atoms: Int64[np.ndarray, " M"] = field(metadata={"dims": ("molecule",)})
    valid: Bool[np.ndarray, " V"]
    smiles: tuple[str, ...]
    written: int
    output_sha256: str

    @classmethod
    def of(cls, judged: Sequence[Judged], written: int, output_sha256: str) -> "SampleRecord":
        """The record of these molecules and verdicts."""
        molecules = [j.molecule for j in judged]
        known = all(j.valid is not None for j in judged)
        return cls(
            positions=np.concatenate([m.positions for m in molecules]),
            atomic_numbers=np.concatenate([m.atomic_numbers for m in molecules]),
            offsets=offsets_of([len(m.atomic_numbers) for m in molecules]),
            seeds=np.array([m.seed for m in molecules], dtype=np.int64),
            indices=np.array([m.index for m in molecules], dtype=np.int64),
            finite=np.array([m.finite for m in molecules], dtype=bool),
            stable=np.array([j.stable for j in judged], dtype=bool),
            n_stable_atoms=np.array([j.n_stable_atoms for j in judged], dtype=np.int64),
            valid=np.array([j.valid for j in judged] if known else [], dtype=bool),
            smiles=tuple(j.smiles for j in judged),
            written=written,
            output_sha256=output_sha256,
        )

    def rates(self) -> dict[str, Interval]:
        """Shares of all molecules that are stable or valid, with bootstrap intervals over molecules."""
        rng = np.random.default_rng(0)
        values = {"molecule_stable_edm": self.stable} | ({"valid_strict": self.valid} if len(self.valid) else {})
        return {name: rate_interval(flags, rng=rng) for name, flags in values.items()}

    def by_seed(self) -> dict[int, dict[str, float]]:
        """Stability and validity of each seed's molecules."""
        sizes = np.diff(self.offsets)
        return {
            int(seed): {
                "atom_stable_edm": float(self.n_stable_atoms[here].sum() / sizes[here].sum()),
                "molecule_stable_edm": float(self.stable[here].mean()),
            }
            | ({"valid_strict": float(self.valid[here].mean())} if len(self.valid) else {})
            for seed in np.unique(self.seeds)
            for here in [self.seeds == seed]
        }
