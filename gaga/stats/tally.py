"""Counts of the statistics' values in cells, by groups of molecules, and how far these are from a Gaussian's."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import NDArray

from gaga.stats.invariants import CELLS, SHAPES, Scores, entries_of_radii, is_defined

_POSITIONS = len(SHAPES)  # the marginals of positions among the statistics


@dataclass(frozen=True, eq=False)
class Tally:
    """What is counted of G groups of molecules.

    Attributes:
        counts: values in each cell, of each statistic but the coupling, [Q - 1, G, CELLS].
        coupling: sums over molecules, [G, H]; molecules: how many these are, [G].
    """

    counts: NDArray[np.int64]
    coupling: Float64[np.ndarray, "G H"]
    molecules: Int64[np.ndarray, " G"]

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.counts + other.counts, self.coupling + other.coupling, self.molecules + other.molecules
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Deviations:
    """Of R samples: distribution functions less those under a Gaussian, [Q - 1, R, CELLS], and couplings, [R, H]."""

    distributions: Float64[np.ndarray, "Q_minus_1 R cells"]
    coupling: Float64[np.ndarray, "R H"]

    @property
    def largest(self) -> Float64[np.ndarray, "R Q"]:
        """The effects: the largest deviation of each."""
        parts = [*np.abs(self.distributions).max(axis=2), np.abs(self.coupling).max(axis=1)]
        return np.stack(parts, axis=1)

    def __sub__(self, other: "Deviations") -> "Deviations":
        return Deviations(self.distributions - other.distributions, self.coupling - other.coupling)


def count(found: Scores, group: Int64[np.ndarray, "D n"], n_groups: int, n_atoms: int, names: tuple[str, ...]) -> Tally:
    """Count values of molecules of one size by group and cell; none of a statistic that does not vary."""
    counts = np.zeros((len(found.cells), n_groups, CELLS), dtype=np.int64)
    for q, cells in enumerate(found.cells):
        if is_defined(names[q], n_atoms):
            flat = (cells + CELLS * group[..., None]).reshape(-1)
            counts[q] = np.bincount(flat, minlength=n_groups * CELLS).reshape(n_groups, CELLS)
    coupling = np.zeros((n_groups, found.coupling.shape[2]))
    np.add.at(coupling, group.reshape(-1), found.coupling.reshape(-1, coupling.shape[1]))
    defined = is_defined(names[-1], n_atoms)
    return Tally(counts, coupling, np.bincount(group.reshape(-1), minlength=n_groups) * defined)


def deviations(tally: Tally, weights: Float64[np.ndarray, "R G"] | None = None) -> Deviations:
    """Of each group, or of groups with these weights; 0 if there is nothing."""
    counts, coupling, molecules = tally.counts, tally.coupling, tally.molecules
    if weights is not None:
        counts, coupling, molecules = np.matmul(weights, counts), weights @ coupling, weights @ molecules
    totals = counts.sum(axis=2, keepdims=True)
    there = totals > 0
    shares = counts / np.where(there, totals, 1)
    distributions = np.cumsum(shares, axis=2)
    distributions -= np.arange(1, CELLS + 1) / CELLS
    distributions *= there
    # Of positions radii are counted, and their entries compared.
    of_entries = (shares[_POSITIONS] - 1 / CELLS) @ entries_of_radii() * there[_POSITIONS]
    distributions[_POSITIONS] = 0.0
    distributions[_POSITIONS, :, : of_entries.shape[1]] = of_entries
    return Deviations(distributions, coupling / np.where(molecules > 0, molecules, 1)[:, None])
