"""What molecules are compared with: the geometry and the SMILES of a training split, and the data's own rates.

The reference of QM9 ships with the package (made by benchmarks/build_reference.py); `reference_of` makes one of any
data set by the same code.
"""

import json
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt64

from gaga.chem.geometry import angle_name, bond_name
from gaga.core.errors import InvalidInput, NotFound
from gaga.core.progress import Progress, silent
from gaga.data import Dataset
from gaga.evaluation.class_shares import ClassShares, class_shares
from gaga.evaluation.classes import heavy_atoms
from gaga.evaluation.distances import NO_DISTANCES, Distances, Quantiles, distances_to, quantiles_of, size_distance
from gaga.evaluation.distributions import Distributions, distributions_of, radii_by_size
from gaga.evaluation.known import REFERENCES, are_known, hash_smiles, hashes_of, shipped_arrays
from gaga.evaluation.molecule_set import charges_of
from gaga.evaluation.protocols import check_protocol
from gaga.evaluation.rates import Rates, first_occurrences, rates_of
from gaga.evaluation.verdicts import JudgedMolecules, Verdicts, judge
from gaga.storage.files import atomic_write
from gaga.storage.partial import NO_PARTIALS, PartialResults
from gaga.storage.serialise import from_tree

TRAIN, TEST = 100_000, 10_000
"""The largest numbers of molecules of the training split, and of the split of the row, that `reference_of` judges."""

MIN_SHARE_OF_BONDS, MIN_SHARE_OF_ANGLES = 0.001, 0.005
"""Kinds that make up less of a training split are too rare for their distributions to be compared."""


@dataclass(frozen=True, kw_only=True)
class ReferenceRow:
    """The data's own molecules, evaluated by the same code.

    Attributes:
        description: which molecules these are.
        n_molecules: how many.
        n_train: molecules of the training split that novelty and distances are computed against.
        n_train_in_all: molecules of the training split; if there are more than n_train, novelty is an upper bound.
        rates: their rates.
        bond_lengths: mean distance of bond lengths to the training split's, in Å: the floor of this number.
        bond_angles: the same of bond angles, in degrees.
        sizes: the same of numbers of atoms.
        split: fingerprint of the data set and its split.
        rdkit: version of RDKit.
        classes: how much each class makes up; None in results of earlier versions.
        n_in_all: molecules of the whole data set, all splits; None in results of earlier versions.
        distributions: of these molecules, to be drawn; None in results of earlier versions.
    """

    description: str
    n_molecules: int
    n_train: int
    n_train_in_all: int
    rates: Rates
    bond_lengths: float
    bond_angles: float
    sizes: float
    split: str
    rdkit: str
    classes: ClassShares | None = None
    n_in_all: int | None = None
    distributions: Distributions | None = None


@dataclass(frozen=True, eq=False)
class Reference:
    """A data set's training split under one protocol.

    Attributes:
        lengths: bond lengths in Å.
        angles: bond angles in degrees.
        sizes: number of molecules of each number of atoms 0..N_max.
        hashes: `hash_smiles` of its valid molecules, ascending, each once.
        radii: mean radius of gyration in Å by number of atoms, of molecules valid by strict; 0 for none. None in
            results of earlier versions.
    """

    lengths: Quantiles
    angles: Quantiles
    sizes: Int64[np.ndarray, " N_max_plus_1"]
    hashes: UInt64[np.ndarray, " H"]
    radii: Float64[np.ndarray, " N_max_plus_1"] | None = None

    def contains(self, smiles: list[str]) -> Bool[np.ndarray, " n"]:
        """Which of these SMILES, made by the same protocol, the training split has."""
        return are_known(smiles, self.hashes)


@dataclass(frozen=True, eq=False, kw_only=True)
class DataReference:
    """What an evaluation compares molecules with.

    Attributes:
        name: of the data set.
        protocol: by which its molecules were judged.
        reference: its training split.
        row: its own row.
    """

    name: str
    protocol: str
    reference: Reference
    row: ReferenceRow


