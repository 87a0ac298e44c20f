"""Rates with numerator, denominator and a bootstrap interval over molecules."""

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float64, Integer

from gaga.core.statistics import wilson_interval

N_RESAMPLES = 1000
LEVEL = 0.95


@dataclass(frozen=True)
class Rate:
    """A part of a whole: numerator / denominator, with its interval.

    Attributes:
        numerator: how many have the property.
        denominator: how many were asked; what they are is named in `of`. Failures stay in it.
        low: lower end of the percentile-bootstrap interval over molecules (Wilson's where all or none succeed).
        high: upper end. With nothing to ask the interval is 0 to 1, everything.
        of: what the denominator counts.
        level: level of the interval.
    """

    numerator: int
    denominator: int
    low: float
    high: float
    of: str
    level: float = LEVEL

    @property
    def value(self) -> float:
        """numerator / denominator; NaN where the denominator is 0."""
        return self.numerator / self.denominator if self.denominator else float("nan")


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Every rate of an evaluation, under the names that the literature uses.

    Attributes:
        atom_stable: stable atoms, of all atoms.
        molecule_stable: molecules whose atoms are all stable, of all molecules.
        valid: valid molecules, of all molecules.
        connected: molecules in one piece, of all molecules.
        unique: distinct SMILES, of valid molecules.
        valid_and_unique: distinct SMILES, of all molecules.
        novel: SMILES not in the training split, of distinct SMILES; of none where there is no reference.
    """

    atom_stable: Rate
    molecule_stable: Rate
    valid: Rate
    connected: Rate
    unique: Rate
    valid_and_unique: Rate
    novel: Rate

    def items(self) -> list[tuple[str, Rate]]:
        """(name, rate) in the order of the attributes."""
        return [(field.name, getattr(self, field.name)) for field in fields(self)]


def bootstrap_rate(
    successes: Integer[np.ndarray, " M"] | Bool[np.ndarray, " M"],
    trials: Integer[np.ndarray, " M"] | Bool[np.ndarray, " M"],
    of: str,
    rng: np.random.Generator,
) -> Rate:
    """The ratio sum(successes) / sum(trials), with its interval over the M molecules.

    A resample of molecules only matters through how often each distinct (successes, trials) occurs in it,
    which is multinomial: the intervals are those of resampling all M molecules, at the cost of a few numbers.
    Resamples without a single trial say nothing and are left out. Where all trials or none succeed, resampling
    sees no spread: Wilson's interval for that many molecules is given instead.
    """
    numerator, denominator = int(successes.sum()), int(trials.sum())
    if denominator == 0:
        return Rate(numerator, 0, 0.0, 1.0, of)
    n_asked = int((trials > 0).sum())
    pairs = np.stack([successes, trials], axis=1).astype(np.int64)
    if numerator in (0, denominator):
        low, high = wilson_interval(*((n_asked, n_asked) if numerator else (0, n_asked)), LEVEL)
        return Rate(numerator, denominator, low, high, of)
    kinds, counts = np.unique(pairs, axis=0, return_counts=True)
    low, high = np.quantile(_resampled_ratios(kinds, counts, rng), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Rate(numerator, denominator, float(low), float(high), of)


def _resampled_ratios(
    kinds: Integer[np.ndarray, "K 2"], counts: Integer[np.ndarray, " K"], rng: np.random.Generator
) -> Float64[np.ndarray, " R"]:
    drawn = rng.multinomial(counts.sum(), counts / counts.sum(), size=N_RESAMPLES)
    numerators, denominators = (drawn @ kinds).T
    some = denominators > 0
    return np.asarray(numerators[some] / denominators[some], dtype=np.float64)


def first_occurrences(smiles: tuple[str, ...]) -> Bool[np.ndarray, " M"]:
    """Which molecules have a SMILES that no molecule before them has; never one with an empty SMILES.

    The rate of uniqueness is the mean of this flag. Its interval resamples the flags as they are: to look for
    duplicates anew in each resample would count every molecule drawn twice as its own duplicate, and put the
    whole interval near 63 % for a sample in which all differ. The rate itself still falls as samples grow, so
    compare it between samples of one size only.
    """
    seen = {""}
    flags = np.zeros(len(smiles), dtype=bool)
    for i, text in enumerate(smiles):
        flags[i] = text not in seen
        seen.add(text)
    return flags
