"""Which molecules of a data set a command works on, and how that is written into a result's configuration."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaga.cli import options
from gaga.cli.data import read_dataset
from gaga.cli.render import Output

if TYPE_CHECKING:
    from gaga.data import Dataset


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Molecules of a data set, and what they were chosen by.

    Attributes:
        dataset: the chosen molecules; its vocabulary is the whole data set's.
        pool: the molecules that they were drawn from: the whole split.
        config: data set, split, fraction: part of a result's configuration.
        inputs: the whole data set's name and fingerprint: what a result is computed from.
        seed: the seed that the fraction was drawn by, None where nothing was drawn.
    """

    dataset: "Dataset"
    pool: "Dataset"
    config: dict[str, Any]
    inputs: dict[str, str]
    seed: int | None


def select(
    name: str, output: Output, *, split: str, fraction: float, seed: int, cache: Path | None = None
) -> Selection:
    """A split, or a fraction of it drawn by the seed, of the data set of that name or path.

    Raises:
        UsageError: the split or the fraction cannot be.
    """
    split, fraction = options.check_split(split), options.check_fraction(fraction)
    whole = read_dataset(name, output, cache=cache)
    pool = whole if split == "all" else whole.subset(split)
    chosen = pool if fraction == 1.0 else pool.subset(fraction, seed)
    return Selection(
        dataset=chosen,
        pool=pool,
        config={"dataset": whole.name, "split": split, "fraction": fraction},
        inputs={whole.name: whole.fingerprint},
        seed=None if fraction == 1.0 else seed,
    )
