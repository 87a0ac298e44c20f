"""Notes on molecules of one element (H2, S8): types that are centred in each molecule are 0 for all of them."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from gaga.chem.elements import symbol_of
from gaga.core.progress import Reporter
from gaga.core.text import counted
from gaga.noise import Moments

_SHOWN = 5
_ONE_ELEMENT = re.compile(r"[A-Z][a-z]?[0-9]*")


def note_of_training(moments: Moments, report: Reporter) -> None:
    """Say which molecules of one element are in the data that a model with centred types is of, if any."""
    if len(moments.of_one_element):
        found = _found(moments.of_one_element, "training molecule")
        report.note(
            f"{found} of one element only: a model with centred types cannot tell which element that is.\n"
            "Sampling takes the most frequent one of that size; a model with `centred_features=False` knows it."
        )


def note_of_formulas(formulas: Iterable[str], report: Reporter) -> None:
    """Say which molecules of one element are in a file, if any, by the formulas of all its molecules."""
    counts = Counter(formula for formula in formulas if _ONE_ELEMENT.fullmatch(formula))
    if counts:
        found = _listed(dict(counts.most_common()), "molecule")
        report.note(f"{found} of one element only: if a model with centred types drew them, their element is a guess.")


def note_of_drawn(count: int, moments: Moments, report: Reporter) -> None:
    """Say how many of the molecules drawn are of one element, and what it was taken for, if any are."""
    if not count:
        return
    verb = "is" if count == 1 else "are"
    taken = (
        "it was taken for the most frequent one of such training molecules of that size"
        if len(moments.of_one_element)
        else "no training molecule is so, and the element is a guess"
    )
    report.note(
        f"{counted(count, 'molecule')} {verb} of one element only, and centred types do not tell which: {taken}."
    )


def _found(rows: Any, noun: str) -> str:
    """Such as `3 molecules (H2 2, S8 1) are`."""
    most = sorted(rows.tolist(), key=lambda row: -row[2])
    return _listed({f"{symbol_of(z)}{size if size > 1 else ''}": count for size, z, count in most}, noun)


def _listed(counts: Mapping[str, int], noun: str) -> str:
    kinds = [f"{formula} {count}" for formula, count in islice(counts.items(), _SHOWN)]
    total = sum(counts.values())
    listed = ", ".join([*kinds, *(["..."] if len(counts) > _SHOWN else [])])
    return f"{counted(total, noun)} ({listed}) {'is' if total == 1 else 'are'}"
