"""What the result store keeps of a sampling run: every molecule, and a verdict on each."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from gaga.base.molecules import offsets_of
from gaga.base.resampling import Interval, bootstrap_interval
from gaga.data.spool import Spooled


@dataclass(frozen=True, eq=False)
class SampleRecord:
    """M molecules in the order of their seeds and numbers.

    Attributes:
        positions, atomic_numbers, offsets: packed molecules.
        seeds, indices: the key of each molecule. finite: whether the network stayed finite.
        stable: EDM's molecule stability. n_stable_atoms: EDM's count.
        valid: by the strict protocol. smiles: of valid molecules, else empty.
        written: how many went to the file.
    """

    positions: Float32[np.ndarray, "A 3"] = field(metadata={"unit": "Å", "dims": ("atom", "axis")})
    atomic_numbers: UInt8[np.ndarray, " A"] = field(metadata={"dims": ("atom",)})
    offsets: Int64[np.ndarray, " M_plus_1"]
    seeds: Int64[np.ndarray, " M"] = field(metadata={"dims": ("molecule",)})
    indices: Int64[np.ndarray, " M"] = field(metadata={"dims": ("molecule",)})
    finite: Bool[np.ndarray, " M"] = field(metadata={"dims": ("molecule",)})
    stable: Bool[np.ndarray, " M"] = field(metadata={"dims": ("molecule",)})
    n_stable_atoms: Int64[np.ndarray, " M"] = field(metadata={"dims": ("molecule",)})
    valid: Bool[np.ndarray, " M"] = field(metadata={"dims": ("molecule",)})
    smiles: tuple[str, ...]
    written: int

    @classmethod
    def of(
        cls,
        molecules: Sequence[Spooled],
        stable: Sequence[bool],
        n_stable: Sequence[int],
        valid: Sequence[bool],
        smiles: Sequence[str],
        written: int,
    ) -> "SampleRecord":
        """The record of these molecules and verdicts."""
        return cls(
            positions=np.concatenate([m.positions for m in molecules]),
            atomic_numbers=np.concatenate([m.atomic_numbers for m in molecules]),
            offsets=offsets_of([len(m.atomic_numbers) for m in molecules]),
            seeds=np.array([m.seed for m in molecules], dtype=np.int64),
            indices=np.array([m.index for m in molecules], dtype=np.int64),
            finite=np.array([m.finite for m in molecules], dtype=bool),
            stable=np.array(stable, dtype=bool),
            n_stable_atoms=np.array(n_stable, dtype=np.int64),
            valid=np.array(valid, dtype=bool),
            smiles=tuple(smiles),
            written=written,
        )

    def rates(self) -> dict[str, Interval]:
        """Shares of all molecules that are stable or valid, with bootstrap intervals over molecules."""
        rng = np.random.default_rng(0)
        values = {"molecule_stable": self.stable, "valid": self.valid}
        return {name: bootstrap_interval(flags.astype(np.float64), rng=rng) for name, flags in values.items()}

    def by_seed(self) -> dict[int, dict[str, float]]:
        """Stability and validity of each seed's molecules."""
        sizes = np.diff(self.offsets)
        return {
            int(seed): {
                "atom_stable": float(self.n_stable_atoms[here].sum() / sizes[here].sum()),
                "molecule_stable": float(self.stable[here].mean()),
                "valid": float(self.valid[here].mean()),
            }
            for seed in np.unique(self.seeds)
            for here in [self.seeds == seed]
        }
