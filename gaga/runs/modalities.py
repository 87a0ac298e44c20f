"""Molecules, images and other arrays compared: each measured once, kept, and shown with what ships."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from gaga.core.errors import InvalidInput
from gaga.core.progress import Reporter
from gaga.core.text import counted
from gaga.data.dataset import Dataset
from gaga.data.features import FeatureSpace
from gaga.data.images import ArraySet, is_arrays, load_arrays
from gaga.noise import Schedule, make_schedule
from gaga.runs.inputs import DataRequest, cores, select
from gaga.runs.once import Key, Outcome, Policy, once, slug
from gaga.stats.arrays import measure_arrays
from gaga.stats.cumulants import CumulantNorms
from gaga.stats.modalities import Modalities, joined
from gaga.stats.modalities_plot import plot_modalities
from gaga.stats.modality_config import ModalityConfig
from gaga.stats.moments import estimate_moments
from gaga.stats.pixels import array_cumulants, pairs_of
from gaga.stats.price import PriceResult, price
from gaga.storage.partial import PartialResults
from gaga.storage.store import Store

KIND, PREFIX = "modalities", "modalities_"
SHIPPED = "modalities.json"
_DIGITS = 5  # significant, of what ships


@dataclass(frozen=True, kw_only=True)
class ModalitiesRequest(DataRequest):
    """What is measured: images such as `images:mnist`, a file of arrays, or molecules.

    Attributes:
        schedule: noise schedule of 1000 steps. config: what is subtracted, and the tests.
        name: of the result in the store; None is modalities_DATASET.
    """

    schedule: str = "polynomial_2"
    config: ModalityConfig = ModalityConfig()
    name: str | None = None


def run(request: ModalitiesRequest, store: Store | None, policy: Policy, report: Reporter) -> Outcome[Modalities]:
    """Find or compute and store it.

    Raises:
        Conflict, NotFound, Unavailable: as `once`; or there are no such data, or the package that has them is missing.
        InvalidInput: the arrays do not fit.
    """
    schedule = make_schedule(request.schedule)
    threads = request.threads or cores()
    if is_arrays(request.dataset):
        given = load_arrays(request.dataset)
        name, described, inputs = given.name, {"dataset": given.name}, {given.name: given.fingerprint}
        compute = _of_arrays(given, request, schedule, threads, report)
    else:
        if request.config.centre != "sample":
            raise InvalidInput(
                "the mean of each molecule is subtracted: it has no meaning", remedy="use `centre=sample`"
            )
        chosen = select(request, report)
        name, described, inputs = chosen.dataset.name, chosen.config, chosen.inputs
        compute = _of_molecules(chosen.dataset, request, schedule, threads, report)
    key = Key(
        kind=KIND,
        name=request.name or f"{PREFIX}{slug(name)}",
        config={**described, **asdict(request.config), "schedule": schedule.name},
        inputs=inputs,
        seed=request.seed,
    )
    return once(store, key, Modalities, compute, policy, report)


Compute = Callable[[PartialResults], Modalities]


def _of_arrays(
    given: ArraySet, request: ModalitiesRequest, schedule: Schedule, threads: int, report: Reporter
) -> Compute:
    def compute(pieces: PartialResults) -> Modalities:
        with report.progress(f"{given.name}: noising") as progress:
            cumulants = array_cumulants(given.values, given.grid, request.config, seed=request.seed)
            return measure_arrays(
                given.name, given.values, schedule, cumulants, request.config,
                pairs=pairs_of(given.values, given.grid), seed=request.seed, threads=threads, progress=progress,
                pieces=pieces,
            )  # fmt: skip

    return compute


def _of_molecules(
    dataset: Dataset, request: ModalitiesRequest, schedule: Schedule, threads: int, report: Reporter
) -> Compute:
    def compute(pieces: PartialResults) -> Modalities:
        n_atoms = dataset.molecules.n_atoms
        size = int(np.sort(n_atoms)[len(n_atoms) // 2])  # the median: 18 of QM9
        molecules = dataset.molecules.select(np.flatnonzero(n_atoms == size))
        report.note(f"Arrays are of one size: the {counted(len(molecules), 'molecule')} of {size} atoms.")
        space = FeatureSpace(vocabulary=dataset.vocabulary)
        arrays = space.encode(molecules).reshape(len(molecules), size, space.columns)
        with report.progress("cumulants") as progress:
            moments = estimate_moments(molecules, space)
            found = price(
                molecules, space, schedule, moments, seed=request.seed, threads=threads, progress=progress,
                pieces=pieces.subset("cumulants"),
            )  # fmt: skip
        parts = []
        for block, columns in space.blocks.items():
            values = arrays[..., columns]
            with report.progress(f"{block}: noising") as progress:
                parts.append(
                    measure_arrays(
                        f"{dataset.name} {block}", values, schedule, _norms(found, block, values), request.config,
                        seed=request.seed, threads=threads, progress=progress, pieces=pieces.subset(block),
                    )
                )  # fmt: skip
        return joined(parts)

    return compute


def _norms(found: PriceResult, block: str, values: Float64[np.ndarray, "M N C"]) -> CumulantNorms:
    """Of molecules of one size, averaged over the order of atoms and over orientations, for a variance of 1.

    By symmetry positions have neither an off-diagonal covariance nor a third cumulant.
    """
    ends = np.stack([found.squares[0], found.squares_low[0], found.squares_high[0]])
    zero = np.zeros(3)
    rows = np.stack([zero, zero, ends[:, 1]], axis=1) if block == "positions" else ends[:, [0, 4, 5]]
    n_samples, n_atoms, columns = values.shape
    return CumulantNorms(
        squared=rows[0], low=rows[1], high=rows[2], spread=np.full(3, np.nan), variance=1.0, n_samples=n_samples,
        columns=(n_atoms - 1) * columns,
    )  # fmt: skip


def shipped() -> Modalities:
    """The curves that come with gaga: positions and types of QM9, and the four sets of images."""
    kept = json.loads(resources.files("gaga.shipped").joinpath(SHIPPED).read_text("utf-8"))
    return Modalities(**{one.name: _from_json(kept[one.name]) for one in fields(Modalities)})


def _from_json(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    if isinstance(value[0], str):
        return tuple(value)
    array = np.array(value, dtype=np.float64)  # null is nan
    return array.astype(np.int64) if all(isinstance(item, int) for item in value) else array


def as_json(result: Modalities) -> str:
    """What ships: every number to five significant digits."""
    kept = {one.name: getattr(result, one.name) for one in fields(Modalities)}
    lines = (f"{json.dumps(name)}: {json.dumps(_rounded(value))}" for name, value in kept.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _rounded(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return _rounded(value.tolist())
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None
    return value


def beside_shipped(result: Modalities | None) -> Modalities:
    """The curves that ship and a result, which takes the place of those of its names.

    Raises:
        InvalidInput: the result is of another schedule or level than what ships.
    """
    there = shipped()
    if result is None:
        return there
    kept = [k for k, name in enumerate(there.names) if name not in result.names]
    return joined([there.select(kept), result]) if kept else result


def draw(result: Modalities, path: Path, report: Reporter) -> None:
    """Plot the comparison."""
    plot_modalities(result, path)
    report.note(f"Drew {path}.")
