"""What the heavy statistics are computed with: numpy on the CPU's threads, or torch on a device."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Bool, Float64

from gaga.stats.curves import DistanceCurves, DistancePlan, distance_curves
from gaga.stats.groups import Resampling
from gaga.stats.reference import TestPlan, run_test
from gaga.stats.states import States
from gaga.storage.partial import PartialResults

Advance = Callable[[int], None]
Flags = Bool[np.ndarray, "M S K 3"]
Sums = Float64[np.ndarray, "G S K 2"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Engine:
    """`reference.run_test` and `curves.distance_curves`, or their twins of `gaga.stats.device`."""

    run_test: Callable[[States, TestPlan, Resampling, Advance, PartialResults], tuple[Flags, Sums]]
    distance_curves: Callable[[States, DistancePlan, Advance, PartialResults], DistanceCurves]


def engine_on(device: str | None, threads: int) -> Engine:
    """Torch on this device, in float64; numpy on `threads` threads if it is None."""
    if device is None:
        return Engine(
            run_test=partial(run_test, threads=threads), distance_curves=partial(distance_curves, threads=threads)
        )
    # Torch is loaded only if it is asked for.
    import torch

    from gaga.stats import device as twins

    where = torch.device(device)
    return Engine(
        run_test=partial(twins.run_test, device=where), distance_curves=partial(twins.distance_curves, device=where)
    )
