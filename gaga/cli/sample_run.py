"""One run of `gaga sample`: molecules are drawn in batches, spooled at once, and written in the order of their keys."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gaga.base.errors import Conflict, InvalidInput
from gaga.cli.render import Output, counted, human_time
from gaga.cli.results import Key, require_writable, slug

if TYPE_CHECKING:
    from gaga.base.progress import Progress
    from gaga.data.spool import Spool, Spooled
    from gaga.models.model import Model
    from gaga.models.sample_record import Judged, SampleRecord
    from gaga.models.samplers import SampleConfig, Sampled
    from gaga.store import Entry, Store

KIND = "sample"


@dataclass(frozen=True, kw_only=True)
class Job:
    """Molecules to draw: `n` for each seed, from `seed` on, into `out`."""

    out: Path
    n: int
    seed: int
    repeats: int
    keep: str
    trajectory: int

    def keys(self) -> list[tuple[int, int]]:
        """(seed, index) of every molecule, in the order of the output."""
        return [(self.seed + r, i) for r in range(self.repeats) for i in range(self.n)]


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


class Drawn(NamedTuple):
    """A molecule as it is spooled, and with its trajectory where it was drawn just now."""

    molecule: "Spooled"
    history: "Sampled | None"


def run(
    job: Job,
    config: "SampleConfig",
    model: "Model",
    source: Source,
    results: "Store",
    output: Output,
    *,
    overwrite: bool = False,
    resume: bool = False,
    name: str | None = None,
    replace: bool = False,
) -> "tuple[Entry, SampleRecord, bool]":
    """Draw what is missing, write all molecules to the file and to the store; last, whether nothing was missing."""
    from gaga.base.files import locked
    from gaga.data.spool import Spool, spool_path
    from gaga.models.samplers import step_sequence

    step_sequence(model, config)  # refuses a first step beyond the model's before anything is written
    spool_file = spool_path(job.out)
    settings = {**asdict(config), "t_start": config.t_start or model.max_t, "kernel": kernel_of(model)}
    identity = {"n": job.n, "seed": job.seed, "repeats": job.repeats, "keep": job.keep, "trajectory": job.trajectory,
                "out": job.out.name, **settings}  # fmt: skip
    chosen = name or slug(job.out.name.partition(".")[0])
    key = Key(kind=KIND, name=chosen, config=identity, inputs=source.inputs(), seed=job.seed)
    if not overwrite and not spool_file.exists() and (found := _finished(results, key, job)):
        return *found, True
    refuse_existing(job, overwrite=overwrite, resume=resume)
    _refuse_other(results, key, replace=replace or overwrite)
    require_writable(results.path)
    if overwrite:
        spool_file.unlink(missing_ok=True)
    with locked(spool_file, timeout=1), Spool(spool_file, identity | dict(key.inputs)) as spool:
        done = len(spool.molecules)
        if done:
            output.note(f"Going on after {done:,} molecules that were drawn before.")
        _note_plan(model, job, config, done, output)
        record = _write(job, _draw(job, config, model, spool, output), source)
        entry = results.put(
            KIND, key.name, record, config=identity, inputs=key.inputs, seed=job.seed, replace=True
        )  # fmt: skip
        spool.remove()
    Path(f"{spool_file}.lock").unlink(missing_ok=True)
    return entry, record, False


def kernel_of(model: "Model") -> str:
    """The kernel that runs the model's network."""
    return str(getattr(model.network, "kernel", "none"))


def _finished(results: "Store", key: Key, job: Job) -> "tuple[Entry, SampleRecord] | None":
    """The run of this very command, where its output is still what it wrote."""
    from gaga.models.checkpoint import file_digest
    from gaga.models.sample_record import SampleRecord

    entry = results.same(KIND, key.name, config=key.config, inputs=key.inputs, seed=key.seed)
    if entry is None or not job.out.is_file():
        return None
    record = results.get(KIND, key.name, SampleRecord)
    return (entry, record) if record.output_sha256 == file_digest(job.out) else None


def check_output(job: Job) -> None:
    """Refuse before the work what could not be written after it."""
    from gaga.base.errors import NotFound
    from gaga.base.rng import MAX_SEED
    from gaga.chem.writers import written_suffix

    written_suffix(job.out)
    if not job.out.absolute().parent.is_dir():
        raise NotFound("the folder does not exist", received=job.out.parent, remedy="create it first")
    if job.seed + job.repeats - 1 > MAX_SEED:
        raise InvalidInput(f"the last seed is beyond {MAX_SEED}", received=job.seed + job.repeats - 1)


def refuse_existing(job: Job, *, overwrite: bool, resume: bool) -> None:
    """Keep what is there: the output, its trajectories, and an unfinished run unless it is resumed.

    Raises:
        Conflict: one of them is there.
    """
    from gaga.base.files import refuse_to_overwrite
    from gaga.data.spool import spool_path

    unfinished = spool_path(job.out).exists()
    if unfinished and not (resume or overwrite):
        raise Conflict(
            f"an earlier run into {job.out} was interrupted",
            remedy="go on with --resume, or start over with --overwrite",
        )
    if not unfinished:
        for path in (job.out, *(trajectory_path(job.out, i) for i in range(job.trajectory))):
            refuse_to_overwrite(path, overwrite=overwrite)


