"""Whole `gaga` processes that begin at once: forks of a server that has imported what the commands import.

They are as `python -m gaga` but for the two seconds in which it imports: another process, with standard streams,
signals and an exit code of its own. Unlike in the process of the tests, types are not checked as their code runs.
"""

import atexit
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from gaga.cli.main import main

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    ["gaga.cli.main", "gaga.chem.strict", "gaga.data", "gaga.evaluation", "gaga.models.training.trainer", "gaga.stats"]
)


Point = tuple[str, str, int]  # module, function, signal


@dataclass(frozen=True)
class Ended:
    """The exit code, negative for the signal that killed it, and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


class Started:
    """A `gaga` that runs in a folder."""

    def __init__(
        self, folder: Path, *words: object, environment: Mapping[str, str] | None = None, struck: Point | None = None
    ) -> None:
        self._files = tempfile.TemporaryDirectory()
        self._streams = [Path(self._files.name, name) for name in ("stdout", "stderr")]
        arguments = (
            str(folder),
            [str(word) for word in words],
            [str(s) for s in self._streams],
            environment or {},
            struck,
        )
        self._process = _SERVER.Process(target=_gaga, args=arguments)
        self._process.start()

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._process.exitcode is None

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def ended(self) -> Ended:
        """Wait for its end."""
        self._process.join(120)
        code = self._process.exitcode
        assert code is not None, "it does not end"
        out, err = (path.read_text(errors="replace") if path.exists() else "" for path in self._streams)
        self._files.cleanup()
        return Ended(code, out, err)


def run(folder: Path, *words: object, struck: Point | None = None) -> Ended:
    """A `gaga` from its beginning to its end; `struck` by a signal before a function of it is called."""
    return Started(folder, *words, struck=struck).ended()


def ranks(folder: Path, size: int, *words: object) -> list[Started]:
    """So many processes of one `gaga`, with the variables that torchrun sets."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [
        Started(folder, *words, environment={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(size)
    ]


def interrupted(folder: Path, number: int, ready: Callable[[], bool], *words: object) -> Ended:
    """A `gaga` that is sent this signal as soon as it is `ready`."""
    process, deadline = Started(folder, *words), time.monotonic() + 60
    while process.runs and not ready() and time.monotonic() < deadline:
        time.sleep(0.002)
    if process.runs:
        process.signal(number)
    return process.ended()


def _gaga(
    folder: str, words: list[str], streams: list[str], environment: Mapping[str, str], struck: Point | None
) -> None:
    os.chdir(folder)
    os.environ.update(environment)
    for number, path in zip((1, 2), streams, strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), number)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.argv = ["gaga", *words]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if struck is not None:
        _strike(*struck)
    code = main(words)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _strike(module: str, name: str, number: int) -> None:
    """Have this process send itself a signal before each call of a function."""
    function = getattr(import_module(module), name)

    def struck(*args: Any, **kwargs: Any) -> Any:
        os.kill(os.getpid(), number)
        return function(*args, **kwargs)

    setattr(import_module(module), name, struck)
