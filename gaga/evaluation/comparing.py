"""Judged molecules held against a reference: rates and distances."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from gaga.chem.geometry import angle_name, bond_name
from gaga.evaluation.distances import NO_DISTANCES, Distances, distances_to, size_distance
from gaga.evaluation.rates import Rates, bootstrap_rate, first_occurrences
from gaga.evaluation.reference import Reference
from gaga.evaluation.verdicts import Judged, Verdicts


class Compared(NamedTuple):
    """Verdicts with `unique` and `novel`; rates; distances of bond lengths, angles and sizes to the reference's."""

    verdicts: Verdicts
    rates: Rates
    bond_lengths: Distances
    bond_angles: Distances
    sizes: float


def compare(judged: Judged, data: Reference | None, rng: np.random.Generator) -> Compared:
    """Everything that is said of molecules beside their verdicts; `rng` draws the bootstrap."""
    verdicts = marked(judged.verdicts, data)
    return Compared(verdicts, rates_of(verdicts, rng), *_distances(judged, data))


def marked(verdicts: Verdicts, data: Reference | None) -> Verdicts:
    """The verdicts with `unique` and `novel`; novelty against the hashes of this data, None without."""
    novel = None if data is None else _novel(verdicts, data)
    return replace(verdicts, unique=first_occurrences(verdicts.smiles), novel=novel)


def rates_of(verdicts: Verdicts, rng: np.random.Generator) -> Rates:
    """Every rate of verdicts that `marked` has made; equal molecules count once where novelty is asked."""
    every = np.ones(len(verdicts.n_atoms), dtype=np.int64)
    first = first_occurrences(verdicts.smiles) if verdicts.unique is None else verdicts.unique
    asked = np.zeros_like(first) if verdicts.novel is None else first
    novel = asked if verdicts.novel is None else first & verdicts.novel
    return Rates(
        atom_stable=bootstrap_rate(verdicts.n_stable_atoms, verdicts.n_atoms, "atoms", rng),
        molecule_stable=bootstrap_rate(verdicts.stable, every, "molecules", rng),
        valid=bootstrap_rate(verdicts.valid, every, "molecules", rng),
        connected=bootstrap_rate(verdicts.connected, every, "molecules", rng),
        unique=bootstrap_rate(first, verdicts.valid, "valid molecules", rng),
        valid_and_unique=bootstrap_rate(first, every, "molecules", rng),
        novel=bootstrap_rate(novel, asked, "distinct valid molecules", rng),
    )


def _novel(verdicts: Verdicts, data: Reference) -> Bool[np.ndarray, " M"]:
    flags = np.array([smiles != "" for smiles in verdicts.smiles], dtype=bool)
    flags[flags] = ~data.contains([smiles for smiles in verdicts.smiles if smiles])
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
