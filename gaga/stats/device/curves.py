"""`gaga.stats.curves` on a device: D_t from counts in cells that never leave it."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from gaga.core.threads import map_in_threads
from gaga.stats.curves import GROUP_CELLS, DistanceCurves, DistancePlan, StepDistance, StepDistances
from gaga.stats.device.arrays import THREADS, to_device, wait, working_set
from gaga.stats.device.ks import cells_of, distance_between_counts, distance_of_counts
from gaga.stats.device.states import draw
from gaga.stats.ks import N_CELLS
from gaga.stats.states import States, marginals, same_size_chunks
from gaga.storage.partial import NO_PARTIALS, PartialResults


def distance_curves(
    states: States,
    plan: DistancePlan,
    advance: Callable[[int], None],
    pieces: PartialResults = NO_PARTIALS,
    *,
    device: torch.device,
) -> DistanceCurves:
    """D_t of these states; `advance` is called with the number of molecule-steps done since the last call.

    The steps that are in `pieces` are not computed again.
    """
    n_pairs = len(plan.blocks) * len(plan.references)
    counters = n_pairs * (N_CELLS + plan.resampling.n_groups * GROUP_CELLS)
    at_once = max(1, working_set(device) // counters)
    steps = StepDistances(plan.timesteps, pieces)
    missing = steps.missing
    advance((len(plan.timesteps) - len(missing)) * len(states))
    for part in (missing[i : i + at_once] for i in range(0, len(missing), at_once)):
        for t, found in zip(part, _distances_at(states, part, plan, advance, device), strict=True):
            steps.add(int(t), found)
    return steps.curves(plan.level)


class _Counts:
    """Entries in each cell for every block, reference and step: of all molecules, and of each group in wider cells."""

    def __init__(self, plan: DistancePlan, timesteps: Int64[np.ndarray, " S"], states: States, device: torch.device):
        n_groups = plan.resampling.n_groups
        shape = (len(plan.blocks), len(plan.references), len(timesteps))
        self.plan, self.device = plan, device
        self.pooled = torch.zeros((*shape, N_CELLS), dtype=torch.int64, device=device)
        self.grouped = torch.zeros((*shape, n_groups, GROUP_CELLS), dtype=torch.int64, device=device)
        alpha2 = plan.schedule.alpha2[timesteps]
        sizes = np.unique(states.n_atoms)
        laws = [[marginals(r, sizes, float(a)) for a in alpha2] for r in plan.references]
        # Mean [R, S, C] and, by number of atoms, standard deviation [R, S, N_max + 1, C] of one atom's columns.
        self.means = to_device(np.array([[mean for mean, _ in row] for row in laws]), device)
        self.deviations = to_device(np.array([[deviations for _, deviations in row] for row in laws]), device)
        self.step = torch.arange(len(timesteps), device=device)[:, None, None, None]

    def add(self, indices: Int64[np.ndarray, " m"], z: Float64[Tensor, "S m N C"]) -> None:
        """Count the entries of these molecules, standardised by each reference."""
        n_groups = self.plan.resampling.n_groups
        group = to_device(self.plan.resampling.group[indices], self.device)[:, None, None]
        row = (self.step * n_groups + group) * GROUP_CELLS
        for b, columns in enumerate(self.plan.blocks):
            for r in range(len(self.plan.references)):
                mean = self.means[r, :, None, None, columns]
                deviation = self.deviations[r, :, z.shape[2], None, None, columns]
                cells = cells_of((z[..., columns] - mean) / deviation)
                _count(self.pooled[b, r], cells + self.step * N_CELLS)
                _count(self.grouped[b, r], row + cells // (N_CELLS // GROUP_CELLS))

    def distances(self) -> list[StepDistance]:
        """The distances at each step, and those in each resample of the groups."""
        weights = to_device(self.plan.resampling.weights, self.device)
        estimate = distance_of_counts(self.pooled.double())
        resampled = torch.stack([_resampled_distances(c.double(), weights) for c in self.grouped.flatten(0, 2)], dim=1)
        distances, deviations = resampled.reshape(2, *estimate.shape, -1).permute(0, 3, 1, 2, 4).cpu().numpy()
        steps = zip(estimate.permute(2, 0, 1).cpu().numpy(), distances, deviations, strict=True)
        return [StepDistance(estimate=d, resampled=r, deviation=v) for d, r, v in steps]


def _resampled_distances(counts: Float64[Tensor, "G cells"], weights: Float64[Tensor, "B G"]) -> Float64[Tensor, "2 B"]:
    """The distance to N(0, 1) in each resample of the groups, and to all of them together."""
    resampled = weights @ counts
    return torch.stack([distance_of_counts(resampled), distance_between_counts(resampled, counts.sum(dim=0)[None])])


def _count(counts: Int64[Tensor, "..."], bins: Int64[Tensor, "..."]) -> None:
    """Add one to these bins of the flattened counts; whole numbers, so that no order of the additions shows."""
    bins = bins.flatten()
    counts.view(-1).scatter_add_(0, bins, torch.ones_like(bins))


def _distances_at(
    states: States,
    timesteps: Int64[np.ndarray, " S"],
    plan: DistancePlan,
    advance: Callable[[int], None],
    device: torch.device,
) -> list[StepDistance]:
    """Distances at these steps, and those of the resamples."""
    counts = _Counts(plan, timesteps, states, device)
    chunks = same_size_chunks(states.n_atoms, max(1, working_set(device) // (len(timesteps) * states.columns)))
    for indices, z in map_in_threads(partial(_draw_chunk, states, timesteps, device), chunks, THREADS):
        counts.add(indices, z)
        advance(len(indices) * len(timesteps))
    return counts.distances()


def _draw_chunk(
    states: States, timesteps: Int64[np.ndarray, " S"], device: torch.device, indices: Int64[np.ndarray, " m"]
) -> tuple[Int64[np.ndarray, " m"], Float64[Tensor, "S m N C"]]:
    """The chunk once it is there: the counting of those before it is over too, and nothing piles up."""
    z = draw(states, indices, timesteps, device)
    wait(device)
    return indices, z
