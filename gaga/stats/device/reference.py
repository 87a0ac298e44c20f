"""`gaga.stats.reference` on a device: the published test of each molecule."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from gaga.core.threads import map_in_threads
from gaga.stats.device.arrays import THREADS, to_device, working_set
from gaga.stats.device.information import mean_pairwise_information
from gaga.stats.device.ks import ks_distances
from gaga.stats.device.states import draw
from gaga.stats.groups import Resampling
from gaga.stats.reference import Collected, Scored, TestPlan
from gaga.stats.states import States, same_size_chunks
from gaga.storage.partial import NO_PARTIALS, PartialResults


def run_test(
    states: States,
    plan: TestPlan,
    resampling: Resampling,
    advance: Callable[[int], None],
    pieces: PartialResults = NO_PARTIALS,
    *,
    device: torch.device,
) -> tuple[Bool[np.ndarray, "M S K 3"], Float64[np.ndarray, "G S K 2"]]:
    """Flags of every molecule, and the mean mutual informations (features, atoms) summed over each group.

    `advance` is called with the number of molecule-steps done since it was called last; what is in `pieces` is not
    computed again.
    """
    size = working_set(device)
    collected = Collected(states, plan, resampling, pieces)
    advance(collected.done * len(plan.timesteps))
    atoms = max(1, size // (len(plan.timesteps) * states.columns))
    chunks = same_size_chunks(states.n_atoms, atoms, collected.done)
    for scored in map_in_threads(partial(_score_chunk, states, plan, device, size), chunks, THREADS):
        advance(collected.add(scored))
    return collected.flags, collected.sums


def _score_chunk(
    states: States, plan: TestPlan, device: torch.device, size: int, indices: Int64[np.ndarray, " m"]
) -> Scored:
    scores = score(draw(states, indices, plan.timesteps, device), plan, size).cpu().numpy()
    return indices, scores[..., 0], scores[..., 1:]


def score(z: Float64[Tensor, "S m N C"], plan: TestPlan, working_set: int) -> Float64[Tensor, "m S K 3"]:
    """KS distances and mean mutual informations (column pairs, atom pairs) of molecules of one size."""
    n_steps, m = z.shape[:2]
    deviations = to_device(np.sqrt(plan.expected), z.device)
    scores = z.new_zeros((len(plan.blocks), 3, n_steps * m))
    for b in np.flatnonzero(plan.parts.any(axis=1)):
        k, (ks, features, atoms) = plan.neighbours[b], plan.parts[b]
        sets = (z[..., plan.blocks[b]] / deviations[:, b, None, None, None]).flatten(0, 1)
        if ks:
            scores[b, 0] = ks_distances(sets.flatten(1))
        if features:
            scores[b, 1] = mean_pairwise_information(sets.permute(1, 2, 0), k, working_set)
        if atoms:
            scores[b, 2] = mean_pairwise_information(sets.permute(2, 1, 0), k, working_set)
    return scores.reshape(len(plan.blocks), 3, n_steps, m).permute(3, 2, 0, 1)
