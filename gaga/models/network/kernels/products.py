"""Which library computes the float32 matrix products of a network on a CPU: MKL, torch's default, or oneDNN.

MKL reaches less than half of the rate of current AMD processors. `torch.backends.mkldnn.matmul.fp32_precision = "bf16"`
(torch 2.9) makes torch call oneDNN. Despite the name, oneDNN then computes in float32, except on processors with AMX,
where it rounds the factors to bfloat16; and without AVX-512 torch calls MKL whatever is set. oneDNN is therefore used
only with AVX-512 and without AMX, and if a check at first use finds its products exact and faster. The setting applies
to the whole process: it is on while a network is evaluated or differentiated, and as it was before at all other times.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import RLock
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from gaga.core.errors import InvalidInput, Unavailable

if TYPE_CHECKING:
    import torch
    from torch import Tensor

T = TypeVar("T")
log = logging.getLogger(__name__)
Library = Literal["mkl", "onednn"]
Asked = Literal["auto", "mkl", "onednn"]
ASKED: tuple[Asked, ...] = get_args(Asked)
TITLES: dict[Library, str] = {"mkl": "MKL", "onednn": "oneDNN"}
LARGEST_ERROR = 1e-6  # |a - b| / |b| against float64; products of 512 terms in float32 are within 3e-7
# Zen 4 gains 1.8 to 2.2 times; a processor without a gain measures 0.9 to 1.1. The limit is between the two, so that
# the noise of a measurement does not change the choice from run to run; near it, more is measured.
LEAST_SPEEDUP = 1.3
_NEAR = (1.15, 1.5)
_ROWS, _WIDTH = 512, 256
_COMPARED = 32  # rows of each result that are computed in float64 too
_TRIES, _TRIES_NEAR = 4, 40
_FINE = 1e-5  # s


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What the check found.

    Attributes:
        error: largest relative error (2-norm) of oneDNN's products against float64.
        speedup: time of MKL over time of oneDNN, for the same products in one thread.
    """

    error: float
    speedup: float


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The library that computes, why, and the check if it was made."""

    library: Library
    why: str
    measured: Measured | None = None

    @property
    def title(self) -> str:
        """The library's name."""
        return TITLES[self.library]

    @property
    def sentence(self) -> str:
        """The library and the reason."""
        return f"float32 on the CPU by {self.title}: {self.why}"


class _Setting:
    """The setting of this process, on while at least one caller needs it."""

    def __init__(self) -> None:
        self.lock = RLock()
        self.asked: Asked = "auto"
        self.choice: Choice | None = None
        self.fixed: Library | None = None
        self._users, self._changed = 0, False

    def begin(self) -> None:
        """Turn it on for one more caller; a precision that the program has set itself stays."""
        with self.lock:
            self._users += 1
            if self._users == 1 and _matmul().fp32_precision == "none":
                _matmul().fp32_precision = "bf16"
                self._changed = True

    def end(self) -> None:
        """One caller less; the last one restores what was there."""
        with self.lock:
            self._users -= 1
            if self._users == 0 and self._changed:
                _matmul().fp32_precision = "none"
                self._changed = False

    def after_fork(self) -> None:
        """A forked process has only the thread that forked; another thread may have held the lock."""
        self.lock = RLock()


_setting = _Setting()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_setting.after_fork)


def ask_for(asked: str) -> None:
    """Choose the library of this process: `auto` checks, `mkl` leaves torch as it is, `onednn` need not be faster.

    Raises:
        InvalidInput: the name is unknown.
    """
    if asked not in ASKED:
        raise InvalidInput(
            "unknown library for float32 products", received=asked, remedy=f"use one of {', '.join(ASKED)}"
        )
    with _setting.lock:
        _setting.asked, _setting.choice = asked, None  # type: ignore[assignment]


def chosen() -> Choice:
    """The choice of this process; the first call makes the check, which takes about 20 ms.

    Raises:
        Unavailable: oneDNN was asked for by name, and would not compute in float32 here.
    """
    with _setting.lock:
        if _setting.choice is None:
            _setting.choice = _choose(_setting.asked)
        return _setting.choice


def current() -> Library:
    """The library that computes now: the fixed one, else the choice of this process."""
    return _setting.fixed or chosen().library


def usable() -> tuple[Library, ...]:
    """The libraries that compute in float32 here, faster or not, and that `ask_for` does not exclude."""
    choice = chosen()
    if _setting.asked != "auto":
        return (choice.library,)
    exact = choice.measured is not None and not _inexact(choice.measured)
    return ("mkl", "onednn") if exact else ("mkl",)


def library_on(device: "torch.device", before: str | None = None) -> Library | None:
    """The library for a run on this device, None if it is not a CPU.

    A resumed run continues with the library that it used `before` if that is usable here; if not, the log says so. Runs
    that name none (an empty string) are from a version that used MKL only.
    """
    if device.type != "cpu":
        return None
    library = current()
    if before is None:
        return library
    for same in usable():
        if same == (before or "mkl"):
            return same
    was, now = (TITLES.get(name, name) for name in (before or "mkl", library))  # type: ignore[call-overload]
    log.warning("%s computed this run's float32 products, now %s does (%s): not bit for bit", was, now, chosen().why)
    return library


