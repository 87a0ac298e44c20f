"""Molecules from a model into a file: drawn in batches, kept as soon as they are drawn, written in their order.

The first of several processes decides whether there is anything to do and holds the output's lock. Each process draws
its share of the batches into a file of its own next to the output; the first one then puts them together.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import torch

from gaga.chem.writers import trajectory_path, written_suffix
from gaga.core.config import split_off
from gaga.core.errors import InvalidInput, NotFound, Unavailable
from gaga.core.molecules import PackedMolecules
from gaga.core.progress import Progress, Reporter, silent
from gaga.core.rng import MAX_SEED
from gaga.models.api import sample as sample_in_memory
from gaga.models.checkpoint import file_digest
from gaga.models.model import Model
from gaga.models.network.kernels.products import chosen, library_on
from gaga.models.ranks import ALONE, Ranks
from gaga.models.sampling.config import SampleConfig
from gaga.models.sampling.engine import parameters_of
from gaga.models.sampling.judge import Judge, Judges
from gaga.models.sampling.output import SampleOutput, write_trajectory
from gaga.models.sampling.plan import start_reference
from gaga.models.sampling.record import SampleSummary
from gaga.models.sampling.solvers import returned_variances, solver_of
from gaga.models.sampling.steering import Steering, steer
from gaga.models.sampling.stream import sample_batches
from gaga.models.sampling.unfinished import Keys, UnfinishedSamples, unfinished_files, unfinished_path
from gaga.runs.devices import judging_processes
from gaga.runs.keep import FirstOfEach, among_others, judged_as
from gaga.runs.models import ModelRequest, Source, how_it_runs, open_model
from gaga.runs.once import Key, Outcome, Policy, as_store, claimed, slug
from gaga.runs.one_element import note_of_drawn
from gaga.runs.sample_notes import note_of_closed, note_of_fragment, note_of_targets, note_plan
from gaga.runs.unfinished import Unfinished
from gaga.storage.files import refuse_to_overwrite, require_writable
from gaga.storage.store import Store

KIND = "sample"
_WEEK = 7 * 24 * 3600.0  # seconds that a process waits for the last batches of the others


@dataclass(frozen=True, kw_only=True)
class SampleRequest:
    """Which molecules, how they are drawn, and where they go.

    Attributes:
        out: the file; its name says the format.
        n: molecules for each seed.
        seed, repeats: the first seed, and how many.
        keep: which are written: all, valid (by the strict protocol), stable (by EDM's), unique (valid, no SMILES
            twice) or novel (unique and not in the training data).
        trajectory: of the first molecules, how many whose frames are written, each to an .xyz of its own.
        config, model: the sampler's options, and the model.
        name: of the result in the store; by default the file's name without its suffix.
    """

    out: Path
    n: int
    seed: int = 0
    repeats: int = 1
    keep: str = "all"
    trajectory: int = 0
    config: SampleConfig = SampleConfig()
    model: ModelRequest = ModelRequest()
    name: str | None = None

    @property
    def keys(self) -> Keys:
        """The molecules in the order of the output."""
        return Keys(self.seed, self.n, self.repeats)

    @property
    def outputs(self) -> list[Path]:
        """The files that are written."""
        return [self.out, *(trajectory_path(self.out, index) for index in range(self.trajectory))]

    def check(self) -> None:
        """Reject, before the work, what could not be written after it.

        Raises:
            InvalidInput, NotFound, Unavailable: the format, the folder, the file or the last seed cannot be.
        """
        written_suffix(self.out)
        if not self.out.absolute().parent.is_dir():
            raise NotFound("the folder does not exist", received=self.out.parent, remedy="create it first")
        require_writable(self.out)
        if (last := self.seed + self.repeats - 1) > MAX_SEED:
            raise InvalidInput(f"the last seed is beyond {MAX_SEED}", received=last)


def run(
    request: SampleRequest, store: Store | None, policy: Policy, report: Reporter, ranks: Ranks = ALONE
) -> tuple[Outcome[SampleSummary] | None, Source]:
    """Find, or draw, write and store them; also the model that they are from. None for all processes but the first.

    Raises:
        Conflict, NotFound, Unavailable: as `once`; or there is no such checkpoint or device, or a file is there.
        InvalidInput: the output, the model or the sampler's options cannot be.
    """
    request.check()
    needs = replace(request.model, shapes=request.config.needs_shapes)
    model, source = open_model(store, needs, report, ranks)
    kernel, precision = how_it_runs(model)
    exact_on_cpu = parameters_of(model).device.type == "cpu" and precision == "float32"
    library = f", products by {chosen().title}" if exact_on_cpu else ""
    report.note(f"Sampling from {source.path}: {source.why}; kernel {kernel}, {precision}{library}.")
    return draw(request, model, source, store, policy, report, ranks), source


def draw(
    request: SampleRequest,
    model: Model,
    source: Source,
    store: Store | None,
    policy: Policy,
    report: Reporter,
    ranks: Ranks = ALONE,
) -> Outcome[SampleSummary] | None:
    """As `run`, from a model that is open."""
    solver_of(model, request.config)  # rejects a first step beyond the model's
    steering = steer(model, request.config)  # rejects files and wishes that the model cannot follow
    start_reference(model, request.config)  # rejects a start that the model has no data for
    chosen = among_others(request.keep, model.dataset)  # rejects what cannot be told apart
    key = _key(request, model, source)
    unfinished = _UnfinishedOutput(request, policy, ranks)

    def stored() -> SampleSummary | None:
        if store is None or policy.overwrite or unfinished.exists() or not request.out.is_file():
            return None
        with store.opened(KIND, key.name) as record:
            summary = SampleSummary.of(record, request.keys, request.config.formula)
        return summary if summary.output_sha256 == file_digest(request.out) else None

    with (
        ranks.together(torch.device("cpu"), _WEEK),
        claimed(store, key, stored, policy, unfinished, report, ranks) as found,
    ):
        if found is not None:
            return found
        with unfinished.opened({**key.config, **key.inputs}) as drawn:
            return _drawn_and_written(
                _Task(request, steering, model, source, key, store, policy, report, ranks, chosen), drawn
            )


def _key(request: SampleRequest, model: Model, source: Source) -> Key:
    kernel, precision = how_it_runs(model)
    config = {
        "n": request.n, "seed": request.seed, "repeats": request.repeats, "keep": request.keep,
        "trajectory": request.trajectory, "out": request.out.name, **request.config.effective(),
        "t_start": request.config.t_start or model.max_t, "kernel": kernel, "precision": precision,
    }  # fmt: skip
    name = request.name or slug(request.out.name.partition(".")[0])
    shapes = {"shapes": model.known_shapes().digest} if request.config.needs_shapes else {}
    files = {} if request.config.file is None else {request.config.file.name: file_digest(request.config.file)}
    return Key(kind=KIND, name=name, config=config, inputs=source.inputs() | shapes | files, seed=request.seed)


class _UnfinishedOutput(Unfinished):
    """Molecules that were drawn, in a file of each process next to the output."""

    def __init__(self, request: SampleRequest, policy: Policy, ranks: Ranks) -> None:
        super().__init__(unfinished_path(request.out), 1.0, "`out`")
        self._request, self._policy, self._ranks = request, policy, ranks
        self._drawn: UnfinishedSamples | None = None

    @contextmanager
    def opened(self, run: dict[str, Any]) -> Iterator[UnfinishedSamples]:
        """The molecules of this run; if it ends before there is one, nothing is left."""
        with UnfinishedSamples(self._request.out, run, self._request.keys, self._ranks.rank) as self._drawn:
            try:
                yield self._drawn
            except BaseException:
                if not self.has_kept():
                    self._drawn.remove()
                raise

    def exists(self) -> bool:
        """Whether any process of a run has left a file."""
        return bool(unfinished_files(self._request.out))

    def discard(self) -> None:
        """Delete the files."""
        for path in unfinished_files(self._request.out):
            path.unlink(missing_ok=True)

    def has_kept(self) -> bool:
        """Whether something is drawn; frames precede their molecule, and other processes may have drawn."""
        return bool(self._drawn or (self._drawn is not None and (self._request.trajectory or self._ranks.size > 1)))

    def check_files(self) -> None:
        """Reject a run that would overwrite the output or a trajectory.

        Raises:
            Conflict: one of them is there.
        """
        if not self.exists():
            for path in self._request.outputs:
                refuse_to_overwrite(path, overwrite=bool(self._policy.overwrite))


@dataclass(frozen=True)
class _Task:
    """All that a run is made of."""

    request: SampleRequest
    steering: Steering
    model: Model
    source: Source
    key: Key
    store: Store | None
    policy: Policy
    report: Reporter
    ranks: Ranks
    chosen: FirstOfEach | None


def _drawn_and_written(task: _Task, drawn: UnfinishedSamples) -> Outcome[SampleSummary] | None:
    request, ranks = task.request, task.ranks
    ranks.wait()
    if ranks.first:
        _require_all(request.out, ranks)
        note_of_closed(task.steering, task.report)
        note_of_targets(task.steering, task.report)
        note_plan(task.model, task.steering.config, task.report, len(request.keys), len(drawn), ranks.size)
    if ranks.size > 1:
        for _ in _batches(task, drawn):
            pass
        ranks.wait()
        if not ranks.first:
            return None
        drawn.take_over(whole=True)
    near = request.out if task.store is None else task.store.path
    with SampleOutput(request.out, request.keys, near.absolute().parent, task.chosen, task.steering.asked) as output:
        output.write_next(drawn)
        for _ in _batches(task, drawn) if ranks.size == 1 else ():
            output.write_next(drawn)
        record = output.finish(
            library_on(parameters_of(task.model).device) or "", returned_variances(task.model, request.config)
        )
        # The output is whole, but appears under its name only if the store accepts the record.
        entry = task.key.put(task.store, record, replace=task.policy.replace or task.policy.starts_over, renew=True)
        summary = SampleSummary.of(vars(record), request.keys, request.config.formula)
    drawn.remove()
    return Outcome(result=summary, entry=entry, found=False)


def _require_all(out: Path, ranks: Ranks) -> None:
    """Reject, before the work, what could not be put together after it."""
    for rank in range(ranks.size):
        if not unfinished_path(out, rank).exists():
            raise Unavailable(
                f"rank 0 does not see the file that rank {rank} writes next to {out}",
                remedy="choose an `out` in a folder that all machines share",
            )


def _batches(task: _Task, drawn: UnfinishedSamples) -> Iterator[None]:
    """Draw the batches of this process that are missing; judge and keep them."""
    request, ranks, device = task.request, task.ranks, parameters_of(task.model).device
    judge = Judge(
        out=request.out, keep=judged_as(request.keep), label=task.source.label, like=task.steering.smiles_of_input()
    )
    far: list[float] = []
    label, guessed = "molecule-steps" + (f" of rank 0 of {ranks.size}" if ranks.size > 1 else ""), 0
    with Judges(judge, judging_processes(device)) as judges, task.report.progress(label) as progress:
        for seed in range(request.seed, request.seed + request.repeats):
            there = drawn.done(seed)
            framed = request.trajectory if seed == request.seed else 0
            for molecules in sample_batches(
                task.model, range(request.n), request.config, seed=seed, done=there.copy(), ranks=ranks,
                framed=framed, progress=progress,
            ):  # fmt: skip
                new = [molecule for molecule in molecules if not there[molecule.index]]
                for molecule in new:
                    if molecule.frames and molecule.index < framed:
                        write_trajectory(request.out, molecule)
                guessed += sum(molecule.guessed for molecule in new)
                far += [molecule.notes["fragment_rmsd"] for molecule in new if "fragment_rmsd" in molecule.notes]
                drawn.add(judges(seed, new))
                yield
    note_of_drawn(guessed, task.model.known_moments(), task.report)
    note_of_fragment(far, task.report)


@overload
def sample(model: Path | str | None, n: int, *, out: Path | str, **options: Any) -> SampleSummary: ...


@overload
def sample(model: Model | Path | str | None, n: int, *, out: None = None, **options: Any) -> PackedMolecules: ...


def sample(
    model: Model | Path | str | None,
    n: int,
    *,
    out: Path | str | None = None,
    store: Store | Path | str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    seed: int = 0,
    progress: Progress = silent,
    report: Reporter = Reporter(),
    **options: Any,
) -> PackedMolecules | SampleSummary:
    """Draw `n` molecules; molecule i depends on (seed, i) alone.

    With `out` it does what `gaga sample` does: the molecules go to that file as they are drawn, none has to stay in
    memory, and an interrupted run can be resumed; the counts are returned. Without it the molecules are returned.

    Args:
        model: a model, or where one is; None is the model that ships with gaga.
        n: how many. out: a .sdf, .sdf.gz, .xyz or .smi.
        store: the file of results, in which the molecules of `out` are kept too.
        resume: continue an output that was interrupted. overwrite: write over what is there.
        seed: of the run. progress: receives molecule-steps done and in all, without `out`.
        report: receives notes and progress, with `out`.
        options: fields of `SampleConfig`; with `out` also of `SampleRequest` and `ModelRequest`.

    Raises:
        Conflict, InvalidInput, NotFound, Unavailable: as `run`.

    Example:
        >>> import gaga
        >>> gaga.sample(None, 1000, out="mols.sdf", store="gaga.h5").written  # doctest: +SKIP
    """
    if out is None:
        return sample_in_memory(model, n, seed=seed, progress=progress, **options)
    if isinstance(model, Model):
        raise InvalidInput("a file of molecules is drawn from a checkpoint", remedy="give its path in place of a model")
    config, others = split_off(SampleConfig, options)
    of_model = {name: others.pop(name) for name in ModelRequest.__dataclass_fields__ if name in others}
    chosen = ModelRequest(checkpoint=None if model is None else Path(model), **of_model)
    request = SampleRequest(out=Path(out), n=n, seed=seed, config=config, model=chosen, **others)
    outcome, _ = run(request, as_store(store), Policy(resume=resume, overwrite=overwrite), report)
    assert outcome is not None  # noqa: S101 - cannot happen: this process is the only one
    return outcome.result
