"""One run of `gaga sample`: molecules are drawn in batches, spooled at once, and written in the order of their keys."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gaga.cli.devices import judging_processes
from gaga.cli.one_element import note_of_drawn
from gaga.cli.render import Output
from gaga.cli.results import Key, require_writable, slug
from gaga.cli.sample_checks import Job, refuse_existing, refuse_other
from gaga.core.errors import GagaError, Terminated, Unavailable
from gaga.core.text import counted, human_time

if TYPE_CHECKING:
    import torch

    from gaga.core.progress import Progress
    from gaga.models.model import Model
    from gaga.models.ranks import Ranks
    from gaga.models.sampling.config import SampleConfig
    from gaga.models.sampling.record import SampleSummary
    from gaga.models.sampling.unfinished import UnfinishedSamples
    from gaga.storage.store import Entry, Store

KIND = "sample"
_WEEK = 7 * 24 * 3600.0  # seconds that a process waits for the others' last batches
_KEPT = "what was drawn is kept, and the same command with --resume goes on"


@dataclass(frozen=True, kw_only=True)
class Source:
    """A checkpoint, why it was chosen, its hash, and the data set that it took its sizes from, if any."""

    path: Path
    why: str
    digest: str
    data: Mapping[str, str] = field(default_factory=dict)

    def inputs(self) -> dict[str, str]:
        """What the molecules are computed from, by name and hash."""
        return {"checkpoint": self.digest, **self.data}

    @property
    def label(self) -> str:
        """The name by which records call it."""
        return f"{self.path.name}:{self.digest[:12]}"


@dataclass(frozen=True, kw_only=True)
class Task:
    """All that a run is made of.

    Attributes:
        job: which molecules, and where they go.
        config: how to sample. model: what from. source: where the model is.
        key: the entry of the store.
        output: where words go. results: the store.
        ranks: this process among those that share the work.
    """

    job: Job
    config: "SampleConfig"
    model: "Model"
    source: Source
    key: Key
    output: Output
    results: "Store"
    ranks: "Ranks"

    @property
    def device(self) -> "torch.device":
        """Where the network runs."""
        from gaga.models.sampling.engine import parameters_of

        return parameters_of(self.model).device

    @property
    def products(self) -> str:
        """The library of float32 products, empty if the device is not a CPU."""
        from gaga.models.network.kernels.products import library_on

        return library_on(self.device) or ""


class Done(NamedTuple):
    """The entry in the store, the counts, and whether all that had been there already."""

    entry: "Entry"
    summary: "SampleSummary"
    found: bool


def run(
    job: Job,
    config: "SampleConfig",
    model: "Model",
    source: Source,
    results: "Store",
    output: Output,
    *,
    ranks: "Ranks | None" = None,
    overwrite: bool = False,
    resume: bool = False,
    name: str | None = None,
    replace: bool = False,
) -> Done | None:
    """Draw what is missing, write all molecules to the file and to the store; None for all ranks but the first.

    The first of several processes looks whether there is anything to do and holds the output's lock. Each draws its
    share of the batches into its own file beside the output; the first then puts them together.
    """
    import torch

    from gaga.models.ranks import Ranks
    from gaga.models.sampling.solvers import solver_of

    solver_of(model, config)  # refuses a first step beyond the model's before anything is written
    task = Task(
        job=job, config=config, model=model, source=source, output=output, results=results, ranks=ranks or Ranks(),
        key=_key(job, config, model, source, name),
    )  # fmt: skip
    with task.ranks.together(torch.device("cpu"), _WEEK):
        return _found_or_drawn(task, overwrite=overwrite, resume=resume, replace=replace)


def _found_or_drawn(task: Task, *, overwrite: bool, resume: bool, replace: bool) -> Done | None:
    found: list[Done | None] = [None]

    def look() -> bool:
        found[0] = None if overwrite else _finished(task)
        return found[0] is not None

    def look_again() -> bool:  # alone with the output now
        if look():
            return True
        _allow(task, overwrite=overwrite, resume=resume, replace=replace)
        return False

    if task.ranks.from_first(look):
        return found[0]
    with _held(task.job.out) if task.ranks.first else nullcontext(), _resumable():
        if task.ranks.from_first(look_again):  # what the first refuses, all refuse
            return found[0]
        return _draw_all(task, replace=replace or overwrite)


def _key(job: Job, config: "SampleConfig", model: "Model", source: Source, name: str | None) -> Key:
    network: Any = model.network
    identity = {
        "n": job.n, "seed": job.seed, "repeats": job.repeats, "keep": job.keep, "trajectory": job.trajectory,
        "out": job.out.name, **config.effective(), "t_start": config.t_start or model.max_t,
        "kernel": getattr(network, "kernel", "none"), "precision": getattr(network, "precision", "none"),
    }  # fmt: skip
    chosen = name or slug(job.out.name.partition(".")[0])
    return Key(kind=KIND, name=chosen, config=identity, inputs=source.inputs(), seed=job.seed)


def _allow(task: Task, *, overwrite: bool, resume: bool, replace: bool) -> None:
    """See to it that the run may begin.

    Raises:
        Conflict: something is there that would be overwritten.
    """
    from gaga.models.sampling.unfinished import unfinished_files

    job = task.job
    refuse_existing(job, overwrite=overwrite, resume=resume)
    refuse_other(task.results, task.key, replace=replace or overwrite)
    require_writable(task.results.path)
    if overwrite:
        for path in unfinished_files(job.out):
            path.unlink(missing_ok=True)


def _finished(task: Task) -> Done | None:
    """The run of this very command, where its output is still what it wrote."""
    from gaga.models.checkpoint import file_digest
    from gaga.models.sampling.record import SampleSummary
    from gaga.models.sampling.unfinished import unfinished_files

    key, out = task.key, task.job.out
    if unfinished_files(out) or not out.is_file():
        return None
    entry = task.results.same(KIND, key.name, config=key.config, inputs=key.inputs, seed=key.seed)
    if entry is None:
        return None
    with task.results.opened(KIND, key.name) as record:
        summary = SampleSummary.of(record, task.job.keys())
    return Done(entry, summary, True) if summary.output_sha256 == file_digest(out) else None


@contextmanager
def _held(out: Path) -> Iterator[None]:
    """The output is this run's alone."""
    from gaga.models.sampling.unfinished import unfinished_path
    from gaga.storage.locks import locked

    with locked(unfinished_path(out), timeout=1):
        yield


