"""How a library call tells whoever asked how far it is: a callback, never a bar."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """Called with the units done so far, their total, and a short note such as a loss."""

    def __call__(self, done: int, total: int, note: str = "") -> None: ...


def silent(done: int, total: int, note: str = "") -> None:
    """The default: report nothing."""
