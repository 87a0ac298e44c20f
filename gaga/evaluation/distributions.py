"""Histograms of bond lengths, angles, torsions and sizes, and radii by size: few numbers, to be stored and drawn."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from gaga.evaluation.classes import TORSION_BINS, Classes
from gaga.evaluation.verdicts import JudgedMolecules

LENGTHS, ANGLES, TORSIONS = (0.02, 4.0), (2.0, 180.0), (180.0 / TORSION_BINS, 180.0)
"""Width of a bin, and the end of the last one, in Å or degrees; the first one begins at 0."""


@dataclass(frozen=True, kw_only=True)
class Distributions:
    """Histograms of a set of molecules. Bond lengths and angles are of the bonds that the protocol sees.

    Attributes:
        lengths: bonds by length, in bins of 0.02 Å from 0 to 4; longer ones are in the last bin.
        angles: pairs of bonds at one atom by angle, in bins of 2 degrees from 0 to 180.
        torsions: torsions of heavy atoms without their sign, in bins of 10 degrees, of molecules valid by strict.
        sizes: molecules by number of atoms, from 0; those without atoms are left out.
        measured: molecules valid by strict, by number of atoms.
        radii: their mean radius of gyration in Å, by number of atoms; 0 for none.
        deviations: its standard deviation between molecules in Å; 0 for fewer than two.
    """

    lengths: tuple[int, ...]
    angles: tuple[int, ...]
    torsions: tuple[int, ...]
    sizes: tuple[int, ...]
    measured: tuple[int, ...]
    radii: tuple[float, ...]
    deviations: tuple[float, ...]


def distributions_of(judged: JudgedMolecules) -> Distributions | None:
    """The distributions of judged molecules; None if an earlier version judged some of them."""
    classes, n_atoms = judged.verdicts.classes, judged.verdicts.n_atoms
    if classes is None or classes.torsions is None or classes.radius is None:
        return None
    sizes = np.bincount(n_atoms[n_atoms > 0], minlength=1)
    measured, radii, deviations = radii_by_size(classes, len(sizes))
    return Distributions(
        lengths=tuple(judged.lengths.histogram(*LENGTHS).tolist()),
        angles=tuple(judged.angles.histogram(*ANGLES).tolist()),
        torsions=tuple(classes.torsions.sum(axis=0).tolist()),
        sizes=tuple(sizes.tolist()),
        measured=tuple(measured.tolist()),
        radii=tuple(radii.tolist()),
        deviations=tuple(deviations.tolist()),
    )


def radii_by_size(
    classes: Classes, n_sizes: int
) -> tuple[Int64[np.ndarray, " N"], Float64[np.ndarray, " N"], Float64[np.ndarray, " N"]]:
    """By number of atoms 0 to N - 1: the molecules valid by strict, and mean and standard deviation of their radii of
    gyration in Å, 0 for none.
    """
    n_atoms, radii = classes.elements.sum(axis=1)[classes.known], classes.radius
    radii = np.zeros(0) if radii is None else radii[classes.known].astype(np.float64)
    n_atoms = n_atoms[: len(radii)]
    measured = np.bincount(n_atoms, minlength=n_sizes)
    means = np.bincount(n_atoms, radii, n_sizes) / np.maximum(measured, 1)
    squares = np.bincount(n_atoms, (radii - means[n_atoms]) ** 2, n_sizes) / np.maximum(measured - 1, 1)
    return measured, means, np.sqrt(squares)
