"""The moments that `gaga train` starts with: those of the training split, measured once for all processes."""

import os
from typing import TYPE_CHECKING

from gaga.cli.one_element import note_of_training
from gaga.cli.render import Output

if TYPE_CHECKING:
    from gaga.data import Dataset
    from gaga.data.features import FeatureSpace
    from gaga.noise import Moments


def moments_of(data: "Dataset", space: "FeatureSpace", threads: int | None, output: Output) -> "Moments":
    """On all cores and with a bar: a million conformers take minutes on one."""
    import numpy as np

    from gaga.noise import PUBLISHED_VARIANCE
    from gaga.stats.moments import estimate_moments

    train = data.molecules.select(np.sort(data.splits["train"]))  # in their order in the file
    published = PUBLISHED_VARIANCE.get(data.name)
    with output.progress("moments") as progress:
        moments = estimate_moments(train, space, published, threads=threads or os.cpu_count() or 1, progress=progress)
    note_of_training(moments, output)
    return moments
