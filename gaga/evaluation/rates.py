"""Rates with numerator, denominator and a bootstrap interval over molecules."""

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float64, Integer

from gaga.core.statistics import wilson_interval
from gaga.evaluation.verdicts import Verdicts

N_RESAMPLES = 1000
LEVEL = 0.95


@dataclass(frozen=True)
class Rate:
    """A part of a whole: numerator / denominator, with its interval.

    Attributes:
        numerator: how many have the property.
        denominator: how many were looked at; `of` says what they are. Failures stay in it.
        low: lower end of the percentile-bootstrap interval over molecules (Wilson's if all or none succeed).
        high: upper end. If the denominator is 0, the interval is 0 to 1.
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
        """numerator / denominator; NaN if the denominator is 0."""
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
        novel: SMILES not in the training split, of distinct SMILES; of none without a reference.
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


def rates_of(verdicts: Verdicts, rng: np.random.Generator) -> Rates:
    """Every rate of verdicts; equal molecules count once in novelty. `rng` draws the bootstrap."""
    every = np.ones(len(verdicts.n_atoms), dtype=np.int64)
    first = first_occurrences(verdicts.smiles) if verdicts.unique is None else verdicts.unique
    distinct = np.zeros_like(first) if verdicts.novel is None else first
    novel = distinct if verdicts.novel is None else first & verdicts.novel
    return Rates(
        atom_stable=bootstrap_rate(verdicts.n_stable_atoms, verdicts.n_atoms, "atoms", rng),
        molecule_stable=bootstrap_rate(verdicts.stable, every, "molecules", rng),
        valid=bootstrap_rate(verdicts.valid, every, "molecules", rng),
        connected=bootstrap_rate(verdicts.connected, every, "molecules", rng),
        unique=bootstrap_rate(first, verdicts.valid, "valid molecules", rng),
        valid_and_unique=bootstrap_rate(first, every, "molecules", rng),
        novel=bootstrap_rate(novel, distinct, "distinct valid molecules", rng),
    )


def bootstrap_rate(
    successes: Integer[np.ndarray, " M"] | Bool[np.ndarray, " M"],
    trials: Integer[np.ndarray, " M"] | Bool[np.ndarray, " M"],
    of: str,
    rng: np.random.Generator,
) -> Rate:
    """The ratio sum(successes) / sum(trials), with its interval over the M molecules.

    A resample only depends on how often each distinct (successes, trials) occurs in it, which is multinomial: the
    intervals are those of resampling all M molecules, from a few numbers. Resamples without a trial are left out. If
    all trials or none succeed, resampling sees no spread, and the interval is Wilson's for that many molecules.
    """
    numerator, denominator = int(successes.sum()), int(trials.sum())
    if denominator == 0:
        return Rate(numerator, 0, 0.0, 1.0, of)
    n_asked = int((trials > 0).sum())
    pairs = np.stack([successes, trials], axis=1).astype(np.int64)
    if not numerator or (successes == trials).all():
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

    The rate of uniqueness is the mean of this flag. Its interval resamples the flags as they are: if each resample
    looked for duplicates anew, a molecule drawn twice would be its own duplicate, and the interval would lie near 63 %
    for a sample in which all differ. The rate falls as samples grow: compare it between samples of one size only.
    """
    seen = {""}
    flags = np.zeros(len(smiles), dtype=bool)
    for i, text in enumerate(smiles):
        flags[i] = text not in seen
        seen.add(text)
    return flags
