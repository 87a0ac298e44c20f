"""`gaga.stats.states` on a device: z_t of molecules of one size."""

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from gaga.core.torch_rng import normals
from gaga.stats.device.arrays import to_device
from gaga.stats.states import DataStates, GaussianStates, States


def draw(
    states: States, indices: Int64[np.ndarray, " m"], timesteps: Int64[np.ndarray, " S"], device: torch.device
) -> Float64[Tensor, "S m N C"]:
    """What `states.draw` gives for these molecules, which are all of one size."""
    if isinstance(states, DataStates):
        return _noised(states, indices, timesteps, device)
    return _transformed(states, indices, timesteps, device)


def _noised(
    states: DataStates, indices: Int64[np.ndarray, " m"], timesteps: Int64[np.ndarray, " S"], device: torch.device
) -> Float64[Tensor, "S m N C"]:
    encoded = states.space.encode(states.molecules.take(states.keys(indices)))
    x = to_device(encoded.reshape(len(indices), -1, states.columns), device)
    eps = _noise(states, indices, timesteps, x.shape[1], device)
    eps -= eps.mean(dim=2, keepdim=True) * to_device(states.centred, device)
    alpha, sigma = (
        to_device(np.sqrt(squares[timesteps]), device)[:, None, None, None]
        for squares in (states.schedule.alpha2, states.schedule.sigma2)
    )
    return alpha * x + sigma * eps


def _transformed(
    states: GaussianStates, indices: Int64[np.ndarray, " m"], timesteps: Int64[np.ndarray, " S"], device: torch.device
) -> Float64[Tensor, "S m N C"]:
    """`ReferenceGaussian.transform` of every step at once."""
    n, alpha2 = int(states.n_atoms[indices[0]]), states.schedule.alpha2[timesteps]
    factors = [states.reference.factors(n, float(a)) for a in alpha2]
    within, between = (to_device(np.stack(side), device) for side in zip(*factors, strict=True))
    mean = to_device(np.stack([states.reference.mean(float(a)) for a in alpha2]), device)
    noise = _noise(states, indices, timesteps, n, device)
    average = noise.mean(dim=2)
    # The factors are symmetric, so that they need no transposing.
    inner = torch.bmm((noise - average[:, :, None]).flatten(1, 2), within).reshape(noise.shape)
    return inner + (torch.bmm(average, between) + mean[:, None])[:, :, None]


def _noise(
    states: States, indices: Int64[np.ndarray, " m"], timesteps: Int64[np.ndarray, " S"], n: int, device: torch.device
) -> Float64[Tensor, "S m N C"]:
    streams = to_device(states.streams(timesteps), device)
    drawn = normals(states.seed, to_device(states.keys(indices), device), streams, n * states.columns)
    return drawn.reshape(len(timesteps), len(indices), n, states.columns)
