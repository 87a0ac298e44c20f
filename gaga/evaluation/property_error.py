"""How far molecules are from the property that was asked of them, by a predictor; and the rows beside it.

The protocol of Hoogeboom et al. 2022 (EDM), section 5.2: the mean absolute error between what was asked for and what a
predictor says that was trained on other molecules than the generator, over all molecules, valid or not. Beside it stand
`random`, the property of another molecule of the data; `#atoms`, the median of molecules of the same size; and `data`,
the predictor on the data itself, the least error that it can see.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64

from gaga.chem.io import READ_SUFFIXES, Skipped, read_molecules
from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules
from gaga.core.progress import Progress, silent
from gaga.core.statistics import Interval, interval_of
from gaga.data import Dataset, load_dataset
from gaga.data.targets import halves_of, targets_of
from gaga.evaluation.reference import row_split
from gaga.models.predictor.checkpoint import Predictor

TARGET = "target_"
"""What the tag or column of a molecule begins with that holds the value that was asked for."""

_PREDICTED = 10_000  # molecules of the data that the predictor is tried on, as EDM's
_HARTREE, _MEV = "Ha", 27211.386246  # CODATA 2022


@dataclass(frozen=True, kw_only=True)
class PropertyRow:
    """The mean absolute error of a guess.

    Attributes:
        name: of the row. description: which guess, on which molecules.
        n: molecules that it is the mean of.
        mae: with its bootstrap interval over them, in the property's unit.
    """

    name: str
    description: str
    n: int
    mae: Interval


@dataclass(frozen=True, eq=False, kw_only=True)
class PropertyError:
    """What was asked of M molecules, and what a predictor says of them.

    Attributes:
        property, unit: what was asked for.
        n_molecules: M.
        targets: what was asked of each, [M]; NaN if nothing was.
        predicted: what the predictor says, [M]; NaN for a record without atoms.
        valid: by the protocol of the evaluation, [M].
        rows: of all molecules and of the valid ones, none without a predictor; then those of the data, none without it.
        predictor: the data set that it was trained on, and which half; empty without one.
        seed: of the bootstrap.
    """

    property: str
    unit: str
    n_molecules: int
    targets: Float64[np.ndarray, " M"]
    predicted: Float64[np.ndarray, " M"]
    valid: Bool[np.ndarray, " M"]
    rows: tuple[PropertyRow, ...]
    predictor: str
    seed: int


def shown_in(unit: str) -> tuple[str, float]:
    """The unit that a property is printed in, and what its values are multiplied by: energies in meV, as in papers."""
    return ("meV", _MEV) if unit == _HARTREE else (unit, 1.0)


def asked_of(path: Path, property: str) -> Float64[np.ndarray, " M"]:
    """What was asked of each molecule of a file: its tag or column `target_<property>`; NaN if it has none.

    Raises:
        InvalidInput: no molecule has one.
    """
    name = f"{TARGET}{property}"
    if path.is_dir() or path.name.lower().endswith(READ_SUFFIXES):
        texts = [None if isinstance(r, Skipped) else r.properties.get(name) for r in read_molecules(path, bonding=True)]
        values = np.array([_number(text) for text in texts])
    else:
        dataset = load_dataset(path)
        values = dataset.properties.get(name, np.full(len(dataset), np.nan))
    if not np.isfinite(values).any():
        raise InvalidInput(
            f"{path} does not say what {property} was asked of its molecules", received=f"no {name}",
            remedy=f"draw them with a target of {property}, or give each a tag or column {name}",
        )  # fmt: skip
    return np.where(np.isfinite(values), values, np.nan)


def property_error(
    predictor: Predictor,
    molecules: PackedMolecules,
    targets: Float64[np.ndarray, " M"],
    valid: Bool[np.ndarray, " M"],
    rows: tuple[PropertyRow, ...] = (),
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> PropertyError:
    """The error of molecules, over all that have atoms and a target, and over the valid ones of these.

    Args:
        predictor: of the property that was asked for.
        molecules: positions in Å. targets: what was asked of each, NaN if nothing was. valid: by a protocol.
        rows: those of the data, which stand behind.
        seed: of the bootstrap. device: where the predictor runs.

    Raises:
        InvalidInput: the predictor does not know an element.
    """
    predicted, rng = predictor.predict(molecules, device=device, progress=progress), np.random.default_rng(seed)
    error = np.abs(predicted - targets)
    known = np.isfinite(error)
    own = (
        _row("all", "valid or not, as EDM counts", error[known], rng),
        _row("valid", "the valid ones of these", error[known & valid], rng),
    )
    half = " (first half)" if predictor.half == "first" else ""
    return PropertyError(
        property=predictor.property, unit=predictor.unit, n_molecules=len(molecules), targets=targets,
        predicted=predicted, valid=valid, rows=(*own, *rows), predictor=f"{predictor.dataset}{half}", seed=seed,
    )  # fmt: skip


def rows_of_data(
    dataset: Dataset,
    property: str,
    *,
    halves: bool,
    predictor: Predictor | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> tuple[PropertyRow, ...]:
    """The rows `random`, `#atoms` and, with a predictor, `data`.

    Args:
        dataset: with the property.
        halves: whether `#atoms` is fitted to the first half of the training molecules and all rows are of the second
            (EDM); else to all training molecules, and the rows are of the test split.
        predictor: of the property, trained on the molecules that `#atoms` is fitted to.
        seed: of shuffling, of the 10,000 molecules that the predictor is tried on, and of the bootstrap.
        device: where the predictor runs.

    Raises:
        InvalidInput: there is no such property, or no molecule has a value.
    """
    values = targets_of(dataset, [property]).values[:, 0]
    if halves:
        fitted, tried = halves_of(dataset)
        where = f"second half of {dataset.name}'s train split"
    else:
        fitted, tried = dataset.splits["train"], dataset.splits[row_split(dataset)]
        where = f"{dataset.name}'s {row_split(dataset)} split"
    fitted, tried = (some[np.isfinite(values[some])] for some in (fitted, tried))
    if not len(fitted) or not len(tried):
        raise InvalidInput(f"too few molecules have a value of {property} (needed: some of the {where}, others to fit)")
    rng, of_tried = np.random.default_rng(seed), values[tried]
    by_size = _median_by_size(dataset.n_atoms[fitted], values[fitted], dataset.n_atoms[tried])
    rows = (
        _row("random", f"another molecule's value; {where}", np.abs(of_tried - rng.permutation(of_tried)), rng),
        _row("#atoms", f"median of molecules of its size; {where}", np.abs(of_tried - by_size), rng),
    )
    if predictor is None:
        return rows
    drawn = np.sort(rng.permutation(tried)[:_PREDICTED])
    found = predictor.predict(dataset.molecules.take(drawn), device=device, progress=progress)
    return (*rows, _row("data", f"the predictor's; {where}", np.abs(found - values[drawn]), rng))


def _row(name: str, description: str, errors: Float64[np.ndarray, " n"], rng: np.random.Generator) -> PropertyRow:
    return PropertyRow(name=name, description=description, n=len(errors), mae=interval_of(errors, np.mean, rng=rng))


def _median_by_size(
    sizes: Int64[np.ndarray, " m"], values: Float64[np.ndarray, " m"], wanted: Int64[np.ndarray, " n"]
) -> Float64[np.ndarray, " n"]:
    """The median value of molecules of each size, for these sizes; between sizes that do not occur, interpolated."""
    there = np.unique(sizes)
    medians = [np.median(values[sizes == size]) for size in there]
    return np.asarray(np.interp(wanted, there, medians))


def _number(text: object) -> float:
    try:
        return float(str(text))
    except ValueError:
        return float("nan")
