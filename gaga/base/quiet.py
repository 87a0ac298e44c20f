"""Standard output is for results: what a library's C code prints there goes nowhere."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_STDOUT = 1
_ONE_AT_A_TIME = Lock()  # else one thread would keep as the real output what another has put there


@contextmanager
def no_output() -> Iterator[None]:
    """Whatever this process writes to its standard output meanwhile is dropped."""
    with _ONE_AT_A_TIME:
        try:
            kept = os.dup(_STDOUT)
        except OSError:  # it is closed: nothing to keep clean
            yield
            return
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)  # not atomic: no file
            try:
                os.dup2(nowhere, _STDOUT)
            finally:
                os.close(nowhere)
            yield
        finally:
            os.dup2(kept, _STDOUT)
            os.close(kept)
