"""A split that the user brings: which molecules are trained on, by number or by SMILES."""

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from gaga.core.errors import InvalidInput, NotFound, Unavailable
from gaga.data.dataset import SPLIT_NAMES

_NAMES = {**{name: name for name in SPLIT_NAMES}, "val": "valid", "validation": "valid"}
_MOST = 1 << 28  # bytes of a split file
_FORM = 'it is JSON, {"train": [...], "valid": [...], "test": [...]}, or CSV, a line "molecule,split" for each molecule'


@dataclass(frozen=True)
class SplitFile:
    """What a split file says.

    Attributes:
        path: the file, for complaints.
        named: the molecules of each split, numbers (0 is the first) or SMILES.
    """

    path: Path
    named: dict[str, list[int | str]]

    def members(self, smiles: list[str] | None, n_molecules: int) -> dict[str, Int64[np.ndarray, " _"]]:
        """The numbers of the molecules of each split.

        Args:
            smiles: of each molecule, if they are known.
            n_molecules: how many there are.

        Raises:
            InvalidInput: a number is none of theirs, a molecule is in two splits, or no SMILES is known.
        """
        by_smiles: dict[str, list[int]] = {}
        for number, text in enumerate(smiles or ()):
            by_smiles.setdefault(text, []).append(number)
        found = {name: self._numbers(named, by_smiles, n_molecules) for name, named in self.named.items()}
        everything = np.concatenate([found[name] for name in SPLIT_NAMES])
        if not len(everything):
            raise InvalidInput(f"{self.path} names no molecule of this data set", remedy=_FORM)
        if len(np.unique(everything)) < len(everything):
            raise InvalidInput(f"{self.path} names a molecule twice")
        return found

    def _numbers(self, named: list[int | str], by_smiles: dict[str, list[int]], n: int) -> Int64[np.ndarray, " _"]:
        outside = next((item for item in named if isinstance(item, int) and not 0 <= item < n), None)
        if outside is not None:
            raise InvalidInput(f"{self.path} names a molecule that is not there", received=f"{outside} of {n:,}")
        numbers = [([item] if isinstance(item, int) else by_smiles.get(item, [])) for item in named]
        return np.array([number for some in numbers for number in some], dtype=np.int64)


def read_split(path: Path) -> SplitFile:
    """A split file: JSON, lists by split; or CSV, the molecule and its split in each line, with or without a heading.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it is none.
        Unavailable: it cannot be read.
    """
    if not path.is_file():
        raise NotFound("no such file", received=path)
    try:
        if path.stat().st_size > _MOST:
            raise ValueError(f"it has over {_MOST:,} bytes")
        text = path.read_text("utf-8-sig")
        named = _from_json(text) if path.suffix.lower() == ".json" else _from_lines(text.splitlines())
    except OSError as error:
        raise Unavailable(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, TypeError, AttributeError, RecursionError, csv.Error) as error:
        why = (str(error).strip() or "damaged").splitlines()[0]
        raise InvalidInput(f"{path} is no split file: {why}", remedy=_FORM) from error
    return SplitFile(path, named)


def _from_json(text: str) -> dict[str, list[int | str]]:
    named: dict[str, list[int | str]] = {name: [] for name in SPLIT_NAMES}
    for name, members in json.loads(text).items():
        named[_split(name)].extend(_molecule(member) for member in members)
    return named


def _from_lines(lines: Iterable[str]) -> dict[str, list[int | str]]:
    named: dict[str, list[int | str]] = {name: [] for name in SPLIT_NAMES}
    for number, row in enumerate(csv.reader(lines)):
        if len(row) != 2:
            raise ValueError(f"line {number + 1} has not two columns")
        if number == 0 and row[1].strip().lower() == "split":
            continue
        text = row[0].strip()
        named[_split(row[1])].append(int(text) if text.isascii() and text.isdecimal() else text)
    return named


def _split(name: Any) -> str:
    split = _NAMES.get(str(name).strip().lower())
    if split is None:
        raise ValueError(f"there is no split {str(name)[:40]!r}")
    return split


def _molecule(member: Any) -> int | str:
    if isinstance(member, bool) or not isinstance(member, int | str):
        raise ValueError("a molecule is a number or a SMILES")
    return member