class Comparison(NamedTuple):
    """Verdicts with `unique` and `novel`; rates; distances of bond lengths, angles and sizes to the reference's;
    classes; distributions."""

    verdicts: Verdicts
    rates: Rates
    bond_lengths: Distances
    bond_angles: Distances
    sizes: float
    classes: ClassShares | None
    distributions: Distributions | None


def compare(
    judged: JudgedMolecules,
    reference: Reference | None,
    rng: np.random.Generator,
    *,
    largest: int | None = None,
    data: ClassShares | None = None,
) -> Comparison:
    """Rates of judged molecules, and their distances to a reference.

    Args:
        judged: the molecules.
        reference: the training split; None for none.
        rng: draws the bootstrap.
        largest, data: as `class_shares` takes them.
    """
    verdicts = marked(judged.verdicts, reference)
    rates = rates_of(verdicts, rng)
    found, radii = verdicts.classes, None if reference is None else reference.radii
    classes = None if found is None else class_shares(found, verdicts.stable, largest, data, rng, radii)
    drawn = distributions_of(judged)
    if reference is None:
        return Comparison(verdicts, rates, NO_DISTANCES, NO_DISTANCES, float("nan"), classes, drawn)
    return Comparison(
        verdicts,
        rates,
        distances_to(reference.lengths, judged.lengths, bond_name),
        distances_to(reference.angles, judged.angles, angle_name),
        size_distance(verdicts.n_atoms[verdicts.n_atoms > 0], reference.sizes),
        classes,
        drawn,
    )


def marked(verdicts: Verdicts, reference: Reference | None) -> Verdicts:
    """The verdicts with `unique`, and with `novel` if there is a reference."""
    novel = None
    if reference is not None:
        novel = np.array([smiles != "" for smiles in verdicts.smiles], dtype=bool)
        novel[novel] = ~reference.contains([smiles for smiles in verdicts.smiles if smiles])
    return replace(verdicts, unique=first_occurrences(verdicts.smiles), novel=novel)


@cache
def shipped_reference(name: str, protocol: str) -> DataReference:
    """The reference of a data set that ships with the package.

    Raises:
        NotFound: no reference of that name ships with the package.
        InvalidInput: unknown protocol.
    """
    check_protocol(protocol)
    if name not in REFERENCES:
        raise NotFound(
            "no reference of that name ships with gaga",
            received=name,
            remedy=f"use {REFERENCES[0]}, None, or what reference_of makes of a data set",
        )
    with shipped_arrays(name, protocol) as f:
        reference = Reference(
            lengths=Quantiles(f["length_codes"], f["length_shares"], f["length_values"]),
            angles=Quantiles(f["angle_codes"], f["angle_shares"], f["angle_values"]),
            sizes=f["sizes"],
            hashes=hashes_of(f),
            radii=f["radii"],
        )
    rows = json.loads(files("gaga").joinpath("shipped", f"reference_{name}.json").read_text(encoding="utf-8"))
    row = from_tree(rows[protocol], ReferenceRow)
    return DataReference(name=name, protocol=protocol, reference=reference, row=row)


def save_reference(path: str, reference: Reference) -> None:
    """Write a reference; hashes as their differences, which compress better."""
    with atomic_write(Path(path)) as partial:
        np.savez_compressed(
            partial,
            length_codes=reference.lengths.codes,
            length_shares=reference.lengths.shares,
            length_values=reference.lengths.values,
            angle_codes=reference.angles.codes,
            angle_shares=reference.angles.shares,
            angle_values=reference.angles.values,
            sizes=reference.sizes,
            hash_steps=np.diff(reference.hashes, prepend=np.uint64(0)),
            radii=np.zeros(0) if reference.radii is None else reference.radii,
        )


