"""What is timed, as functions without arguments: a training step, an evaluation of the network, a sampling run."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from gaga.benchmark.parity import Variant
from gaga.benchmark.shapes import Batch, Case, Shape
from gaga.models.api import sample
from gaga.models.diffusion import Diffusion
from gaga.models.model import Model
from gaga.models.network.capture import WARMUP, Replay
from gaga.models.network.kernels.products import Library, fast_products, fixed
from gaga.noise import Moments, make_schedule

Step = Callable[[], None]
_LEARNING_RATE = 1e-4


def make_step(case: Case, batch: Batch, variant: Variant, device: torch.device) -> Step:
    """A step on this batch. The noise is drawn before.

    `train`: noising, network, loss, gradient, and AdamW with amsgrad, as training does them. `forward`: one evaluation
    of the network as a sampler does it, without a gradient.

    Raises:
        Unavailable: the kernel cannot run here.
    """
    network = variant.network(case.shape.network, device)
    diffusion = Diffusion(network, make_schedule(), case.shape.space)
    layout = variant.layout(batch.n_atoms, device)
    eps, t = batch.eps.float().to(device), batch.t.to(device)
    if case.work == "forward":
        network.eval().requires_grad_(False)
        z = layout.centre(eps, diffusion.centred_columns)
        time = (batch.t.double() / diffusion.schedule.T).float().to(device)

        def evaluate() -> None:
            with torch.no_grad(), fixed(variant.products):
                diffusion.noise(z, time, layout)

        return evaluate

    x, on_cuda = layout.centre(batch.x.float().to(device), diffusion.centred_columns), device.type == "cuda"
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=_LEARNING_RATE, weight_decay=1e-12, amsgrad=True, fused=on_cuda, capturable=on_cuda
    )

    def train() -> None:
        optimizer.zero_grad(set_to_none=True)
        with fixed(variant.products), fast_products(device):
            diffusion.loss(x, eps, t, layout).mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return train


class Recorder:
    """Records steps as CUDA graphs, as training and sampling do, so that launching their kernels takes no time.

    The graphs share memory: steps of one recorder must not run at the same time, nor read what another one computed.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._pool: Any = torch.cuda.graph_pool_handle() if device.type == "cuda" else None  # torch changes its type

    def __call__(self, step: Step) -> tuple[Step, str]:
        """The step recorded, and how it runs; one that waits for the device cannot be recorded and stays as it is."""
        if self.device.type != "cuda":
            return step, ""
        replay = Replay(step, self.device, pool=self._pool)
        try:
            with torch.cuda.device(self.device):
                for _ in range(WARMUP + 1):
                    replay()
        except RuntimeError as error:
            torch.cuda.synchronize(self.device)
            self._pool = torch.cuda.graph_pool_handle()  # a failed recording leaves the old one unusable
            return step, f"no CUDA graph: {' '.join(str(error).split())[:80]}"
        return replay, "CUDA graph"


def sampler(shape: Shape, variant: Variant, device: torch.device) -> Model:
    """A model of untrained weights that molecules can be drawn from.

    Raises:
        Unavailable: the kernel cannot run here.
    """
    network = variant.network(shape.network, device).eval().requires_grad_(False)
    return Model(
        network, make_schedule(), shape.space, max_t=shape.steps, moments=data_moments(shape), dataset=shape.name
    )


def sampling_run(
    model: Model, n_molecules: int, n_steps: int, *, batch_size: int | None, seed: int, products: Library | None = None
) -> Step:
    """Molecules from the sampler, as `gaga.sample` draws them, in `n_steps` steps and one last evaluation."""

    def run() -> None:
        with fixed(products):
            sample(model, n_molecules, seed=seed, method="ddpm", t_start=n_steps, batch_size=batch_size)

    return run


def data_moments(shape: Shape) -> Moments:
    """Moments with the sizes of the data and variance one for every column: what a start needs to be drawn."""
    columns, sizes = shape.space.columns, len(shape.counts)
    return Moments(
        blocks=("positions", "types"),
        starts=np.array([0, 3, columns]),
        centred=np.ones(columns, dtype=bool),
        mean=np.zeros(columns),
        counts=shape.counts,
        scalar=1.0,
        block=np.ones(2),
        within=np.broadcast_to(np.eye(columns), (sizes, columns, columns)).copy(),
        between=np.zeros((sizes, columns, columns)),
        published=1.0,
    )
