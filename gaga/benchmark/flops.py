"""Floating-point operations of the EGNN, in closed form; a multiplication and an addition are two.

With F the width and s message layers in a block of s + 1 edge networks, a forward pass needs

    edges n (n - 1), each edge network      2 F^2           the second layer; the first is projections of nodes
    atoms n, each block                     4 F^2 (s + 1)   those projections
                                            6 F^2 s         the node networks

and the gradient twice as much again. The embedding, the gate, the coordinate head and everything that is not a matrix
product are left out: about 1 % together. Nothing padded counts.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int64

if TYPE_CHECKING:
    from gaga.models.network.parameters import EGNNConfig

TRAINING = 3  # passes: forward, gradient of the input, gradient of the weights


def edge_flops(config: "EGNNConfig", n_atoms: Int64[np.ndarray, " M"]) -> int:
    """The products over edges that a forward pass cannot do without."""
    edges = int((n_atoms * (n_atoms - 1)).sum())
    return 2 * config.hidden**2 * edges * _edge_networks(config)


def node_flops(config: "EGNNConfig", n_atoms: Int64[np.ndarray, " M"]) -> int:
    """The products over atoms of a forward pass: projections for the edge networks, and the node networks."""
    per_block = 4 * (config.inv_sublayers + 1) + 6 * config.inv_sublayers
    return per_block * config.hidden**2 * int(n_atoms.sum()) * config.n_layers


def useful_flops(config: "EGNNConfig", n_atoms: Int64[np.ndarray, " M"], *, training: bool = False) -> int:
    """What a pass over these molecules needs; with `training`, its gradient too."""
    forward = edge_flops(config, n_atoms) + node_flops(config, n_atoms)
    return forward * (TRAINING if training else 1)


def published_flops(config: "EGNNConfig", n_molecules: int, width: int) -> int:
    """What a forward pass of the papers' formulation does: all pairs of a padded molecule, diagonal and padding too.

    Each edge network multiplies [h_i, h_j, d, d0] by its first layer for every pair. Every matrix product counts.
    """
    f, s = config.hidden, config.inv_sublayers
    network = 2 * (2 * f + 2) * f + 2 * f * f
    pair = s * (network + (2 * f if config.attention else 0)) + network + 2 * f
    ends = 2 * 2 * f * (config.features + int(config.condition_time))
    return n_molecules * (config.n_layers * (width**2 * pair + width * 6 * s * f * f) + width * ends)


def _edge_networks(config: "EGNNConfig") -> int:
    return config.n_layers * (config.inv_sublayers + 1)


def count_flops(run: Callable[[], None]) -> int:
    """FLOPs of the matrix products that a call does, gradients included, as torch counts them; it runs once.

    torch counts in the calling thread alone: what runs on threads of its own must be on one thread.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())
