# ruff: noqa: E402
"""What `gaga sample` refuses before the work: outputs and results that it would overwrite or could not write."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gaga.cli.results import Key

SHOWN_DIFFERENCES = 4
from gaga.core.errors import Conflict, InvalidInput

if TYPE_CHECKING:
    from gaga.models.sampling.unfinished import Keys
    from gaga.storage.store import Store


@dataclass(frozen=True, kw_only=True)
class Job:
    """Molecules to draw: `n` for each seed, from `seed` on, into `out`."""

    out: Path
    n: int
    seed: int
    repeats: int
    keep: str
    trajectory: int

    def keys(self) -> "Keys":
        """Which molecules, in the order of the output."""
        from gaga.models.sampling.unfinished import Keys

        return Keys(self.seed, self.n, self.repeats)


def check_output(job: Job) -> None:
    """Refuse before the work what could not be written after it."""
    from gaga.chem.writers import written_suffix
    from gaga.core.errors import NotFound
    from gaga.core.rng import MAX_SEED
    from gaga.storage.files import require_writable

    written_suffix(job.out)
    if not job.out.absolute().parent.is_dir():
        raise NotFound("the folder does not exist", received=job.out.parent, remedy="create it first")
    require_writable(job.out)
    if job.seed + job.repeats - 1 > MAX_SEED:
        raise InvalidInput(f"the last seed is beyond {MAX_SEED}", received=job.seed + job.repeats - 1)


def refuse_existing(job: Job, *, overwrite: bool, resume: bool) -> None:
    """Keep what is there: the output, its trajectories, and an unfinished run unless it is resumed.

    Raises:
        Conflict: one of them is there.
    """
    from gaga.models.sampling.output import trajectory_path
    from gaga.models.sampling.unfinished import unfinished_files
    from gaga.storage.files import refuse_to_overwrite

    unfinished = bool(unfinished_files(job.out))
    if unfinished and not (resume or overwrite):
        raise Conflict(
            f"an earlier run into {job.out} was interrupted",
            remedy="go on with --resume, or start over with --overwrite",
        )
    if not unfinished:
        for path in (job.out, *(trajectory_path(job.out, i) for i in range(job.trajectory))):
            refuse_to_overwrite(path, overwrite=overwrite)


def refuse_other(results: "Store", key: Key, *, replace: bool) -> None:
    """Keep another result of that name.

    Raises:
        Conflict: there is one, and `replace` is false.
    """
    there = results.find(key.kind, key.name)
    same = results.same(key.kind, key.name, config=key.config, inputs=key.inputs, seed=key.seed)
    if there is None or replace or same is not None:
        return
    changed = there.differences(key.config, key.inputs, key.seed)
    raise Conflict(
        f"another sample is stored as {there.name}, with {'; '.join(changed[:SHOWN_DIFFERENCES])}",
        remedy="give this one another --name, or add --replace",
    )
