"""How far noised molecules are from random shapes of other molecules, by the statistics of `gaga.stats.invariants`.

Half of the molecules, drawn by the seed, give the library of shapes that `gaga sample --start shape` would have, the
others are tested: no molecule is compared with its own shape. An effect is the KS distance of their values to those of
as many random shapes of the same numbers of atoms (of the coupling the difference of means, in a Gaussian's standard
deviations). Both are samples, and both are resampled: the interval is the effect plus or minus the `level` quantile of
how far a resample is from the sample, and an effect below that could be chance. What a library of at most 256 molecules
of a size has by chance is part of the effect, as a start from it has it too.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64, Int64

from gaga.core.molecules import PackedMolecules
from gaga.core.progress import Progress, silent
from gaga.core.rng import normals
from gaga.data.features import FeatureSpace
from gaga.data.shapes import ReferenceShape, ShapeLibrary
from gaga.noise import Schedule
from gaga.stats.groups import Resampling, deal
from gaga.stats.invariants import scores, statistics_of, table_of
from gaga.stats.moments import estimate_moments
from gaga.stats.states import NULL_STREAM, DataStates, same_size_chunks
from gaga.stats.tally import Deviations, Tally, count, deviations

_MOST = 20_000  # molecules that are tested
_BLOCK_ATOMS, _TABLE = 50_000, 1 << 14  # a table gives cells alone, the same to both
_STREAM = 2 * NULL_STREAM  # of random numbers, beyond the data's and the null's


@dataclass(frozen=True, kw_only=True, eq=False)
class ShapeEffects:
    """Effects of Q statistics against random shapes at S steps.

    Attributes:
        n_molecules: how many were tested. n_shapes: how many shapes the library has, of others.
        effect, low, high: over all sizes, with the interval, [S, Q]; limit: an effect below it could be chance, [S, Q].
    """

    n_molecules: int
    n_shapes: int
    effect: Float64[np.ndarray, "S Q"] = field(metadata={"dims": ("timesteps", "statistics")})
    low: Float64[np.ndarray, "S Q"] = field(metadata={"dims": ("timesteps", "statistics")})
    high: Float64[np.ndarray, "S Q"] = field(metadata={"dims": ("timesteps", "statistics")})
    limit: Float64[np.ndarray, "S Q"] = field(metadata={"dims": ("timesteps", "statistics")})


def shape_effects(
    molecules: PackedMolecules,
    space: FeatureSpace,
    schedule: Schedule,
    timesteps: tuple[int, ...],
    *,
    seed: int,
    level: float = 0.95,
    n_resamples: int = 200,
    progress: Progress = silent,
) -> ShapeEffects | None:
    """Effects of one half of molecules of two atoms or more, at most 20,000, against shapes of the other half.

    None if there are fewer than four molecules.
    """
    rng = np.random.default_rng(seed)
    several = rng.permutation(np.flatnonzero(molecules.n_atoms > 1))
    of_library, tested = np.sort(several[::2]), np.sort(several[1::2][:_MOST])
    library = ShapeLibrary.of(molecules, of_library, space)
    if library is None or len(tested) < 2:
        return None
    reference = ReferenceShape(library, estimate_moments(molecules.select(of_library), space), space)
    centred = np.arange(space.columns) < space.centred_columns
    states = DataStates(molecules, space, schedule, centred, seed, tested)
    pairs = [deal(len(tested), n_resamples, rng) for _ in range(2)]
    found = []
    for done, t in enumerate(timesteps):
        data, shapes = (
            [deviations(tally, weights) for weights in (np.ones((1, of.n_groups)), of.weights)]
            for tally, of in zip(_tallies(states, reference, pairs, t), pairs, strict=True)
        )
        found.append(_effect(data, shapes, level))
        progress(done + 1, len(timesteps))
    effect, limit = np.stack([e for e, _ in found]), np.stack([w for _, w in found])
    return ShapeEffects(
        n_molecules=len(tested), n_shapes=len(library.n_atoms),
        effect=effect, low=np.maximum(effect - limit, 0.0), high=effect + limit, limit=limit,
    )  # fmt: skip


def _effect(
    data: list[Deviations], shapes: list[Deviations], level: float
) -> tuple[Float64[np.ndarray, " Q"], Float64[np.ndarray, " Q"]]:
    """The largest deviation of the samples from one another, and how far those of resamples are from that."""
    sample, resampled = (a - b for a, b in zip(data, shapes, strict=True))
    return sample.largest[0], np.quantile((resampled - sample).largest, level, axis=0)


def _tallies(states: DataStates, reference: ReferenceShape, of: list[Resampling], t: int) -> list[Tally]:
    """The values of noised molecules, and of as many random shapes, counted."""
    blocks, names = tuple(states.space.blocks.values()), statistics_of(tuple(states.space.blocks))
    totals: list[Tally | None] = [None, None]
    for indices in same_size_chunks(states.n_atoms, _BLOCK_ATOMS):
        n_atoms = states.n_atoms[indices]
        n = int(n_atoms[0])
        for i, z in enumerate((states.draw(indices, np.array([t])), _draw(states, reference, indices, t))):
            group = of[i].group[indices][None]
            found = scores(z.reshape(1, len(indices), n, -1), blocks, table_of(n, _TABLE))
            counted = count(found, group, of[i].n_groups, n, names)
            before = totals[i]
            totals[i] = counted if before is None else before + counted
    return [tally for tally in totals if tally is not None]


def _draw(
    states: DataStates, reference: ReferenceShape, indices: Int64[np.ndarray, " m"], t: int
) -> Float64[np.ndarray, "A C"]:
    """Random shapes at a step, packed; a molecule has the same whatever else is drawn."""
    sizes = states.n_atoms[indices]
    noise = normals(states.seed, states.keys(indices), sizes, states.columns + reference.further, _STREAM + t)
    return reference.transform(noise, sizes, float(states.schedule.alpha2[t]))
