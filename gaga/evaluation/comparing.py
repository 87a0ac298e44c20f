"""Judged molecules held against a reference: rates and distances."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from gaga.chem.geometry import angle_name, bond_name
from gaga.evaluation.distances import NO_DISTANCES, Distances, distances_to, size_distance
from gaga.evaluation.rates import Rates, bootstrap_rate, first_occurrences
from gaga.evaluation.reference import Reference
from gaga.evaluation.verdicts import Judged, Verdicts


class Compared(NamedTuple):
    """Rates, and distances of bond lengths, bond angles and sizes to the reference's."""

    rates: Rates
    bond_lengths: Distances
    bond_angles: Distances
    sizes: float


def compare(judged: Judged, data: Reference | None, rng: np.random.Generator) -> Compared:
    """Everything that is said of molecules beside their verdicts; `rng` draws the bootstrap."""
    return Compared(rates_of(judged.verdicts, data, rng), *_distances(judged, data))


def rates_of(verdicts: Verdicts, data: Reference | None, rng: np.random.Generator) -> Rates:
    """Every rate of these verdicts; novelty against the hashes of this data."""
    every = np.ones(len(verdicts.n_atoms), dtype=np.int64)
    first = first_occurrences(verdicts.smiles)
    asked = first if data else np.zeros_like(first)
    novel = _novel(verdicts.smiles, asked, data) if data else asked
    return Rates(
        atom_stable=bootstrap_rate(verdicts.n_stable_atoms, verdicts.n_atoms, "atoms", rng),
        molecule_stable=bootstrap_rate(verdicts.stable, every, "molecules", rng),
        valid=bootstrap_rate(verdicts.valid, every, "molecules", rng),
        connected=bootstrap_rate(verdicts.connected, every, "molecules", rng),
        unique=bootstrap_rate(first, verdicts.valid, "valid molecules", rng),
        valid_and_unique=bootstrap_rate(first, every, "molecules", rng),
        novel=bootstrap_rate(novel, asked, "distinct valid molecules", rng),
    )


def _novel(smiles: tuple[str, ...], first: Bool[np.ndarray, " M"], data: Reference) -> Bool[np.ndarray, " M"]:
    flags = np.zeros(len(smiles), dtype=bool)
    flags[first] = ~data.contains([smiles[i] for i in np.flatnonzero(first)])
    return flags


def _distances(judged: Judged, data: Reference | None) -> tuple[Distances, Distances, float]:
    if data is None:
        return NO_DISTANCES, NO_DISTANCES, float("nan")
    bonds = tuple(bond_name(int(code)) for code in data.lengths.codes)
    angles = tuple(angle_name(int(code)) for code in data.angles.codes)
    n_atoms = judged.verdicts.n_atoms
    return (
        distances_to(data.lengths, judged.lengths, bonds),
        distances_to(data.angles, judged.angles, angles),
        size_distance(n_atoms[n_atoms > 0], data.sizes),
    )
