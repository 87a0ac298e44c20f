"""Molecules that were drawn, judged and made ready for the spool: in this process, or in a few beside a busy GPU."""

import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import cast

import numpy as np
from jaxtyping import Float32, UInt8

from gaga.base.errors import GagaError, InvalidInput, Unavailable
from gaga.chem.annotate import annotate
from gaga.chem.writers import as_written
from gaga.data.spool import Spooled

_CHUNK = 32  # molecules
_WORTH_PROCESSES = 256  # of a batch: starting processes takes as long as judging about this many


@dataclass(frozen=True, eq=False)
class Drawn:
    """A molecule as it was drawn: its number under the seed, atoms, positions in Å, and whether these were finite."""

    index: int
    atomic_numbers: UInt8[np.ndarray, " N"]
    positions: Float32[np.ndarray, "N 3"]
    finite: bool


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Judges molecules and makes their records.

    Attributes:
        out: the output file, whose name says how records look.
        keep: `all`, `valid` by the strict protocol, or `stable` by EDM's; a .smi file holds what has a SMILES.
        label: the checkpoint, as the records name it.
    """

    out: Path
    keep: str
    label: str

    def __call__(self, seed: int, molecules: Sequence[Drawn]) -> list[Spooled]:
        """Molecules of this seed, ready to be spooled."""
        return [self._judged(seed, molecule) for molecule in molecules]

    def _judged(self, seed: int, molecule: Drawn) -> Spooled:
        properties = {"gaga_seed": str(seed), "gaga_index": str(molecule.index), "checkpoint": self.label}
        name = f"gaga-{seed}-{molecule.index}"
        found = annotate(molecule.atomic_numbers, molecule.positions, name=name, properties=properties)
        passed = molecule.finite  # what is not finite fails everything
        valid = None if found.valid is None else found.valid and passed
        stable, smiles = found.stable and passed, found.smiles if passed else ""
        kept = {"all": True, "valid": bool(valid), "stable": stable}[self.keep]
        if self.out.name.lower().endswith(".smi") and not smiles:
            kept = False
        return Spooled(
            seed=seed, index=molecule.index, atomic_numbers=molecule.atomic_numbers, positions=molecule.positions,
            finite=passed, stable=stable, n_stable_atoms=found.n_stable_atoms if passed else 0, valid=valid,
            smiles=smiles, text=as_written(self.out, found.record, found.mol) if kept else b"",
        )  # fmt: skip


class Judges:
    """The same by several processes, so that the interpreter is left to whoever feeds the GPU; a context manager.

    Each process has a pipe of its own and nothing else in common with the others or with this one: where one is killed
    nobody waits for it, and where this one is, they read the end of their pipe and go.

    Args:
        judge: what each of them does.
        processes: how many; 1 is this process alone. They start with the first batch that is worth it.
    """

    def __init__(self, judge: Judge, processes: int = 1) -> None:
        self._judge, self._processes = judge, processes
        self._workers: dict[Connection, BaseProcess] = {}

    def __call__(self, seed: int, molecules: Sequence[Drawn]) -> list[Spooled]:
        """Molecules of this seed, ready to be spooled, in their order.

        Raises:
            Unavailable: a process has ended early.
        """
        if self._processes == 1 or len(molecules) < _WORTH_PROCESSES:
            return self._judge(seed, molecules)
        if not self._workers:
            self._workers = dict(_start(self._judge) for _ in range(self._processes))
        parts = [molecules[first : first + _CHUNK] for first in range(0, len(molecules), _CHUNK)]
        try:
            return [molecule for part in self._shared_out(seed, parts) for molecule in part]
        except (EOFError, OSError) as error:
            raise Unavailable("a process that judges molecules ended early", remedy="go on with --resume") from error

    def _shared_out(self, seed: int, parts: Sequence[Sequence[Drawn]]) -> list[list[Spooled]]:
        """Each part to the first process that is idle; the answers in the order of the parts."""
        judged: list[list[Spooled]] = [[] for _ in parts]
        idle, busy, left = list(self._workers), dict[Connection, int](), iter(range(len(parts)))
        while True:
            for connection, number in zip(idle, left, strict=False):
                connection.send((seed, parts[number]))
                busy[connection] = number
            if not busy:
                return judged
            idle = cast(list[Connection], wait(list(busy)))
            for connection in idle:
                judged[busy.pop(connection)] = _answer(connection)

    def __enter__(self) -> "Judges":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection, process in self._workers.items():
            connection.close()
            process.join()


def _start(judge: Judge) -> tuple[Connection, BaseProcess]:
    """A process that judges. Spawned, not forked: a fork of a process that runs threads or CUDA may hang."""
    here, there = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=_work, args=(there, judge), daemon=True)
    process.start()
    there.close()
    return here, process


def _work(connection: Connection, judge: Judge) -> None:
    """Judge what comes through the pipe until its end; interruptions are the other side's matter."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, OSError):
        while True:
            seed, molecules = connection.recv()
            try:
                connection.send(judge(seed, molecules))
            except GagaError as error:
                connection.send(error.line)


def _answer(connection: Connection) -> list[Spooled]:
    answer = connection.recv()
    if isinstance(answer, str):
        raise InvalidInput(answer)
    judged: list[Spooled] = answer
    return judged
