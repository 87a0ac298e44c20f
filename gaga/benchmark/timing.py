"""Timing that favours nobody: what is compared runs in turn, A B C A B C, and medians are taken over the rounds."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64

from gaga.core.progress import Progress, silent

_SHORTEST = 0.1  # s: shorter steps are repeated so often within a round
_MOST_REPEATS = 1000


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """How often to measure: `n` rounds, fewer where they would take longer than `budget_s`, but two at least."""

    n: int = 5
    budget_s: float | None = None

    def affordable(self, seconds_of_a_round: float) -> int:
        """Rounds that fit the budget."""
        if self.budget_s is None or self.n * seconds_of_a_round <= self.budget_s:
            return self.n
        return min(self.n, max(2, int(self.budget_s / seconds_of_a_round)))


def synchronise(device: torch.device) -> None:
    """Wait until the device has done everything that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def seconds_of(run: Callable[[], None], device: torch.device, repeats: int = 1) -> float:
    """Mean time of `repeats` calls by the wall clock, from an idle device to an idle device."""
    synchronise(device)
    began = time.perf_counter()
    for _ in range(repeats):
        run()
    synchronise(device)
    return (time.perf_counter() - began) / repeats


def repeats_for(seconds: float) -> int:
    """How often a step of this length is repeated, so that the clock's grain and the waiting do not count."""
    return max(1, min(_MOST_REPEATS, math.ceil(_SHORTEST / max(seconds, 1e-9))))


def interleave(
    runs: Sequence[Callable[[], None]],
    seconds: Sequence[float],
    device: torch.device,
    rounds: Rounds,
    progress: Progress = silent,
) -> Float64[np.ndarray, "n_runs n_rounds"]:
    """Seconds of each run in each round, the runs in turn.

    They have run before, so that nothing is set up any more; `seconds` is about how long each takes.
    """
    repeats = [repeats_for(one) for one in seconds]
    n_rounds = rounds.affordable(sum(s * r for s, r in zip(seconds, repeats, strict=True)))
    measured = np.empty((len(runs), n_rounds))
    for k in range(n_rounds):
        for i, run in enumerate(runs):
            measured[i, k] = seconds_of(run, device, repeats[i])
            progress(k * len(runs) + i + 1, n_rounds * len(runs), f"round {k + 1} of {n_rounds}")
    return measured
