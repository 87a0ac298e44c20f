"""The network that a training run starts with."""

from pathlib import Path

import torch

from gaga.base.errors import InvalidInput
from gaga.data.features import FeatureSpace
from gaga.models.checkpoint import load_checkpoint
from gaga.models.egnn import EGNN, EGNNConfig
from gaga.models.precondition import Precondition
from gaga.models.recipes import Recipe
from gaga.noise import Moments

_LEAST = 0.01  # scale of a block that is the same in all molecules, such as the types of a single element


def precondition_of(recipe: Recipe, moments: Moments, init_from: Path | None = None) -> Precondition:
    """What a recipe's network predicts, for data of these moments; that of the checkpoint it starts from, if any.

    The weights of a checkpoint mean what they did under its own scales, whatever the data now.
    """
    if recipe.prediction != "x0":
        return Precondition(recipe.prediction)
    if init_from is not None:
        return load_checkpoint(init_from).precondition
    squares = moments.block.repeat(moments.starts[1:] - moments.starts[:-1])
    for columns in moments.slices().values():
        squares[columns] += (moments.mean[columns] ** 2).mean()
    return Precondition("x0", tuple(max(_LEAST, float(v)) for v in squares**0.5))


def initial_network(recipe: Recipe, space: FeatureSpace, seed: int, kernel: str, init_from: Path | None = None) -> EGNN:
    """A network drawn by the seed, or with the weights of a checkpoint, on the CPU.

    Raises:
        InvalidInput: the checkpoint is of another network or other columns.
    """
    config = EGNNConfig(
        features=space.columns - 3, hidden=recipe.hidden, n_layers=recipe.n_layers, inv_sublayers=recipe.inv_sublayers
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = EGNN(config, kernel, recipe.precision)
    if init_from is not None:
        start = load_checkpoint(init_from)
        if start.network != config or start.space != space:
            raise InvalidInput(
                f"{init_from} holds another network or other columns than this recipe",
                received=f"{start.network} {start.space}",
                remedy=f"train with {config} {space}",
            )
        if start.precondition.prediction != recipe.prediction:
            raise InvalidInput(
                f"{init_from} predicts {start.precondition.prediction}, and this recipe {recipe.prediction}",
                remedy=f"train with --prediction {start.precondition.prediction}, or without --init-from",
            )
        network.load_state_dict(dict(start.weights))
    return network
