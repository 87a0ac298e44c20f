"""Any data set as what evaluations are held against: its training split's molecules, and its own row."""

import numpy as np
from jaxtyping import Int64

from gaga.core.errors import InvalidInput
from gaga.core.progress import Progress, silent
from gaga.data import Dataset
from gaga.evaluation.comparing import compare
from gaga.evaluation.distances import quantiles_of
from gaga.evaluation.judging import check_protocol, judge
from gaga.evaluation.molecule_set import charges_of
from gaga.evaluation.reference import DataReference, Reference, ReferenceRow, hash_smiles
from gaga.storage.partial import NO_PARTIALS, PartialResults

TRAIN, TEST = 100_000, 10_000
"""At most so many molecules of the training split, and of the split that the row is of, are looked at."""

MIN_SHARE_OF_BONDS, MIN_SHARE_OF_ANGLES = 0.001, 0.005
"""Kinds that make up less of a training split are too rare for their distributions to be compared."""


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
    """The reference of a data set under a protocol, through the code that judges what is held against it.

    Of a molecule with several conformers the first is looked at. Where the data set is larger than it may be, molecules
    are drawn, the same each time; the row says how many.

    Args:
        dataset: its training split is what novelty and distances are held against; its row is that of the test split,
            or of the validation split or the training split itself where that one has no molecules.
        protocol: "edm" or "strict".
        train: molecules of the training split that are looked at, at most.
        test: molecules of the row, at most.
        workers, time_limit, progress: as `judge` takes them.
        pieces: verdicts that are there are not found again; the others are put there.

    Raises:
        InvalidInput: unknown protocol, or a data set without training molecules.
        Unavailable: a worker process ended early.
    """
    check_protocol(protocol)
    charges, _ = charges_of(dataset)
    known, n_train = picked(dataset, "train", train)
    if not n_train:
        raise InvalidInput("a data set without training molecules cannot be a reference", received=dataset.name)
    split = row_split(dataset)
    own, n_own = picked(dataset, split, test)
    total = len(known) + len(own)
    judged = judge(
        dataset.molecules.take(known),
        protocol,
        charges=charges[known],
        workers=workers,
        time_limit=time_limit,
        progress=lambda done, _, note="": progress(done, total, note),
        pieces=pieces.subset("train"),
    )
    reference = Reference(
        lengths=quantiles_of(judged.lengths, MIN_SHARE_OF_BONDS),
        angles=quantiles_of(judged.angles, MIN_SHARE_OF_ANGLES),
        sizes=np.bincount(dataset.n_atoms[known], minlength=int(dataset.n_atoms.max()) + 1),
        hashes=np.unique(hash_smiles([smiles for smiles in judged.verdicts.smiles if smiles])),
    )
    judged = judge(
        dataset.molecules.take(own),
        protocol,
        charges=charges[own],
        workers=workers,
        time_limit=time_limit,
        progress=lambda done, _, note="": progress(len(known) + done, total, note),
        pieces=pieces.subset("row"),
    )
    compared = compare(judged, reference, np.random.default_rng(0))
    row = ReferenceRow(
        description=_described(dataset.name, split, len(own), n_own),
        n_molecules=len(own),
        n_train=len(known),
        n_train_in_all=n_train,
        rates=compared.rates,
        bond_lengths=compared.bond_lengths.mean,
        bond_angles=compared.bond_angles.mean,
        sizes=compared.sizes,
        split=dataset.fingerprint,
        rdkit=_rdkit(),
    )
    return DataReference(name=dataset.name, protocol=protocol, reference=reference, row=row)


def row_split(dataset: Dataset) -> str:
    """The split that a data set's own row is of: test, or the next that has molecules."""
    return next((name for name in ("test", "valid") if len(dataset.splits[name])), "train")


def picked(dataset: Dataset, split: str, at_most: int) -> tuple[Int64[np.ndarray, " n"], int]:
    """The molecules of a split that are looked at, ascending, and the number of its molecules in all."""
    members = np.sort(np.asarray(dataset.splits[split], dtype=np.int64))
    groups = getattr(dataset, "groups", None)
    if groups is not None:
        members = np.sort(members[np.unique(groups[members], return_index=True)[1]])
    if len(members) <= at_most:
        return members, len(members)
    drawn = np.random.default_rng(0).choice(len(members), at_most, replace=False)
    return members[np.sort(drawn)], len(members)


def _described(name: str, split: str, n: int, in_all: int) -> str:
    which = "" if n == in_all else f"{n:,} of the {in_all:,} molecules of the "
    return f"{name}, {which}{split} split"


def _rdkit() -> str:
    from rdkit import rdBase

    return str(rdBase.rdkitVersion)