@contextmanager
def _resumable() -> Iterator[None]:
    """Whoever ends the run is told that nothing is lost."""
    try:
        yield
    except Terminated as stop:
        raise stop.saying(_KEPT) from stop
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(_KEPT) from stop


def _draw_all(task: Task, *, replace: bool) -> Done | None:
    from gaga.models.sampling.unfinished import UnfinishedSamples

    job, ranks = task.job, task.ranks
    identity = {**task.key.config, **task.key.inputs}
    with UnfinishedSamples(job.out, identity, job.keys(), ranks.rank) as spool, _kept_if_worth_it(spool, task):
        ranks.wait()
        if ranks.first:
            _require_all(job.out, ranks)
            _note_plan(task, len(spool))
        if ranks.size == 1:
            return _write_as_drawn(task, spool, replace=replace)
        for _ in _batches(task, spool):
            pass
        ranks.wait()
        return _put_together(task, spool, replace=replace) if ranks.first else None


@contextmanager
def _kept_if_worth_it(spool: "UnfinishedSamples", task: Task) -> Iterator[None]:
    """A failure says that what was drawn is kept; where nothing was, nothing is left."""
    try:
        yield
    except GagaError as error:
        if len(spool) or task.job.trajectory or task.ranks.size > 1:  # the frames of a molecule precede it
            error.remedy = f"{error.remedy}; {_KEPT}" if error.remedy else _KEPT
        else:
            spool.remove()
        raise


def _require_all(out: Path, ranks: "Ranks") -> None:
    """Refuse before the work what could not be put together after it."""
    from gaga.models.sampling.unfinished import unfinished_path

    for rank in range(ranks.size):
        if not unfinished_path(out, rank).exists():
            raise Unavailable(
                f"rank 0 does not see the file that rank {rank} writes beside {out}",
                remedy="give --out a folder that all machines share",
            )


