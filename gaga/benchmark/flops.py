"""Floating-point operations of the EGNN, in closed form; a multiplication and an addition are two.

With F the width and s message layers in a block of s + 1 edge networks, a forward pass needs

    edges n (n - 1), each edge network      2 F^2           the second layer; the first is projections of nodes
    atoms n, each block                     4 F^2 (s + 1)   those projections
                                            6 F^2 s         the node networks

and the gradient twice as much again. The embedding, the gate, the coordinate head and everything that is not a matrix
product are left out: about 1 % together. Padding does not count.
"""

import numpy as np
from jaxtyping import Int64

from gaga.models.network.parameters import EGNNConfig

_TRAINING = 3  # passes: forward, gradient of the input, gradient of the weights


def edge_flops(config: EGNNConfig, n_atoms: Int64[np.ndarray, " M"]) -> int:
    """The products over the edges of these molecules that a forward pass needs."""
    edges = int((n_atoms * (n_atoms - 1)).sum())
    return 2 * config.hidden**2 * edges * config.n_layers * (config.inv_sublayers + 1)


def node_flops(config: EGNNConfig, n_atoms: Int64[np.ndarray, " M"]) -> int:
    """The products over atoms of a forward pass: projections for the edge networks, and the node networks."""
    per_block = 4 * (config.inv_sublayers + 1) + 6 * config.inv_sublayers
    return per_block * config.hidden**2 * int(n_atoms.sum()) * config.n_layers


def useful_flops(config: EGNNConfig, n_atoms: Int64[np.ndarray, " M"], *, training: bool = False) -> int:
    """What a pass over these molecules needs; with `training`, its gradient too."""
    return (edge_flops(config, n_atoms) + node_flops(config, n_atoms)) * (_TRAINING if training else 1)
