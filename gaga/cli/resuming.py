# ruff: noqa: TID253
"""What evaluate and data still use of gaga.runs.once and gaga.runs.unfinished under its former names."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from gaga.core.progress import Reporter
from gaga.runs.once import Key, Outcome, Policy, once
from gaga.runs.unfinished import NOTHING_KEPT, NOTHING_WRITTEN
from gaga.runs.unfinished import explained as told

if TYPE_CHECKING:
    from gaga.storage.partial import PartialFile
    from gaga.storage.store import Store

__all__ = ["NOTHING_KEPT", "Resumption", "compute_resumably", "goes_on", "starts_over", "told"]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Resumption:
    """As `Policy`, with the function that receives notes."""

    resume: bool | None
    replace: bool
    engine: Callable[[], str]
    note: Callable[[str], None]


class _Notes(Reporter):
    def __init__(self, note: Callable[[str], None]) -> None:
        self.note = note  # type: ignore[method-assign, assignment]


def compute_resumably(
    store: "Store", key: Key, as_type: type[T], compute: "Callable[[PartialFile], T]", how: Resumption
) -> Outcome[T]:
    """As `once`."""
    policy = Policy(resume=how.resume, replace=how.replace, engine=how.engine)
    return once(store, key, as_type, cast(Any, compute), policy, _Notes(how.note))


@contextmanager
def starts_over() -> Iterator[None]:
    """An interruption of the block says that nothing was written."""
    with told(lambda: "", otherwise=NOTHING_WRITTEN):
        yield


@contextmanager
def goes_on(kept: Callable[[], bool]) -> Iterator[None]:
    """An interruption of the block says that what was read is kept, if it is."""
    words = "what was read is kept, and the same command with `resume=True` continues"
    with told(lambda: words if kept() else ""):
        yield
