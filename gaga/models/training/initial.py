"""The network that a training run starts with: drawn by a seed, or with the weights of a checkpoint.

The checkpoint may be of molecules with other elements. The network knows an element by a column of its first matrix and
a row of its last; those of shared elements are kept, and a new element starts as the most similar old one.
"""

import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gaga.chem.elements import most_similar, symbol_of
from gaga.core.errors import InvalidInput
from gaga.data.features import FeatureSpace
from gaga.models.checkpoint import Checkpoint, load_checkpoint
from gaga.models.network.egnn import EGNN
from gaga.models.network.parameters import EGNNConfig
from gaga.models.network.precondition import Precondition
from gaga.models.training.recipe import Recipe
from gaga.noise import Moments

log = logging.getLogger(__name__)
_MUCH_LARGER = 1.5  # times the atoms of the molecules that a checkpoint knows
_LEAST = 0.01  # scale of a block that is the same in all molecules, such as the types of a single element


def precondition_of(
    recipe: Recipe, space: FeatureSpace, moments: Moments, init_from: Path | None = None
) -> Precondition:
    """What a recipe's network predicts, for data of these columns and moments; that of the checkpoint it starts from,
    if any.

    The weights of a checkpoint mean what they did under its own scales, whatever the data now.
    """
    if recipe.prediction != "x0":
        return Precondition(recipe.prediction)
    if init_from is not None:
        start = load_checkpoint(init_from)
        return Precondition(
            "x0",
            tuple(_of_elements(torch.tensor(start.precondition.sd, dtype=torch.float64), start, space, 3).tolist()),
        )
    squares = moments.block.repeat(moments.starts[1:] - moments.starts[:-1])
    for columns in moments.slices().values():
        squares[columns] += (moments.mean[columns] ** 2).mean()
    return Precondition("x0", tuple(max(_LEAST, float(v)) for v in squares**0.5))


def initial_network(
    recipe: Recipe,
    space: FeatureSpace,
    seed: int,
    kernel: str,
    init_from: Path | None = None,
    *,
    mean_atoms: float | None = None,
) -> EGNN:
    """A network drawn by the seed, or with the weights of a checkpoint, on the CPU.

    `mean_atoms` is the mean size of the molecules that it will be trained on, which a recipe may ask about.

    Raises:
        InvalidInput: the checkpoint is of another network or other columns.
    """
    start = None if init_from is None else load_checkpoint(init_from)
    config = EGNNConfig(
        features=space.columns - 3, hidden=recipe.hidden, n_layers=recipe.n_layers, inv_sublayers=recipe.inv_sublayers,
        normalization_factor=_sums_divided_by(recipe, mean_atoms, start),
        context=len(recipe.condition) + 1 if recipe.condition else 0,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = EGNN(config, kernel, recipe.precision)
    if init_from is not None and start is not None:
        _check(init_from, start, config, space, recipe)
        _log_changes(init_from, start, space, config)
        network.load_state_dict(_carried_over(start, space, config.context))
    return network


def _sums_divided_by(recipe: Recipe, mean_atoms: float | None, start: Checkpoint | None) -> float:
    """Larger molecules have larger sums of messages and of forces, which a rate that suits QM9 makes explode.

    A checkpoint's weights go with its own division, and keep it unless the molecules are half as large again.
    """
    if not recipe.tuned_for_atoms:
        return 1.0
    if start is None:
        return 1.0 if mean_atoms is None else max(1.0, round(mean_atoms / recipe.tuned_for_atoms, 1))
    before = start.network.normalization_factor
    growth = (mean_atoms or 0.0) / _mean_atoms(start)
    return before if growth < _MUCH_LARGER else round(before * growth, 1)


def _mean_atoms(start: Checkpoint) -> float:
    """Mean size of the molecules that a checkpoint was trained on; infinity if it does not say."""
    if start.moments is None or not start.moments.counts.any():
        return math.inf
    counts = start.moments.counts
    return float((counts * np.arange(len(counts))).sum() / counts.sum())


def _check(init_from: Path, start: Checkpoint, config: EGNNConfig, space: FeatureSpace, recipe: Recipe) -> None:
    """Refuse weights that mean something else than this recipe's would."""
    divided_by = config.normalization_factor if recipe.tuned_for_atoms else start.network.normalization_factor
    context = start.network.context or config.context
    same_but_for_elements = (
        replace(start.network, features=config.features, normalization_factor=divided_by, context=context) == config
        and replace(start.space, vocabulary=space.vocabulary) == space
    )
    if not same_but_for_elements or not set(start.space.vocabulary) & set(space.vocabulary):
        raise InvalidInput(
            f"{init_from} holds another network or other columns than this recipe",
            received=f"{start.network} {start.space}",
            remedy=f"train with {config} {space}",
        )
    if start.conditioning is not None and start.conditioning.names != recipe.condition:
        raise InvalidInput(
            f"{init_from} is conditioned on {', '.join(start.conditioning.names)}",
            received=f"condition {', '.join(recipe.condition)}", remedy="start from an unconditional checkpoint",
        )  # fmt: skip
    if start.precondition.prediction != recipe.prediction:
        raise InvalidInput(
            f"{init_from} predicts {start.precondition.prediction}, and this recipe {recipe.prediction}",
            remedy=f"train with `prediction={start.precondition.prediction}`, or without `init_from`",
        )


def _log_changes(init_from: Path, start: Checkpoint, space: FeatureSpace, config: EGNNConfig) -> None:
    new = [z for z in space.vocabulary if z not in start.space.vocabulary]
    if new:
        starts = [f"{symbol_of(z)} as {symbol_of(most_similar(z, start.space.vocabulary))}" for z in new]
        log.warning("%s does not know all elements: %s.", init_from.name, ", ".join(starts))
    now, before = config.normalization_factor, start.network.normalization_factor
    if now != before:
        log.warning(
            "%s has seen smaller molecules: sums over atoms are divided by %g, not %g.", init_from.name, now, before
        )


def _carried_over(start: Checkpoint, space: FeatureSpace, context: int) -> Mapping[str, Tensor]:
    """The weights of a checkpoint for molecules of this vocabulary; of a new context they are 0."""
    weights = {name: value.float() for name, value in start.weights.items()}
    weights["embedding.weight"] = _of_elements(weights["embedding.weight"].T, start, space, 0).T
    for name in ("embedding_out.weight", "embedding_out.bias"):
        weights[name] = _of_elements(weights[name], start, space, 0)
    if new := context - start.network.context:
        weights["embedding.weight"] = torch.nn.functional.pad(weights["embedding.weight"], (0, new))
        weights["embedding_out.weight"] = torch.nn.functional.pad(weights["embedding_out.weight"], (0, 0, 0, new))
        weights["embedding_out.bias"] = torch.nn.functional.pad(weights["embedding_out.bias"], (0, new))
    return weights


def _of_elements(rows: Tensor, start: Checkpoint, space: FeatureSpace, first: int) -> Tensor:
    """Rows whose types begin at `first`, one for each element of the checkpoint, for those of this vocabulary."""
    old = start.space.vocabulary
    types = [rows[first + old.index(z if z in old else most_similar(z, old))] for z in space.vocabulary]
    return torch.cat([rows[:first], torch.stack(types), rows[first + len(old) :]])
