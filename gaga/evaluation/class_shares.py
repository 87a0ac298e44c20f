"""How much of a set of molecules each class makes up, and how far its mixture of classes is from the data's."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

from gaga.chem.classes import RING_SIZES
from gaga.core.statistics import Interval
from gaga.evaluation.classes import ELEMENTS, TORSION_BINS, Classes
from gaga.evaluation.rates import LEVEL, N_RESAMPLES, Rate, bootstrap_rate

VALID, ANY, ATOMS = "molecules valid by strict", "molecules", "atoms of molecules valid by strict"
TORSIONS = "torsions of molecules valid by strict"
MOST_RINGS = 3
"""In the mixture of classes, molecules of more rings count with those of this number."""


@dataclass(frozen=True, kw_only=True)
class Shares:
    """K shares or means, each with its 95 % interval, as columns; `items` gives them one by one.

    Attributes:
        names: of the classes.
        numerators: how many molecules, rings or atoms there are.
        denominators: how many molecules or atoms were looked at; `of` says what they are.
        low, high: the ends of the intervals, as those of `Rate`.
        of: what the denominators count.
    """

    names: tuple[str, ...]
    numerators: tuple[int, ...]
    denominators: tuple[int, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    of: tuple[str, ...]

    def items(self) -> list[tuple[str, Rate]]:
        """(name, rate) of each class; the rate of rings is their mean number in a molecule."""
        columns = (self.numerators, self.denominators, self.low, self.high, self.of)
        return [(name, Rate(*row)) for name, *row in zip(self.names, *columns, strict=True)]


@dataclass(frozen=True, kw_only=True)
class Distance:
    """A total variation with its 95 % interval, and what it is of real data.

    Attributes:
        value: half the sum of the differences of all shares: 0 for equal mixtures, 1 for ones that share nothing.
        low, high: percentile-bootstrap interval over molecules, shifted by what resampling adds to the mean.
        floor: its mean if the molecules were drawn from the data's own mixture: as many as these, compared with as
            many as the data's row.
        floor_high: what 97.5 % of such draws stay below.
    """

    value: float
    low: float
    high: float
    floor: float
    floor_high: float


@dataclass(frozen=True, kw_only=True)
class RelativeRadius:
    """Radius of gyration over the training split's mean at the same number of atoms, mean over molecules.

    Attributes:
        value: 1 for molecules as wide as the data's, more for wider ones.
        low, high: its 95 % bootstrap interval over molecules.
        n_molecules: how many are valid by strict and have a number of atoms that the training split has.
    """

    value: float
    low: float
    high: float
    n_molecules: int


@dataclass(frozen=True, kw_only=True)
class ClassShares:
    """The classes of a set of molecules.

    Attributes:
        classes: `aromatic`, `triple_bond`, `sp_carbon` and `beyond_data` (more heavy atoms than `largest`), of the
            molecules that the strict protocol calls valid; `odd_electrons`, of all molecules.
        rings: smallest rings in a valid molecule: `all`, then by size `3`, `4`, `5`, `6`, `larger`.
        elements: each element's part of the atoms of valid molecules.
        largest: most heavy atoms of a molecule of the training split; None without a reference.
        mixture: number of valid molecules of each combination: aromatic x triple bond x 0, 1, 2, 3 or more rings x
            beyond the data, the last fastest, [32].
        distance: of the mixture to that of the data's own row; None without one.
        reweighted: stable molecules of all if as many of the valid ones were aromatic as of the data's: EDM's rule
            calls fewer aromatic molecules stable, so that leaving them out pays. None without a reference, or if one
            of the two kinds is missing.
        torsions: those of heavy atoms that are within 10 degrees of 0, `near_0`, or of 180, `near_180`; None in results
            of earlier versions.
        radius: how wide molecules are; None without a reference, and in results of earlier versions.
    """

    classes: Shares
    rings: Shares
    elements: Shares
    largest: int | None
    mixture: tuple[int, ...]
    distance: Distance | None = None
    reweighted: Interval | None = None
    torsions: Shares | None = None
    radius: RelativeRadius | None = None


def class_shares(
    found: Classes,
    stable: Bool[np.ndarray, " M"],
    largest: int | None,
    data: ClassShares | None,
    rng: np.random.Generator,
    radii: Float64[np.ndarray, " N"] | None = None,
) -> ClassShares:
    """The shares of the classes of molecules, and the distance of their mixture to the data's; `rng` draws intervals.

    Args:
        found: the molecules.
        stable: whether all their atoms are stable by the protocol, [M].
        largest: most heavy atoms of a molecule of the training split; None without a reference.
        data: the shares of the data's own row; None without one, or for the row itself.
        rng: draws the bootstrap.
        radii: mean radius of gyration of the training split in Å, by number of atoms from 0; 0 for none. None without a
            reference.
    """
    known, some = found.known, found.elements.sum(axis=1) > 0
    beyond = np.zeros_like(known) if largest is None else found.heavy_atoms > largest
    classes = {"aromatic": found.aromatic, "triple_bond": found.triple_bond, "sp_carbon": found.sp_carbon}
    columns: list[tuple[str, Any, Any, str]] = [(name, flags, known, VALID) for name, flags in classes.items()]
    if largest is not None:
        columns.append(("beyond_data", beyond & known, known, VALID))
    columns.append(("odd_electrons", found.odd_electrons, some, ANY))
    by_size = [(size, found.rings[:, i], known, VALID) for i, size in enumerate(RING_SIZES)]
    atoms = found.elements * known[:, None]
    by_element = [
        (symbol, atoms[:, i], atoms.sum(axis=1), ATOMS) for i, symbol in enumerate(ELEMENTS) if atoms[:, i].any()
    ]
    n_rings = found.rings.sum(axis=1)
    cells = ((found.aromatic * 2 + found.triple_bond) * (MOST_RINGS + 1) + np.minimum(n_rings, MOST_RINGS)) * 2 + beyond
    mixture = np.bincount(cells[known].astype(np.int64), minlength=2 * 2 * (MOST_RINGS + 1) * 2)
    shares = ClassShares(
        classes=_shares(columns, rng),
        rings=_shares([("all", n_rings, known, VALID), *by_size], rng),
        elements=_shares(by_element, rng),
        largest=largest,
        mixture=tuple(mixture.tolist()),
    )
    if data is not None and known.any() and any(data.mixture):
        aromatic = dict(data.classes.items())["aromatic"].value
        shares = replace(
            shares,
            distance=mixture_distance(mixture, np.array(data.mixture), rng),
            reweighted=reweighted_stability(found, stable, aromatic, rng),
        )
    return replace(shares, torsions=_torsion_shares(found, rng), radius=relative_radius(found, radii, rng))


def _torsion_shares(found: Classes, rng: np.random.Generator) -> Shares | None:
    if found.torsions is None:
        return None
    all_of_them = found.torsions.sum(axis=1)
    ends = {"near_0": 0, "near_180": TORSION_BINS - 1}
    return _shares([(name, found.torsions[:, i], all_of_them, TORSIONS) for name, i in ends.items()], rng)


def relative_radius(
    found: Classes, radii: Float64[np.ndarray, " N"] | None, rng: np.random.Generator
) -> RelativeRadius | None:
    """How wide molecules are, compared with `radii`, the data's means by number of atoms; None if none can be compared.

    What is resampled is rounded to thousandths, of which there are few, and shifted to the mean of what is not.
    """
    if radii is None or found.radius is None:
        return None
    n_atoms = found.elements.sum(axis=1)
    expected = np.zeros(int(n_atoms.max(initial=0)) + 1)
    expected[: len(radii)] = radii[: len(expected)]
    compared = found.known & (expected[n_atoms] > 0)
    if not compared.any():
        return None
    ratios = found.radius[compared] / expected[n_atoms[compared]]
    kinds, counts = np.unique(np.round(1000 * ratios), return_counts=True)
    n, value = int(counts.sum()), float(ratios.mean())
    resampled = rng.multinomial(n, counts / n, size=N_RESAMPLES) @ kinds / (1000 * n)
    shift = value - float(kinds @ counts) / (1000 * n)
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) + shift
    return RelativeRadius(value=value, low=float(low), high=float(high), n_molecules=n)


def reweighted_stability(
    found: Classes, stable: Bool[np.ndarray, " M"], aromatic: float, rng: np.random.Generator
) -> Interval | None:
    """The stable part of molecules if this part of the valid ones were aromatic, post-stratified.

    u S_u + (1 - u) (a S_a + (1 - a) S_n): S are the stable parts of molecules that are not valid, aromatic and not,
    u is the part that is not valid, a is `aromatic` (Holt and Smith 1979, doi:10.2307/2344652). None if there are no
    aromatic molecules or no others.
    """
    group = np.where(~found.known, 0, 1 + found.aromatic)
    counts = np.bincount(group * 2 + stable, minlength=6)

    def estimates(cells: Any) -> Any:
        of_group = cells.reshape(-1, 3, 2)
        n = of_group.sum(axis=2)
        some = (n[:, 1:] > 0).all(axis=1)
        of_group, n = of_group[some], n[some]
        parts = of_group[:, :, 1] / np.maximum(n, 1)
        unknown = n[:, 0] / n.sum(axis=1)
        return unknown * parts[:, 0] + (1 - unknown) * ((1 - aromatic) * parts[:, 1] + aromatic * parts[:, 2])

    value = estimates(counts)
    if not len(value):
        return None
    resampled = estimates(rng.multinomial(len(group), counts / len(group), size=N_RESAMPLES))
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(value[0]), float(low), float(high), LEVEL)


def _shares(columns: list[tuple[str, Any, Any, str]], rng: np.random.Generator) -> Shares:
    rates = [bootstrap_rate(successes, trials, of, rng) for _, successes, trials, of in columns]
    return Shares(
        names=tuple(name for name, *_ in columns),
        numerators=tuple(rate.numerator for rate in rates),
        denominators=tuple(rate.denominator for rate in rates),
        low=tuple(rate.low for rate in rates),
        high=tuple(rate.high for rate in rates),
        of=tuple(rate.of for rate in rates),
    )


def mixture_distance(
    sample: Int64[np.ndarray, " C"], data: Int64[np.ndarray, " C"], rng: np.random.Generator
) -> Distance:
    """The total variation of two mixtures, given as numbers of molecules of each of C combinations of classes.

    The noise of a sample only adds to it, and a resample has the noise of two: without the shift, the interval would
    lie above the value.
    """
    n, m = int(sample.sum()), int(data.sum())
    shares, true = sample / n, data / m
    resampled = _variation(rng.multinomial(n, shares, size=N_RESAMPLES) / n, true)
    pairs = (rng.multinomial(count, true, size=N_RESAMPLES) / count for count in (n, m))
    floor = _variation(*pairs)
    value, ends = float(_variation(shares, true)), [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    low, high = np.clip(np.quantile(resampled, ends) + value - resampled.mean(), 0, 1)
    return Distance(
        value=value, low=float(low), high=float(high),
        floor=float(floor.mean()), floor_high=float(np.quantile(floor, ends[1])),
    )  # fmt: skip


def _variation(first: Float64[np.ndarray, "... C"], second: Float64[np.ndarray, "... C"]) -> Any:
    return 0.5 * np.abs(first - second).sum(axis=-1)
