"""What a sampling run says before its first molecule and behind its last."""

from collections.abc import Sequence

import numpy as np

from gaga.core.progress import Reporter
from gaga.core.text import counted, human_time
from gaga.models.model import Model
from gaga.models.sampling.config import SampleConfig
from gaga.models.sampling.solvers import solver_of, what_happens_to_variances
from gaga.models.sampling.steering import Steering
from gaga.models.sampling.stream import seconds_per_molecule


def note_plan(model: Model, config: SampleConfig, report: Reporter, n: int, done: int, processes: int) -> None:
    """Say what is left to do of n molecules, and about how long it takes."""
    if done:
        report.note(f"Resuming after {done:,} molecules that were drawn before.")
    if new := [size for size in config.only_sizes or () if model.known_moments().extrapolates(size)]:
        report.note(f"No molecules of {', '.join(map(str, new))} atoms were in the data: few of them will be valid.")
    if (left := n - done) > 0:
        seconds = left * seconds_per_molecule(model, config, left) / processes
        each = counted(len(solver_of(model, config)), "evaluation")
        each += " (up to twice as many with guidance)" if config.guidance else ""
        report.note(f"{counted(left, 'molecule')}, {each} each, in about {human_time(seconds)}.")
    if sharpness := what_happens_to_variances(model, config):
        report.note(sharpness)


def note_of_closed(steering: Steering, report: Reporter) -> None:
    """Say that nothing can bind to a fragment, if that is so."""
    if whole := steering.whole_by_itself():
        report.note(
            f"The fragment is a whole molecule by itself, {whole}: nothing can bind to it. Name the atoms that may "
            "bind with `attach`; their hydrogens are dropped."
        )


def note_of_targets(steering: Steering, report: Reporter) -> None:
    """Say which targets no training molecule has, or at least none of the sizes asked for."""
    for line in () if steering.asked is None else steering.asked.notes(steering.config.only_sizes):
        report.note(line)


def note_of_fragment(off: Sequence[float], report: Reporter) -> None:
    """Say how far a fragment's atoms were from their places, by molecule in Å, before they were put back."""
    if off:
        report.note(
            f"The fragment's atoms were {np.mean(off):.3f} Å off (root mean square, mean of {len(off):,}; largest "
            f"{max(off):.3f} Å) before they were put back."
        )
