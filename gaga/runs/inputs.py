"""The molecules that a run works on: a data set, a part of it, the moments of its training split; or a file."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gaga.chem.io import molecule_files
from gaga.core.errors import InvalidInput, NotFound
from gaga.core.progress import Reporter
from gaga.core.text import counted, printable
from gaga.data.dataset import Dataset
from gaga.data.features import FeatureSpace
from gaga.data.loading import load_dataset
from gaga.data.own import DEFAULTS, UserDataOptions
from gaga.data.published import DEVIATIONS
from gaga.noise import Moments
from gaga.runs.once import slug
from gaga.runs.one_element import note_of_training
from gaga.stats.moments import estimate_moments

SPLITS = ("train", "valid", "test", "all")
HYDROGEN = 1
NO_HYDROGENS = "No molecule has a hydrogen; stability and validity need them explicit, so add them first."


def read_dataset(
    name: str | Path,
    report: Reporter,
    *,
    cache: Path | None = None,
    source: Path | None = None,
    own: UserDataOptions = DEFAULTS,
) -> Dataset:
    """The data set of that name or path; what was skipped and what was assumed is reported.

    Raises:
        InvalidInput, NotFound, Unavailable: as `load_dataset`.
    """
    with report.progress(f"reading {name}") as progress:
        dataset = load_dataset(name, source=source, cache_dir=cache, own=own, progress=progress)
    for line in (*skipped_lines(dataset), *notes(dataset)):
        report.note(line)
    if HYDROGEN not in dataset.vocabulary:
        report.note(NO_HYDROGENS)
    return dataset


def skipped_lines(dataset: Dataset) -> list[str]:
    """How many molecules were skipped and why, in a sentence; none if none was."""
    if not dataset.skipped:
        return []
    reasons = ", ".join(f"{n} {reason}" for reason, n in dataset.skipped.items())
    return [f"Skipped {counted(sum(dataset.skipped.values()), 'molecule')}: {reasons}."]


def notes(dataset: Dataset) -> tuple[str, ...]:
    """What its files lack, and which records are conformers of one molecule."""
    return dataset.preparation.notes if dataset.preparation is not None else ()


@dataclass(frozen=True, kw_only=True)
class DataRequest:
    """Which molecules of which data set.

    Attributes:
        dataset: a name, or the path of your own molecules.
        split: train, valid, test or all. fraction: share of it, drawn with the seed.
        seed: of every random number. threads: of the processor; None: all of them.
        cache: folder of prepared data sets.
    """

    dataset: str | Path = "qm9"
    split: str = "all"
    fraction: float = 1.0
    seed: int = 0
    threads: int | None = None
    cache: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Molecules of a data set, and how they were chosen.

    Attributes:
        dataset: the chosen molecules; its vocabulary is that of the whole data set.
        pool: the whole split, from which they were drawn.
        config: data set, split, fraction: part of a result's configuration.
        inputs: the whole data set's name and fingerprint: what a result is computed from.
        seed: the seed that the fraction was drawn with, None if nothing was drawn.
    """

    dataset: Dataset
    pool: Dataset
    config: dict[str, Any]
    inputs: dict[str, str]
    seed: int | None


def select(request: DataRequest, report: Reporter) -> Selection:
    """A split of a data set, or a fraction of the split drawn with the seed.

    Raises:
        InvalidInput: there is no such split, or the fraction is not above 0 and at most 1.
    """
    if request.split not in SPLITS:
        raise InvalidInput("unknown split", received=request.split, remedy=f"use one of {', '.join(SPLITS)}")
    if not 0 < request.fraction <= 1:
        raise InvalidInput("fraction must be above 0 and at most 1", received=request.fraction)
    whole = read_dataset(request.dataset, report, cache=request.cache)
    pool = whole if request.split == "all" else whole.subset(request.split)
    chosen = pool if request.fraction == 1.0 else pool.subset(request.fraction, request.seed)
    return Selection(
        dataset=chosen,
        pool=pool,
        config={"dataset": whole.name, "split": request.split, "fraction": request.fraction},
        inputs={whole.name: whole.fingerprint},
        seed=None if request.fraction == 1.0 else request.seed,
    )


def moments_of(dataset: Dataset, space: FeatureSpace, report: Reporter, *, threads: int | None = None) -> Moments:
    """Second moments and sizes of the training split, measured on all cores: a million conformers take minutes on one.

    Sampling starts from them; molecules of one element are reported.
    """
    train = dataset.molecules.select(np.sort(dataset.splits["train"]))  # in the order of the file
    published = DEVIATIONS[dataset.name]["all"] if dataset.name in DEVIATIONS else None
    with report.progress("moments") as progress:
        moments = estimate_moments(train, space, published, threads=threads or cores(), progress=progress)
    note_of_training(moments, report)
    return moments


def cores() -> int:
    """Processors of this machine."""
    return os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class MoleculeFile:
    """A file or folder of molecules.

    Attributes:
        path: where it is.
        label: its name, as tables and results have it.
        digest: SHA-256 of the file, or of the names and contents of a folder's files.
    """

    path: Path
    label: str
    digest: str

    @property
    def stem(self) -> str:
        """The name without its suffix, as part of a result's name."""
        return slug(self.label.partition(".")[0] or self.label)

    @classmethod
    def of(cls, path: Path) -> "MoleculeFile":
        """The file or folder at this path.

        Raises:
            NotFound: there is no such file.
            InvalidInput: it is no file and no folder of molecules.
        """
        if path.is_dir():
            total = hashlib.sha256()
            for file in molecule_files(path):
                name = file.relative_to(path).as_posix()
                total.update(f"{name.encode('utf-8', 'surrogateescape').hex()} {_digest(file)}\n".encode())
            digest = total.hexdigest()
        else:
            digest = _digest(path)
        return cls(path=path, label=printable(path.name or path.resolve().name or "stdin"), digest=digest)


def _digest(file: Path) -> str:
    if not file.exists():
        raise NotFound("no such file", received=file)
    if not file.is_file():
        raise InvalidInput(
            "a file of molecules is needed, not a pipe or device", received=file, remedy="pipe it in: - and `format`"
        )
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
