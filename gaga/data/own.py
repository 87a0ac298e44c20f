"""The user's own molecules -> a data set: vocabulary, split and what was skipped are derived."""

from pathlib import Path

from gaga.base.progress import Progress
from gaga.data.dataset import Dataset

SUFFIXES = (".sdf", ".sdf.gz", ".xyz", ".xyz.gz")


def read_own(path: Path, progress: Progress) -> Dataset:
    raise NotImplementedError
