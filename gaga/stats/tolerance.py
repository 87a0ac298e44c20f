"""T* by tolerance: the smallest step from which the effect of every statistic is shown to be below its tolerance.

At each step, from the last one down, "the effect is not below its tolerance" is tested for every statistic: it is
rejected if the upper end of the effect's interval is below. The first step at which one statistic fails ends the
sequence. Steps are tested in a fixed order and all statistics must pass (intersection-union), so that the level is that
of one interval with no correction, and T* holds at all steps after it too. T* is a step of the grid that was tested.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64, Int64

from gaga.core.errors import InvalidInput
from gaga.stats.effects import MoleculeEffects

NEVER = -1  # what a table of whole steps holds if no step passes
TOLERANCES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3)


@dataclass(frozen=True, kw_only=True, eq=False)
class ToleranceTable:
    """T* at E tolerances, by Q statistics.

    Attributes:
        statistics: their names.
        n_molecules: number of molecules that it is of.
        tolerances: of each statistic, [E, Q].
        tstar: T*, [E]; -1 if the last step fails.
        by_statistic: what it would be by each statistic alone, [E, Q]; T* is the latest.
        resolution: the smallest tolerance that true Gaussians of as many molecules would pass, [Q].
    """

    statistics: tuple[str, ...]
    n_molecules: int
    tolerances: Float64[np.ndarray, "E Q"] = field(metadata={"dims": ("tolerances", "statistics")})
    tstar: Int64[np.ndarray, " E"] = field(metadata={"dims": ("tolerances",)})
    by_statistic: Int64[np.ndarray, "E Q"] = field(metadata={"dims": ("tolerances", "statistics")})
    resolution: Float64[np.ndarray, " Q"] = field(metadata={"dims": ("statistics",)})

    @property
    def decided_by(self) -> tuple[str, ...]:
        """The statistic that passes last, at each tolerance; the first of several."""
        order = np.where(self.by_statistic == NEVER, np.inf, self.by_statistic.astype(np.float64))
        return tuple(self.statistics[q] for q in order.argmax(axis=1))

    @property
    def too_few_molecules(self) -> tuple[bool, ...]:
        """Whether even true Gaussians of as many molecules would fail, at each tolerance."""
        return tuple(np.any(self.tolerances <= self.resolution, axis=1).tolist())


def tolerance_table(
    effects: MoleculeEffects,
    timesteps: Int64[np.ndarray, " S"],
    tolerances: Sequence[float] | Float64[np.ndarray, "E Q"] = TOLERANCES,
    *,
    n_atoms: int | None = None,
) -> ToleranceTable:
    """T* over all sizes, or of the molecules of one size.

    Args:
        tolerances: for all statistics alike, [E], or for each, [E, Q]: KS distances, and for the coupling standard
            deviations of a molecule's.

    Raises:
        InvalidInput: a tolerance is not above 0, or the size has no row of its own.
    """
    wanted = np.asarray(tolerances, dtype=np.float64)
    if wanted.size == 0 or not np.all(wanted > 0):
        raise InvalidInput("tolerances are above 0", received=wanted.tolist())
    effect, high, limit, molecules = _rows(effects, n_atoms)
    if wanted.ndim == 1:
        wanted = np.repeat(wanted[:, None], len(effects.statistics), axis=1)
    passes = high < wanted[:, None]
    # From the last step down, as long as all pass.
    lasting = np.logical_and.accumulate(passes[:, ::-1], axis=1).sum(axis=1)
    steps = np.append(timesteps, NEVER)[len(timesteps) - lasting]
    return ToleranceTable(
        statistics=effects.statistics,
        n_molecules=molecules,
        tolerances=wanted,
        tstar=np.where((steps == NEVER).any(axis=1), NEVER, steps.max(axis=1)),
        by_statistic=steps,
        resolution=limit + (high - effect)[-1],
    )


def _rows(
    effects: MoleculeEffects, n_atoms: int | None
) -> tuple[Float64[np.ndarray, "S Q"], Float64[np.ndarray, "S Q"], Float64[np.ndarray, " Q"], int]:
    """Effects, their upper ends, the null's limit and the number of molecules, over all sizes or of one."""
    if n_atoms is None:
        return effects.effect, effects.high, effects.null_limit, effects.n_molecules
    (found,) = np.nonzero(effects.sizes == n_atoms)
    if len(found) == 0:
        raise InvalidInput(
            "too few molecules of this size have been measured", received=n_atoms,
            remedy=f"use one of {', '.join(map(str, effects.sizes))}",
        )  # fmt: skip
    z = int(found[0])
    return (
        effects.effect_by_size[:, z],
        effects.high_by_size[:, z],
        effects.null_limit_by_size[z],
        int(effects.counts[z]),
    )
