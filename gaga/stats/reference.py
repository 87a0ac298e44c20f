"""The published test of each molecule on its own, at each step: is this z_t a sample of the expected
Gaussian?

Three parts for each block of columns, as in the script that comes with GAGA (Qu et al. 2026): a KS test of
the standardised entries against N(0, 1); the mean mutual information of the column pairs, atoms being the
samples; and that of the atom pairs, columns being the samples. All pairs are taken, not a random draw of
them.

With k = 2 the atom pairs of positions, of three samples each, score 0 whatever the data: that part cannot fail.

Entries are divided by sqrt(alpha_t^2 v + sigma_t^2), where v is by default what the script has: the mean over
molecules of the block's *standard deviation* (1.380 and 0.086 on QM9). It also leaves out that a molecule
with zero mean has a variance smaller by (N - 1) / N. A true Gaussian therefore does not always pass: compare
with the null.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from jaxtyping import Bool, Float64, Int64

from gaga.core.threads import map_in_threads
from gaga.stats.groups import Resampling
from gaga.stats.information import mean_pairwise_information
from gaga.stats.ks import critical_distance, ks_distances
from gaga.stats.states import States, by_size, same_size_chunks
from gaga.storage.partial import NO_PARTIALS, PartialResults, Piece

TESTS = ("ks", "mi_features", "mi_atoms")
# Atom-steps in one chunk: enough molecules of one size to share each array operation, a few MiB.
_CHUNK_ATOM_STEPS = 120_000
# Molecules in a piece that is kept, for each group: what is kept takes about as much room as the flags.
_MOLECULES_PER_GROUP = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class TestPlan:
    """What is tested: steps, blocks of columns, and each block's expected variance and neighbours.

    Attributes:
        timesteps: the S steps.
        blocks: columns of each of the K blocks.
        variances: v of each block, [K].
        expected: variance that entries are standardised with, alpha_t^2 v + sigma_t^2, [S, K].
        neighbours: k of the mutual information of each block.
        parts: which of `TESTS` each block is put to, [K, 3]; the flags of the others are False, their sums 0.
        alpha: level of the KS test.
        mi_threshold: nats; a mean mutual information below it passes.
    """

    __test__ = False  # not a test case of pytest's

    timesteps: Int64[np.ndarray, " S"]
    blocks: tuple[slice, ...]
    variances: Float64[np.ndarray, " K"]
    expected: Float64[np.ndarray, "S K"]
    neighbours: tuple[int, ...]
    parts: Bool[np.ndarray, "K 3"]
    alpha: float
    mi_threshold: float

    @property
    def always_zero(self) -> Bool[np.ndarray, "K 2"]:
        """Whose mutual information is 0 whatever the data, and costs nothing: no pairs, or too few samples of each."""
        columns = np.array([block.stop - block.start for block in self.blocks])
        return np.stack([columns < 2, columns <= np.array(self.neighbours) + 1], axis=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class ReferenceTest:
    """Pass flags of the per-molecule test, of the data and of true Gaussians of the same sizes (the null).

    Attributes:
        variances: v of each block, [K].
        neighbours: k of each block, [K].
        passes: flags of the data, [M, S, K, 3]; of the first molecules only if later ones were not put to all of it.
        null_passes: flags of the null, [M_null, S, K, 3].
    """

    alpha: float
    mi_threshold: float = field(metadata={"unit": "nats"})
    variances: Float64[np.ndarray, " K"] = field(metadata={"dims": ("blocks",)})
    neighbours: Int64[np.ndarray, " K"] = field(metadata={"dims": ("blocks",)})
    passes: Bool[np.ndarray, "M S K 3"] = field(metadata={"dims": ("tested molecules", "timesteps", "blocks", "tests")})
    null_passes: Bool[np.ndarray, "M_null S K 3"] = field(
        metadata={"dims": ("null molecules", "timesteps", "blocks", "tests")}
    )


# Indices [m] of molecules of one size, their KS distances [m, S, K] and mean mutual informations [m, S, K, 2].
Scored = tuple[Int64[np.ndarray, " m"], Float64[np.ndarray, "m S K"], Float64[np.ndarray, "m S K 2"]]


def run_test(
    states: States,
    plan: TestPlan,
    resampling: Resampling,
    advance: Callable[[int], None],
    pieces: PartialResults = NO_PARTIALS,
    *,
    threads: int,
) -> tuple[Bool[np.ndarray, "M S K 3"], Float64[np.ndarray, "G S K 2"]]:
    """Flags of every molecule, and the mean mutual informations (features, atoms) summed over each group.

    `advance` is called with the number of molecule-steps done since it was called last; what is in `pieces` is not
    computed again.
    """
    collected = Collected(states, plan, resampling, pieces)
    advance(collected.done * len(plan.timesteps))
    chunks = same_size_chunks(states.n_atoms, max(1, _CHUNK_ATOM_STEPS // len(plan.timesteps)), collected.done)
    for scored in map_in_threads(partial(_score_chunk, states, plan), chunks, threads):
        advance(collected.add(scored))
    return collected.flags, collected.sums


class Collected:
    """What `run_test` returns, of the molecules so far in the order of their sizes: those in `pieces` to begin with.

    The sums grow one molecule at a time, so that the way in which molecules are cut into chunks and pieces does not
    show in them. A piece holds the flags of its molecules and the sums behind them.

    Attributes:
        flags: pass flags, [M, S, K, 3]. sums: mean mutual informations summed over each group, [G, S, K, 2].
        done: number of molecules so far.
    """

    def __init__(self, states: States, plan: TestPlan, resampling: Resampling, pieces: PartialResults) -> None:
        self._plan, self._group, self._pieces = plan, resampling.group, pieces
        self._n_atoms, self._order = states.n_atoms, by_size(states.n_atoms)
        shape = (len(plan.timesteps), len(plan.blocks))
        self.flags = np.empty((len(states), *shape, len(TESTS)), dtype=bool)
        self.sums = np.zeros((resampling.n_groups, *shape, 2))
        self.done = 0
        while (piece := pieces.get(str(self.done))) is not None:
            self._restore(piece)
        self._kept = self.done

    def _restore(self, piece: Piece) -> None:
        shape = (int(piece["molecules"]), *self.flags.shape[1:])
        flags = np.unpackbits(piece["flags"], count=int(np.prod(shape))).reshape(shape)
        self.flags[self._order[self.done : self.done + shape[0]]] = flags.astype(bool)
        self.sums = piece["sums"]
        self.done += shape[0]

    def add(self, scored: Scored) -> int:
        """Add the scores of the next molecules; the number of their molecule-steps."""
        indices, distances, information = scored
        self.flags[indices] = _flags(distances, information, int(self._n_atoms[indices[0]]), self._plan)
        np.add.at(self.sums, self._group[indices], information)
        self.done += len(indices)
        if self.done - self._kept >= _MOLECULES_PER_GROUP * len(self.sums) or self.done == len(self.flags):
            self._keep()
        return len(indices) * self.flags.shape[1]

    def _keep(self) -> None:
        flags = self.flags[self._order[self._kept : self.done]]
        molecules = np.array(len(flags), dtype=np.int64)
        self._pieces.put(
            str(self._kept), {"molecules": molecules, "flags": np.packbits(flags), "sums": self.sums}
        )  # fmt: skip
        self._kept = self.done


def _score_chunk(states: States, plan: TestPlan, indices: Int64[np.ndarray, " m"]) -> Scored:
    z = states.draw(indices, plan.timesteps)
    return indices, *score(z.reshape(len(z), len(indices), -1, z.shape[-1]), plan)


def score(
    z: Float64[np.ndarray, "S m N C"], plan: TestPlan
) -> tuple[Float64[np.ndarray, "m S K"], Float64[np.ndarray, "m S K 2"]]:
    """KS distances and mean mutual informations (column pairs, atom pairs) of molecules of one size."""
    n_steps, m, n_atoms, _ = z.shape
    distances = np.zeros((m, n_steps, len(plan.blocks)))
    information = np.zeros((*distances.shape, 2))
    for b in np.flatnonzero(plan.parts.any(axis=1)):
        ks, *sides = plan.parts[b]
        block = z[..., plan.blocks[b]] / np.sqrt(plan.expected[:, b])[:, None, None, None]
        if ks:
            distances[..., b] = ks_distances(block.reshape(n_steps * m, -1)).reshape(n_steps, m).T
        sets = block.reshape(n_steps * m, n_atoms, -1)
        for side in np.flatnonzero(sides):
            values = np.ascontiguousarray(sets.transpose([(2, 1, 0), (1, 2, 0)][side]))
            means = mean_pairwise_information(values, plan.neighbours[b])
            information[..., b, side] = means.reshape(n_steps, m).T
    return distances, information


def _flags(
    distances: Float64[np.ndarray, "m S K"],
    information: Float64[np.ndarray, "m S K 2"],
    n_atoms: int,
    plan: TestPlan,
) -> Bool[np.ndarray, "m S K 3"]:
    critical = [critical_distance(n_atoms * (s.stop - s.start), plan.alpha) for s in plan.blocks]
    ks = distances <= np.array(critical)
    flags = np.concatenate([ks[..., None], information < plan.mi_threshold], axis=-1)
    return np.asarray(flags & plan.parts)