def _write_as_drawn(task: Task, spool: "UnfinishedSamples", *, replace: bool) -> Done:
    from gaga.models.sampling.output import SampleOutput

    with SampleOutput(task.job.out, task.job.keys(), task.results.path.absolute().parent) as written:
        written.go_on(spool)
        for _ in _batches(task, spool):
            written.go_on(spool)
        done = _store(task, written.finish(task.products), replace=replace)
    spool.remove()
    return done


def _put_together(task: Task, spool: "UnfinishedSamples", *, replace: bool) -> Done:
    from gaga.models.sampling.output import SampleOutput

    spool.take_over()
    if missing := len(task.job.keys()) - len(spool):
        raise Unavailable(
            f"{counted(missing, 'molecule')} of other ranks cannot be found beside {task.job.out}",
            remedy="run the same command with --resume",
        )
    with SampleOutput(task.job.out, task.job.keys(), task.results.path.absolute().parent) as written:
        written.go_on(spool)
        done = _store(task, written.finish(task.products), replace=replace)
    spool.remove()
    return done


def _store(task: Task, record: Any, *, replace: bool) -> Done:
    """The record goes to the store while the output is whole but not there yet: where this fails, neither is."""
    from gaga.models.sampling.record import SampleSummary

    key = task.key
    entry = task.results.put(
        KIND, key.name, record, config=key.config, inputs=key.inputs, seed=key.seed, replace=replace, renew=True
    )  # fmt: skip
    return Done(entry, SampleSummary.of(vars(record), task.job.keys()), False)


def _batches(task: Task, spool: "UnfinishedSamples") -> Iterator[None]:
    """Draw the batches of this process that the spool does not have; judge and spool them."""
    from gaga.models.sampling.judge import Judge, Judges
    from gaga.models.sampling.output import write_trajectory

    job, ranks = task.job, task.ranks
    judge = Judge(out=job.out, keep=job.keep, label=task.source.label)
    label = "molecule-steps" + (f" of rank 0 of {ranks.size}" if ranks.size > 1 else "")
    guessed = 0
    with Judges(judge, judging_processes(task.device)) as judges, task.output.progress(label) as progress:
        for seed in range(job.seed, job.seed + job.repeats):
            there = spool.done(seed)
            for molecules in _drawn(task, seed, there, progress):
                new = [molecule for molecule in molecules if not there[molecule.index]]
                for molecule in new:
                    if molecule.frames and seed == job.seed and molecule.index < job.trajectory:
                        write_trajectory(job.out, molecule)
                guessed += sum(molecule.guessed for molecule in new)
                spool.add(judges(seed, new))
                yield
    note_of_drawn(guessed, task.model.known_moments(), task.output)


def _drawn(task: Task, seed: int, there: Any, progress: "Progress") -> Any:
    from gaga.models.sampling.stream import sample_batches

    framed = task.job.trajectory if seed == task.job.seed else 0
    return sample_batches(
        task.model, range(task.job.n), task.config, seed=seed, done=there.copy(), ranks=task.ranks, framed=framed,
        progress=progress,
    )  # fmt: skip


def _note_plan(task: Task, done: int) -> None:
    from gaga.models.sampling.solvers import solver_of
    from gaga.models.sampling.stream import seconds_per_molecule

    model, config, output = task.model, task.config, task.output
    if done:
        output.note(f"Going on after {done:,} molecules that were drawn before.")
    new = [n for n in config.sizes or () if model.known_moments().extrapolates(n)]
    if new:
        output.note(f"No molecules of {', '.join(map(str, new))} atoms were in the data: their start is extrapolated.")
    left = len(task.job.keys()) - done
    if left > 0:
        steps = len(solver_of(model, config))
        seconds = left * seconds_per_molecule(model, config, left) / task.ranks.size
        output.note(
            f"{counted(left, 'molecule')}, {counted(steps, 'evaluation')} each, in about {human_time(seconds)}."
        )
