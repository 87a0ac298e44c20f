"""Samples [M, N, C] under noise: D_t, the test of each sample and a Gaussian field, for `gaga.stats.modalities`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from jaxtyping import Float, Float64, Int64
from numpy.typing import NDArray

from gaga.core.errors import InvalidInput
from gaga.core.progress import Meter, Progress, silent
from gaga.core.threads import map_in_threads
from gaga.noise import Schedule
from gaga.stats.cumulants import CumulantNorms
from gaga.stats.groups import Resampling, deal
from gaga.stats.ks import (
    N_CELLS,
    cells_of,
    critical_distance,
    distance_between_counts,
    distance_of_counts,
    ks_distances,
)
from gaga.stats.modalities import PAIRS, STEPS, Modalities
from gaga.stats.modality_config import ModalityConfig
from gaga.storage.partial import NO_PARTIALS, PartialResults

LEAST = 10  # samples
_WIDE_CELLS = 1024
_ENTRIES = 2_000_000  # in one chunk
_PAIRS_IN_MEMORY = 500


@dataclass(frozen=True, kw_only=True, eq=False)
class Arrays:
    """Samples to be noised, flat, [M, N C], what was subtracted from them, and which of their values are tested.

    Attributes:
        entries: N, for the mean of each sample; 0 if samples are not centred.
        chosen: of each sample, the values of the test of equal numbers, [M, n]; all if it is None.
    """

    x: Float64[np.ndarray, "M d"]
    entries: int
    chosen: Int64[np.ndarray, "M n"] | None

    @property
    def freedom(self) -> float:
        """Variance of one entry of centred noise."""
        return 1 - 1 / self.entries if self.entries else 1.0

    @cached_property
    def variance(self) -> float:
        """v, about 0 and per degree of freedom."""
        return float(np.mean(self.x**2)) / self.freedom

    @cached_property
    def means(self) -> Float64[np.ndarray, " d"]:
        """Of each entry over the samples."""
        return np.asarray(self.x.mean(axis=0))

    @cached_property
    def variances(self) -> Float64[np.ndarray, " d"]:
        """Of each entry over the samples."""
        return np.asarray(self.x.var(axis=0))

    def noised(self, rows: slice, alpha2: float, rng: np.random.Generator) -> Float64[np.ndarray, "m d"]:
        """z_t of these samples."""
        x = self.x[rows]
        noise = rng.standard_normal(x.shape)
        if self.entries:
            noise = _less_sample_means(noise, self.entries)
        noise *= np.sqrt(1 - alpha2)
        noise += np.sqrt(alpha2) * x
        return noise

    def gaussian(self, rng: np.random.Generator) -> "Arrays":
        """As many samples of the Gaussian that has this mean and covariance."""
        root = np.linalg.qr(self.x - self.means, mode="r") / np.sqrt(len(self.x))
        drawn = np.empty_like(self.x)
        for rows in _chunks(len(self.x), max(self.x.shape[1], len(root))):
            drawn[rows] = self.means + rng.standard_normal((len(drawn[rows]), len(root))) @ root
        return Arrays(x=drawn, entries=self.entries, chosen=self.chosen)


def arrays_of(values: Float[np.ndarray, "M N C"], centre: str, n_values: int, *, seed: int = 0) -> Arrays:
    """Arrays with what `centre` says subtracted, and of each sample `n_values` values drawn for the test.

    Raises:
        InvalidInput: there are fewer than ten samples, they are all 0 once something was subtracted, or a mean of each
            sample is asked for of one entry.
    """
    n_samples, n_entries, n_columns = values.shape
    if n_samples < LEAST:
        raise InvalidInput(f"a modality needs {LEAST} samples", received=n_samples)
    if centre == "sample" and n_entries < 2:
        raise InvalidInput("samples of one entry have nothing left without their mean", remedy="use `centre=data`")
    x = values.astype(np.float64).reshape(n_samples, -1)
    if centre == "sample":
        x = _less_sample_means(x, n_entries)
    elif centre == "data":
        x = (x.reshape(-1, n_columns) - x.reshape(-1, n_columns).mean(axis=0)).reshape(x.shape)
    if np.abs(x).max() <= 1e-6 * np.abs(values).max(initial=0):
        raise InvalidInput("nothing is left of the samples once their mean is subtracted", remedy="use `centre=none`")
    chosen = None
    if n_values < x.shape[1]:
        rng = np.random.default_rng([seed, 2])
        parts = [
            np.argpartition(rng.random((len(x[rows]), x.shape[1])), n_values, axis=1)[:, :n_values]
            for rows in _chunks(*x.shape)
        ]
        chosen = np.concatenate(parts)
    return Arrays(x=x, entries=n_entries if centre == "sample" else 0, chosen=chosen)


def measure_arrays(
    name: str,
    values: Float[np.ndarray, "M N C"],
    schedule: Schedule,
    cumulants: CumulantNorms,
    config: ModalityConfig = ModalityConfig(),
    *,
    pairs: Mapping[str, Int64[np.ndarray, "P 2"]] | None = None,
    timesteps: tuple[int, ...] = STEPS,
    seed: int = 0,
    threads: int = 1,
    progress: Progress = silent,
    pieces: PartialResults = NO_PARTIALS,
) -> Modalities:
    """One modality: M samples of N entries with C columns. The number of threads does not show in the result.

    Args:
        name: of it. values: the samples. schedule: the noise. config: what is subtracted and tested.
        cumulants: its norms at t = 0, over `cumulants.variance` (`gaga.stats.pixels`).
        pairs: entries (of N C) whose mutual information is measured, by a name among `PAIRS`.
        timesteps: the steps. seed: of noise, pairs and resamples.
        pieces: steps that an earlier run has finished, and where this one puts its own.

    Raises:
        InvalidInput: as `arrays_of`; or the schedule has no such step.
    """
    alpha2 = schedule.alpha2[[schedule.step(t) if t else 0 for t in timesteps]]
    data = arrays_of(values, config.centre, config.n_values, seed=seed)
    null = data.gaussian(np.random.default_rng([seed, 1]))
    rng = np.random.default_rng(seed)
    resampling = deal(len(data.x), config.n_resamples, rng)
    meter = Meter(progress, 2 * len(timesteps))
    curves = []
    for stream, some in enumerate((data, null)):
        steps = partial(_kept, some, resampling, config, alpha2, timesteps, [seed, stream], pieces)
        found = []
        for step in map_in_threads(steps, range(len(timesteps)), threads):
            found.append(step)
            meter(1)
        curves.append(np.stack(found))
    scale = cumulants.variance ** np.array([2.0, 3.0, 4.0])
    (distances, reach, passes), (null_distances, _, null_passes) = (np.moveaxis(c, 1, 0) for c in curves)
    return Modalities(
        names=(name,),
        centre=(config.centre,),
        schedule=schedule.name,
        timesteps=np.array(timesteps, dtype=np.int64),
        alpha2=alpha2,
        samples=np.array([len(data.x)]),
        values=np.array([data.x.shape[1]]),
        tested=np.array([data.x.shape[1] if data.chosen is None else data.chosen.shape[1]]),
        variance=np.array([data.variance]),
        distances=distances[None],
        reach=reach[None],
        passes=passes[None],
        information=mutual_information(data, pairs or {}, alpha2)[None],
        null_distances=null_distances[None],
        null_passes=null_passes[None],
        columns=np.array([cumulants.columns]),
        squares=(cumulants.squared / scale)[None],
        squares_low=(cumulants.low / scale)[None],
        squares_high=(cumulants.high / scale)[None],
        alpha=config.alpha,
        level=config.level,
    )


def _kept(
    some: Arrays,
    resampling: Resampling,
    config: ModalityConfig,
    alpha2: Float64[np.ndarray, " S"],
    timesteps: tuple[int, ...],
    seed: list[int],
    pieces: PartialResults,
    s: int,
) -> Float64[np.ndarray, "3 2"]:
    """`_step`, or what is kept of it."""
    t = timesteps[s]

    def compute() -> dict[str, Float64[np.ndarray, "3 2"]]:
        return {"found": _step(some, resampling, config, float(alpha2[s]), np.random.default_rng([*seed, t]))}

    return np.asarray(pieces.get_or_put(f"{seed[-1]}/{t}", compute)["found"])


def _step(
    some: Arrays, resampling: Resampling, config: ModalityConfig, alpha2: float, rng: np.random.Generator
) -> Float64[np.ndarray, "3 2"]:
    """At one step: D_t to both references, how far each may be off, and both shares that pass."""
    noise = (1 - alpha2) * some.freedom
    one = np.sqrt(alpha2 * some.variance * some.freedom + noise)
    own = np.sqrt(alpha2 * some.variances + noise)
    means = np.sqrt(alpha2) * some.means
    counts = np.zeros((2, N_CELLS), dtype=np.int64)
    grouped = np.zeros((2, resampling.n_groups, _WIDE_CELLS), dtype=np.int64)
    passed = np.zeros(2)
    for rows in _chunks(*some.x.shape):
        z = some.noised(rows, alpha2, rng)
        entries = z / one
        for r, standard in enumerate((entries, (z - means) / own)):
            cells = cells_of(standard)
            counts[r] += np.bincount(cells.ravel(), minlength=N_CELLS)
            cells //= N_CELLS // _WIDE_CELLS
            cells += resampling.group[rows, None] * _WIDE_CELLS
            grouped[r] += np.bincount(cells.ravel(), minlength=grouped[r].size).reshape(grouped[r].shape)
        drawn = entries if some.chosen is None else np.take_along_axis(entries, some.chosen[rows], axis=1)
        for i, values in enumerate((entries, drawn)):
            passed[i] += np.sum(ks_distances(values) <= critical_distance(values.shape[1], config.alpha))
    reach = []
    for of_groups in grouped:
        deviations = distance_between_counts(resampling.weights @ of_groups, of_groups.sum(axis=0)[None])
        reach.append(np.quantile(deviations, config.level))
    return np.stack([distance_of_counts(counts), np.array(reach), passed / len(some.x)])


def mutual_information(
    some: Arrays, pairs: Mapping[str, Int64[np.ndarray, "P 2"]], alpha2: Float64[np.ndarray, " S"]
) -> Float64[np.ndarray, "S 2"]:
    """Mean of -ln(1 - r^2) / 2 over pairs of entries of z_t, r their correlation over the samples; nan without pairs.

    No noise is drawn. r of M samples that do not depend on each other gives 1 / (2 M) on average.
    """
    found = np.full((len(alpha2), len(PAIRS)), np.nan)
    columns = some.x.shape[1] // some.entries if some.entries else 0
    for p, name in enumerate(PAIRS):
        if name not in pairs:
            continue
        first, second = pairs[name].T
        same_column = first % columns == second % columns if columns else np.zeros(len(first))
        shared_mean = -1.0 * same_column / max(some.entries, 1)  # what centred noise of two entries has in common
        covariance = np.concatenate([_covariances(some, pairs[name][rows]) for rows in _slices(len(first))])
        for s, a in enumerate(alpha2):
            noise = (1 - a) * some.freedom
            scale = np.sqrt((a * some.variances[first] + noise) * (a * some.variances[second] + noise))
            r = (a * covariance + (1 - a) * shared_mean) / scale
            found[s, p] = float(np.mean(-0.5 * np.log1p(-np.minimum(r**2, 1 - 1e-12))))
    return found


def _covariances(some: Arrays, pairs: Int64[np.ndarray, "P 2"]) -> Float64[np.ndarray, " P"]:
    first, second = pairs.T
    return np.asarray(np.mean(some.x[:, first] * some.x[:, second], axis=0) - some.means[first] * some.means[second])


def _slices(n: int) -> Iterator[slice]:
    return (slice(i, i + _PAIRS_IN_MEMORY) for i in range(0, n, _PAIRS_IN_MEMORY))


def _chunks(n: int, width: int) -> Iterator[slice]:
    rows = max(1, _ENTRIES // width)
    return (slice(i, min(i + rows, n)) for i in range(0, n, rows))


def _less_sample_means(x: NDArray[np.float64], entries: int) -> Float64[np.ndarray, "M d"]:
    """Each sample without its mean in each column."""
    by_entry = x.reshape(len(x), entries, -1)
    return np.asarray((by_entry - by_entry.mean(axis=1, keepdims=True)).reshape(x.shape))
