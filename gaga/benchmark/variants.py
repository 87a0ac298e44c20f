"""The ways of running a network that are held against each other, and the one place where they are opened."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from jaxtyping import Int64

from gaga.models.network.egnn import EGNN
from gaga.models.network.kernels.products import Library, usable
from gaga.models.network.layout import Layout
from gaga.models.network.parameters import EGNNConfig

ORACLE = "naive"
_HEAD_GAIN = 0.03


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A kernel and its precision.

    Attributes:
        pad_to: for the naive kernel, which pads to a batch's largest molecule else.
        products: library of float32 products on a CPU; None for the one that gaga uses, and on other devices.
    """

    kernel: str
    precision: str = "float32"
    pad_to: int | None = None
    products: Library | None = None

    @property
    def label(self) -> str:
        """The kernel as tables name it."""
        return self.kernel if self.pad_to is None else f"{self.kernel}, padded to {self.pad_to}"

    @property
    def is_oracle(self) -> bool:
        """Whether this is the papers' formulation, which the others are held against."""
        return self.kernel == ORACLE


def make_variants(
    kernels: tuple[str, ...], precisions: tuple[str, ...], widest: int, libraries: Sequence[Library | None] = (None,)
) -> tuple[Variant, ...]:
    """Every kernel in every precision; the naive one in float32 alone, padded to each batch's largest and to `widest`.

    The papers train in the first way and sample in the second. In float32 each kernel runs by each of the libraries,
    the naive one by the first, as the papers' code does.
    """
    pads = (None, widest) if ORACLE in kernels else ()
    oracle = (Variant(kernel=ORACLE, pad_to=pad_to, products=libraries[0]) for pad_to in pads)
    others = (
        Variant(kernel=kernel, precision=precision, products=library)
        for kernel in kernels
        if kernel != ORACLE
        for precision in precisions
        for library in (libraries if precision == "float32" else (None,))
    )
    return (*oracle, *others)


def libraries_on(device: torch.device) -> Sequence[Library | None]:
    """The libraries of float32 products that are held against each other: those that are exact here, MKL first."""
    return usable() if device.type == "cpu" else (None,)


def open_network(config: EGNNConfig, variant: Variant, device: torch.device, *, seed: int = 0) -> EGNN:
    """The network on its device; all variants of one seed have the same weights.

    The last layers of the coordinate networks are drawn wider than for training, so that coordinates matter.

    Raises:
        Unavailable: the kernel cannot run on this device, or not in this precision.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = EGNN(config, variant.kernel, variant.precision)
        for block in network.layers():
            last = cast(torch.nn.Linear, block.coordinates.coord_mlp[4])
            torch.nn.init.xavier_uniform_(last.weight, gain=_HEAD_GAIN)
    network = network.to(device)
    _ = network.kernel  # raises where it cannot run on this device
    return network


def layout_for(n_atoms: Int64[np.ndarray, " M"], variant: Variant, device: torch.device) -> Layout:
    """Where the atoms of a batch lie, padded as the variant says."""
    return Layout.of(n_atoms, device, pad_to=variant.pad_to)