def _refuse_other(results: "Store", key: Key, *, replace: bool) -> None:
    there = results.find(KIND, key.name)
    same = results.same(KIND, key.name, config=key.config, inputs=key.inputs, seed=key.seed)
    if there is None or replace or same is not None:
        return
    changed = there.differences(key.config, key.inputs, key.seed)
    raise Conflict(
        f"another sample is stored as {there.name}, with {'; '.join(changed[:4])}",
        remedy="give this one another --name, or add --replace",
    )


def _note_plan(model: "Model", job: Job, config: "SampleConfig", done: int, output: Output) -> None:
    from gaga.models.samplers import seconds_per_molecule, step_sequence

    moments = model.known_moments()
    new = [n for n in config.sizes or () if moments.extrapolates(n)]
    if new:
        output.note(f"No molecules of {', '.join(map(str, new))} atoms were in the data: their start is extrapolated.")
    left = job.n * job.repeats - done
    if left > 0:
        steps = len(step_sequence(model, config)) - 1
        seconds = left * seconds_per_molecule(model, config, min(left, 64))
        output.note(f"{counted(left, 'molecule')}, {counted(steps, 'step')} each, in about {human_time(seconds)}.")


def _draw(job: Job, config: "SampleConfig", model: "Model", spool: "Spool", output: Output) -> "Iterator[Drawn]":
    """All molecules in the order of their keys; each batch is spooled as soon as it is finished."""
    finished: dict[tuple[int, int], Drawn] = {}
    awaited = iter(job.keys())
    key = next(awaited, None)
    spooled = {(molecule.seed, molecule.index): Drawn(molecule, None) for molecule in spool.molecules}
    with output.progress("molecule-steps") as progress:
        for batch in chain([spooled], _batches(job, config, model, spool, progress)):
            finished |= batch
            while key is not None and key in finished:
                yield finished.pop(key)
                key = next(awaited, None)


def _batches(
    job: Job, config: "SampleConfig", model: "Model", spool: "Spool", progress: "Progress"
) -> "Iterator[dict[tuple[int, int], Drawn]]":
    """Batches that the spool does not have yet, spooled."""
    from gaga.data.spool import Spooled
    from gaga.models.samplers import sample_batches

    there = {(molecule.seed, molecule.index) for molecule in spool.molecules}
    for seed in range(job.seed, job.seed + job.repeats):
        done = {index for s, index in there if s == seed}
        for batch in sample_batches(model, range(job.n), config, seed=seed, done=done, progress=progress):
            new = {}
            for m in batch:
                if m.index not in done:
                    molecule = Spooled(seed, m.index, m.atomic_numbers, m.positions, m.finite)
                    spool.add(molecule)
                    new[seed, m.index] = Drawn(molecule, m)
            yield new


def _write(job: Job, molecules: "Iterator[Drawn]", source: Source) -> "SampleRecord":
    """Write each molecule as its turn comes; returns all of them with their verdicts."""
    from gaga.chem.annotate import annotate
    from gaga.chem.writers import open_writer
    from gaga.models.checkpoint import file_digest
    from gaga.models.sample_record import Judged, SampleRecord

    label = f"{source.path.name}:{source.digest[:12]}"
    judged: list[Judged] = []
    written = 0
    with open_writer(job.out, overwrite=True) as writer:
        for drawn in molecules:
            molecule = drawn.molecule
            properties = {"gaga_seed": str(molecule.seed), "gaga_index": str(molecule.index), "checkpoint": label}
            name = f"gaga-{molecule.seed}-{molecule.index}"
            found = annotate(molecule.atomic_numbers, molecule.positions, name=name, properties=properties)
            judged.append(Judged.of(molecule, found))
            if _is_kept(job, judged[-1]):
                writer.write(found.record, found.mol)
                written += 1
            if drawn.history is not None and molecule.seed == job.seed and molecule.index < job.trajectory:
                _write_trajectory(job.out, drawn.history)
    return SampleRecord.of(judged, written, file_digest(job.out))


def _is_kept(job: Job, judged: "Judged") -> bool:
    if job.out.name.lower().endswith(".smi") and not judged.smiles:
        return False
    return {"all": True, "valid": bool(judged.valid), "stable": judged.stable}[job.keep]


def trajectory_path(out: Path, index: int) -> Path:
    """Where the frames of a molecule go, such as mols_trajectory_0.xyz beside mols.sdf."""
    return out.with_name(f"{out.name.partition('.')[0]}_trajectory_{index}.xyz")


def _write_trajectory(out: Path, drawn: "Sampled") -> None:
    """Frames as multi-frame XYZ, up to the first that is not finite."""
    import numpy as np

    from gaga.chem.records import Record
    from gaga.chem.writers import open_writer

    with open_writer(trajectory_path(out, drawn.index), overwrite=True) as writer:
        for k, (numbers, positions) in enumerate(drawn.frames):
            if not np.isfinite(positions).all():
                return
            writer.write(Record(numbers, positions, f"frame {k}"))
