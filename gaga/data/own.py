"""The user's own molecules -> a data set: vocabulary, split and what was skipped are derived."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gaga.base.errors import InvalidInput
from gaga.base.molecules import pack
from gaga.base.progress import Progress, silent
from gaga.chem.io import READ_SUFFIXES, Record, Skipped, read_molecules
from gaga.data.dataset import Annotations, Dataset, already_read, vocabulary_of
from gaga.data.splits import content_split

SUFFIXES = READ_SUFFIXES
PUBLISHED_NAMES = ("qm9", "geom")
MAX_PROPERTIES = 1000  # of different names; each is a column, so that more would grow with the square of a file


def read_own(path: Path, progress: Progress = silent) -> Dataset:
    """The molecules of a file or folder, in order; the elements that occur are the vocabulary.

    Numeric properties become the data set's; molecules that cannot be used are counted by reason.

    Raises:
        NotFound: there is no such file.
        InvalidInput: the suffix is unknown, or no molecule can be used.
        Unavailable: a file cannot be read.
    """
    records: list[Record] = []
    skipped: Counter[str] = Counter()
    for molecule in read_molecules(path, progress):
        if isinstance(molecule, Skipped):
            skipped[molecule.reason] += 1
        else:
            records.append(molecule)
    if not records:
        raise InvalidInput(f"{path} holds no usable molecule", received=_counts(skipped))
    molecules = pack((record.atomic_numbers, record.positions) for record in records)
    return Dataset(
        name=dataset_name(path),
        molecules=molecules,
        ids=np.arange(len(records)),
        splits=content_split(molecules),
        vocabulary=vocabulary_of(molecules.atomic_numbers),
        skipped=dict(skipped),
        origin=path.name,
        read_annotations=already_read(Annotations(properties=_numeric_properties(records))),
    )


def dataset_name(path: Path) -> str:
    """The name that results of a user's file are filed under: its own, without the suffix.

    A file called like a published data set gets another name: its results are not that data set's.
    """
    name = os.path.basename(os.path.realpath(path))
    suffix = next((suffix for suffix in sorted(SUFFIXES, key=len, reverse=True) if name.lower().endswith(suffix)), "")
    stem = name[: len(name) - len(suffix)]
    return f"my_{stem}" if stem.lower() in PUBLISHED_NAMES else stem


def _counts(skipped: Counter[str]) -> str:
    return ", ".join(f"{count} x {reason}" for reason, count in skipped.most_common()) or "no molecule at all"


def _numeric_properties(records: Sequence[Record]) -> dict[str, NDArray[np.float64]]:
    """Properties that are numbers wherever they occur, NaN elsewhere; of MAX_PROPERTIES names at most."""
    columns: dict[str, NDArray[np.float64]] = {}
    text: set[str] = set()
    for i, record in enumerate(records):
        for name, value in record.properties.items():
            if name in text or (name not in columns and len(columns) + len(text) >= MAX_PROPERTIES):
                continue
            try:
                columns.setdefault(name, np.full(len(records), np.nan))[i] = float(value)
            except ValueError:
                text.add(name)
                columns.pop(name, None)
    return columns
