"""Several processes write to one store at the same time, different results and the same name; nothing is lost or mixed.

A round of different names: each process puts a result of its own, all at once. A round of one name: half of the
processes put one computation, half another. Without `replace` one of the two is there afterwards, whoever computed it
found it or put it, and the others were refused; with `replace` the last one is there. Never a mixture.
"""

import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from crash_kills import require
from crash_world import ended
from jaxtyping import Float64

from gaga.core.errors import Conflict
from gaga.storage.store import Store

_PUT, _REFUSED = 0, 3


@dataclass(frozen=True, eq=False)
class Numbers:
    """A result: numbers that only its writer and round give."""

    values: Float64[np.ndarray, " n"]
    writer: int


def numbers(writer: int, turn: int) -> Numbers:
    """What this writer puts in this round."""
    return Numbers(np.random.default_rng([writer, turn]).normal(size=700), writer)


def different_names(folder: Path, writers: int, rounds: int) -> int:
    """How many results are there and equal, which must be all."""
    path = folder / "different.h5"
    for turn in range(rounds):
        codes = _at_once(writers, lambda writer, turn=turn: _put(path, f"{writer}-{turn}", writer, turn, replace=False))
        require(set(codes) == {_PUT}, f"round {turn}: writers ended with {codes}")
    store = Store(path, shipped=False)
    require(len(store.entries()) == writers * rounds, f"{len(store.entries())} results of {writers * rounds}")
    for writer in range(writers):
        for turn in range(rounds):
            _check_is(store, f"{writer}-{turn}", numbers(writer, turn))
    require(sorted(p.name for p in folder.iterdir()) == ["different.h5"], "files were left")
    path.unlink()
    return writers * rounds


def one_name(folder: Path, writers: int, rounds: int, *, replace: bool) -> Counter[str]:
    """How many put their result or found it there, and how many were refused."""
    path, told = folder / "same.h5", Counter[str]()
    for turn in range(rounds):
        name = f"round {turn}"
        codes = _at_once(
            writers, lambda writer, name=name, turn=turn: _put(path, name, writer % 2, turn, replace=replace)
        )
        there = Store(path, shipped=False).get("numbers", name, Numbers)
        _check_is(Store(path, shipped=False), name, numbers(there.writer, turn))
        expected = [_PUT if replace or writer % 2 == there.writer else _REFUSED for writer in range(writers)]
        require(codes == expected, f"{name}: writers ended with {codes}, and what is there is of {there.writer}")
        told.update("refused" if code == _REFUSED else "put or found" for code in codes)
    require(len(Store(path, shipped=False).entries()) == rounds, "a result is lost")
    path.unlink()
    return told


def _put(path: Path, name: str, writer: int, turn: int, *, replace: bool) -> int:
    try:
        Store(path, shipped=False).put(
            "numbers", name, numbers(writer, turn), config={"writer": writer}, seed=turn, replace=replace
        )
    except Conflict:
        return _REFUSED
    return _PUT


def _check_is(store: Store, name: str, wanted: Numbers) -> None:
    found = store.get("numbers", name, Numbers)  # held against its digest
    require(
        np.array_equal(found.values, wanted.values) and found.writer == wanted.writer, f"{name} is not what was put"
    )


def _at_once(writers: int, work: Callable[[int], int]) -> list[int]:
    """The exit codes of so many processes that begin at the same moment."""
    start = time.monotonic() + 0.05
    return [ended(process) for process in [_writer(start, writer, work) for writer in range(writers)]]


def _writer(start: float, writer: int, work: Callable[[int], int]) -> int:
    process = os.fork()
    if process:
        return process
    code = 70
    try:
        time.sleep(max(0.0, start - time.monotonic()))
        code = work(writer)
    finally:
        os._exit(code)