def reference_of(
    dataset: Dataset,
    protocol: str,
    *,
    train: int = TRAIN,
    test: int = TEST,
    workers: int | None = None,
    time_limit: float | None = None,
    progress: Progress = silent,
    pieces: PartialResults = NO_PARTIALS,
) -> DataReference:
    """The reference of a data set under a protocol, by the code that judges the molecules compared with it.

    Of a molecule with several conformers the first counts. From a larger data set molecules are drawn, the same each
    time; the row says how many.

    Args:
        dataset: its training split is what novelty and distances are computed against; its row is that of the test
            split, or of the validation or training split if the one before has no molecules.
        protocol: "edm" or "strict".
        train, test: the largest numbers of molecules of the training split, and of the row.
        workers, time_limit, progress, pieces: as `judge` takes them.

    Raises:
        InvalidInput: unknown protocol, or a data set without training molecules.
        Unavailable: a worker process ended early.
    """
    check_protocol(protocol)
    charges, _ = charges_of(dataset)
    split = row_split(dataset)
    (known, n_train), (own, n_own) = picked(dataset, "train", train), picked(dataset, split, test)
    if not n_train:
        raise InvalidInput("a data set without training molecules cannot be a reference", received=dataset.name)

    def judged(chosen: Int64[np.ndarray, " n"], before: int, stage: str) -> JudgedMolecules:
        return judge(
            dataset.molecules.take(chosen), protocol, charges=charges[chosen], workers=workers, time_limit=time_limit,
            progress=lambda done, _, note="": progress(before + done, len(known) + len(own), note),
            pieces=pieces.subset(stage),
        )  # fmt: skip

    sizes = np.bincount(dataset.n_atoms[known], minlength=int(dataset.n_atoms.max()) + 1)
    reference = _training_split(judged(known, 0, "train"), sizes)
    largest = int(heavy_atoms(dataset.molecules.take(known)).max())
    found = compare(judged(own, len(known), "row"), reference, np.random.default_rng(0), largest=largest)
    which = "" if len(own) == n_own else f"{len(own):,} of the {n_own:,} molecules of the "
    row = ReferenceRow(
        description=f"{dataset.name}, {which}{split} split", n_molecules=len(own), n_train=len(known),
        n_train_in_all=n_train, rates=found.rates, bond_lengths=found.bond_lengths.mean,
        bond_angles=found.bond_angles.mean, sizes=found.sizes, split=dataset.fingerprint, rdkit=rdkit_version(),
        classes=found.classes, n_in_all=_n_molecules(dataset), distributions=found.distributions,
    )  # fmt: skip
    return DataReference(name=dataset.name, protocol=protocol, reference=reference, row=row)


def _training_split(judged: JudgedMolecules, sizes: Int64[np.ndarray, " N_max_plus_1"]) -> Reference:
    classes = judged.verdicts.classes
    return Reference(
        lengths=quantiles_of(judged.lengths, MIN_SHARE_OF_BONDS),
        angles=quantiles_of(judged.angles, MIN_SHARE_OF_ANGLES),
        sizes=sizes,
        hashes=np.unique(hash_smiles([smiles for smiles in judged.verdicts.smiles if smiles])),
        radii=None if classes is None or classes.radius is None else radii_by_size(classes, len(sizes))[1],
    )


def _n_molecules(dataset: Dataset) -> int:
    """The molecules of all splits, conformers of one molecule counted once."""
    return sum(picked(dataset, split, len(dataset))[1] for split in dataset.splits)


def row_split(dataset: Dataset) -> str:
    """The split of a data set's own row: test, or valid or train if the one before has no molecules."""
    return next((name for name in ("test", "valid") if len(dataset.splits[name])), "train")


def picked(dataset: Dataset, split: str, at_most: int) -> tuple[Int64[np.ndarray, " n"], int]:
    """The molecules of a split that are judged, ascending, and the number of all of its molecules."""
    members = np.sort(np.asarray(dataset.splits[split], dtype=np.int64))
    groups = getattr(dataset, "groups", None)
    if groups is not None:
        members = np.sort(members[np.unique(groups[members], return_index=True)[1]])
    if len(members) <= at_most:
        return members, len(members)
    drawn = np.random.default_rng(0).choice(len(members), at_most, replace=False)
    return members[np.sort(drawn)], len(members)


def rdkit_version() -> str:
    """The version of RDKit, which verdicts depend on."""
    from rdkit import rdBase

    return str(rdBase.rdkitVersion)