@contextmanager
def fixed(library: Library | None) -> Iterator[None]:
    """All networks of this process use this library, one of `usable`, while the block runs; None changes nothing."""
    before, _setting.fixed = _setting.fixed, library or _setting.fixed
    try:
        yield
    finally:
        _setting.fixed = before


@contextmanager
def fast_products(device: "torch.device") -> Iterator[None]:
    """The chosen library computes while the block runs; blocks may be nested, and run in several threads.

    Gradients need it too: autograd's products run wherever the backward pass is called.
    """
    if device.type != "cpu" or current() == "mkl":
        yield
        return
    _setting.begin()
    try:
        yield
    finally:
        _setting.end()


def _choose(asked: Asked) -> Choice:
    if asked == "mkl":
        return Choice(library="mkl", why="asked for by name")
    if why := why_not():
        return _without(asked, why)
    measured = measure()
    if why := _inexact(measured):
        return _without(asked, why)
    times = f"{measured.speedup:.2f} times as fast as MKL"
    if asked == "onednn":
        return Choice(library="onednn", why=f"asked for by name; here {times}", measured=measured)
    if measured.speedup < LEAST_SPEEDUP:
        return Choice(library="mkl", why=f"oneDNN is {times} here, less than {LEAST_SPEEDUP:g}", measured=measured)
    return Choice(library="onednn", why=f"exact to {measured.error:.0e} and {times}", measured=measured)


def _without(asked: Asked, why: str) -> Choice:
    if asked == "onednn":
        raise Unavailable(f"oneDNN cannot compute float32 products here: {why}", remedy="ask for auto or mkl")
    return Choice(library="mkl", why=why)


def _inexact(measured: Measured | None) -> str:
    if measured is None or measured.error <= LARGEST_ERROR:
        return ""
    return f"its products are off by {measured.error:.1e}, more than {LARGEST_ERROR:g}"


def why_not() -> str:
    """Why oneDNN cannot compute float32 products here, empty if it may."""
    import torch

    if not torch.backends.mkldnn.is_available():
        return "this torch has no oneDNN"
    if not hasattr(getattr(torch.backends.mkldnn, "matmul", None), "fp32_precision"):
        return f"torch {torch.__version__} cannot select it; torch 2.9 can"
    if _matmul().fp32_precision != "none":
        return f"the program has set the precision of products to {_matmul().fp32_precision}"
    has_amx = getattr(torch.cpu, "_is_amx_tile_supported", None)  # private: it may go with a new torch
    if has_amx is None:
        return "this torch does not say whether the processor has AMX"
    if has_amx():
        return "the processor has AMX, and oneDNN would round to bfloat16"
    if not torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        return "torch calls oneDNN for them only with AVX-512, which this processor lacks"
    return ""


def measure() -> Measured:
    """A layer of 512 rows and its gradients by oneDNN against float64; the layer by both libraries in turn."""
    import torch

    from gaga.models.network.kernels.threaded_groups import one_thread

    generator = torch.Generator().manual_seed(0)
    a, g = (torch.randn(_ROWS, _WIDTH, generator=generator) for _ in range(2))
    w, b = torch.randn(_WIDTH, _WIDTH, generator=generator), torch.randn(_WIDTH, generator=generator)

    def layer(a: "Tensor", w: "Tensor", b: "Tensor") -> "Tensor":
        return torch.nn.functional.linear(a, w, b)

    with torch.no_grad(), one_thread():
        found = _by_onednn(lambda: (layer(a, w, b), g.T @ a, g @ w))
        rows = slice(_COMPARED)
        exact = (
            layer(a[rows].double(), w.double(), b.double()),
            g[:, rows].T.double() @ a.double(),
            g[rows].double() @ w.double(),
        )
        error = max(float((x[rows] - y).norm() / y.norm()) for x, y in zip(found, exact, strict=True))
        speedup = _speedup(lambda: layer(a, w, b), _TRIES)
        if _NEAR[0] < speedup < _NEAR[1]:
            speedup = _speedup(lambda: layer(a, w, b), _TRIES_NEAR)
    return Measured(error=error, speedup=speedup)


def _speedup(product: Callable[[], object], tries: int) -> float:
    """Least time by MKL over least time by oneDNN: what other programs took is in neither."""
    product()
    times = [(_seconds(product), _by_onednn(lambda: _seconds(product))) for _ in range(tries)]
    return min(mkl for mkl, _ in times) / min(onednn for _, onednn in times)


def _by_onednn(run: Callable[[], T]) -> T:
    _setting.begin()
    try:
        return run()
    finally:
        _setting.end()


def _seconds(run: Callable[[], object]) -> float:
    """Processor time of this thread, which other programs hardly change; wall time if that clock is coarse."""
    fine = time.get_clock_info("thread_time").resolution < _FINE
    clock = time.thread_time if fine else time.perf_counter
    began = clock()
    run()
    return clock() - began


def _matmul() -> Any:
    """The object whose `fp32_precision` is the setting; torch gives it no type."""
    import torch

    return torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
