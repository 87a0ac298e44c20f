"""Commands in this process, each within a time limit, and what every answer must be."""

import gzip
import io
import json
import os
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from gaga.cli.main import main

LIMIT_S = 20.0


@dataclass(frozen=True)
class Answer:
    """What a command left behind."""

    words: tuple[str, ...]
    code: int
    out: str
    err: str


class TookTooLong(BaseException):
    """Not an Exception, so that the code under test cannot take it for its own."""


@contextmanager
def limited(seconds: float = LIMIT_S) -> Iterator[None]:
    """Stop what hangs."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TookTooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except TookTooLong:
        raise AssertionError(f"took longer than {seconds:g} s") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def gaga(folder: Path, *words: object) -> Answer:
    """Run a command in a folder; its answer is checked."""
    out, err, typed = io.StringIO(), io.StringIO(), tuple(map(str, words))
    here = Path.cwd()
    os.chdir(folder)
    try:
        with limited(), redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings():
            warnings.simplefilter("error")
            code = main(typed)
    except SystemExit as error:
        raise AssertionError(f"{typed}: SystemExit {error.code}") from error
    finally:
        os.chdir(here)
    answer = Answer(typed, code, out.getvalue(), err.getvalue())
    check(answer)
    return answer


def check(answer: Answer) -> None:
    """A right answer, or one clear line and another exit code; never a traceback, a NaN or control characters."""
    told = f"{answer.words} -> {answer.code}\n{answer.out[-500:]}\n{answer.err[-2000:]}"
    assert answer.code in (0, 1, 2), told
    assert "Traceback" not in answer.err, told
    assert "bug in gaga" not in answer.err, told
    assert not set("\x1b\r\u202e") & set(answer.out + answer.err), told
    if answer.code == 0:
        if "--json" in answer.words:
            finite_json(answer.out)
        return
    lines = [line for line in answer.err.splitlines() if line.startswith("gaga: ")]
    assert len(lines) == 1, told
    assert 10 < len(lines[0]) < 1000 or "Type-check error" in answer.err, told  # pytest's own checks of types
    if "--json" in answer.words:
        assert not answer.out, told


def finite_json(text: str) -> Any:
    """The one JSON value of a text, which holds no NaN."""

    def refuse(constant: str) -> Any:
        raise AssertionError(f"{constant} in JSON")

    return json.loads(text, parse_constant=refuse)


def write(path: Path, content: bytes) -> Path:
    """The file, gzipped where its name says so."""
    path.write_bytes(gzip.compress(content, 1) if path.name.endswith(".gz") else content)
    return path
