"""Small networks, and Gaussian data whose diffusion has a closed form."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest
import torch
from torch import Tensor

from gaga.core.molecules import PackedMolecules, pack
from gaga.data.features import FeatureSpace
from gaga.models.model import Model
from gaga.models.network.egnn import EGNN
from gaga.models.network.layout import Layout
from gaga.models.network.parameters import EGNNConfig
from gaga.noise import Moments, Schedule, make_schedule
from gaga.stats.moments import estimate_moments

AWKWARD_SIZES = np.array([1, 2, 9, 9, 29, 31, 33])


def small_network(features: int = 5, *, kernel: str = "torch", dtype: torch.dtype = torch.float64) -> EGNN:
    """A network whose coordinate updates matter: its last layers are drawn large."""
    torch.manual_seed(3)
    network = EGNN(EGNNConfig(features=features, hidden=16, n_layers=2), kernel)
    for block in network.blocks:
        torch.nn.init.xavier_uniform_(block.coordinates.coord_mlp[4].weight, gain=0.3)
    return network.to(dtype)


@dataclass(frozen=True)
class OptimalDenoiser:
    """E[eps | z_t] where x is Gaussian with this variance of each column: sigma_t z_t / (alpha_t^2 v + sigma_t^2)."""

    schedule: Schedule
    variances: Tensor

    @cached_property
    def alpha2(self) -> Tensor:
        """Of all steps, where the variances are: a recording copies nothing from the host."""
        return torch.from_numpy(self.schedule.alpha2).to(self.variances.device)

    def __call__(self, z: Tensor, t: Tensor, layout: Layout) -> Tensor:
        step = torch.round(t * self.schedule.T).long()
        alpha2 = self.alpha2.to(z)[step]
        total = alpha2[:, None] * self.variances.to(z) + (1 - alpha2)[:, None]
        return layout.per_atom(torch.sqrt(1 - alpha2)[:, None] / total) * z


VARIANCES = np.array([2.0] * 3 + [0.01] * 5)


def gaussian_moments(n_max: int = 9) -> Moments:
    """Moments of centred Gaussian molecules of 9 atoms with VARIANCES."""
    counts = np.zeros(n_max + 1, dtype=np.int64)
    counts[n_max] = 1000
    return Moments(
        blocks=("positions", "types"),
        starts=np.array([0, 3, 8]),
        centred=np.ones(8, dtype=bool),
        mean=np.zeros(8),
        counts=counts,
        scalar=float(VARIANCES.mean()),
        block=np.array([2.0, 0.01]),
        within=np.broadcast_to(np.diag(VARIANCES), (n_max + 1, 8, 8)).copy(),
        between=np.zeros((n_max + 1, 8, 8)),
        published=0.848,
    )


@pytest.fixture
def gaussian_model() -> Model:
    """The optimal denoiser of Gaussian data, as a model on 0..550."""
    schedule = make_schedule()
    return Model(
        OptimalDenoiser(schedule, torch.from_numpy(VARIANCES)),
        schedule,
        FeatureSpace((1, 6, 7, 8, 9)),
        max_t=550,
        moments=gaussian_moments(),
    )


def toy_molecules(n: int = 60, seed: int = 0) -> PackedMolecules:
    """Random clouds of 2 to 7 H and C atoms."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, 8, n)
    return pack((rng.choice([1, 6], size), rng.normal(size=(size, 3))) for size in sizes)


@pytest.fixture
def toy_model() -> Model:
    """An untrained network over toy molecules."""
    space = FeatureSpace((1, 6))
    return Model(
        small_network(2, dtype=torch.float64),
        make_schedule(),
        space,
        max_t=550,
        moments=estimate_moments(toy_molecules(), space),
    )
