"""`gaga sample`: draw molecules from a model into a file.

Example:
    gaga sample --n 100 --out mols.sdf
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gaga.base.errors import Conflict, InvalidInput
from gaga.cli import options
from gaga.cli.commands import Command, examples, new_app, usage_error
from gaga.cli.render import Output, human_time, stored, stored_line
from gaga.cli.results import open_store, slug
from gaga.cli.sample_report import payload, summary

if TYPE_CHECKING:
    from gaga.data.spool import Spool, Spooled
    from gaga.models.model import Model
    from gaga.models.sample_record import SampleRecord
    from gaga.models.samplers import SampleConfig, Sampled
    from gaga.store import Entry, Store

app = new_app()
KIND = "sample"
KEEP = ("all", "valid", "stable")


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
    """A checkpoint, why it was chosen, and its hash."""

    path: Path
    why: str
    digest: str


@app.command(
    cls=Command,
    epilog=examples(
        "gaga sample --n 100 --out mols.sdf",
        "gaga sample --n 100 --out mols.xyz --stride 10 --method ddim",
        "gaga sample --n 10000 --out mols.sdf.gz --repeats 3 --keep valid",
        "gaga sample --n 10000 --out mols.sdf --resume",
    ),
)
def sample(
    n: Annotated[int, typer.Option("--n", min=1, show_default=True, help="How many molecules.")] = 100,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", show_default=True, help="A .sdf, .sdf.gz, .xyz or .smi.")
    ] = Path("mols.sdf"),
    checkpoint: options.Checkpoint = None,
    method: Annotated[
        str, typer.Option("--method", metavar="ddpm|ddim", show_default=True, help="Ancestral or deterministic.")
    ] = "ddpm",
    start: Annotated[
        str,
        typer.Option(
            "--start",
            metavar="KIND",
            show_default=True,
            help="Reference Gaussian to start from: published, scalar, block, size, matched or prior.",
        ),
    ] = "block",
    t_start: Annotated[
        int | None, typer.Option("--t-start", metavar="STEP", min=1, help="First step.  [default: the model's T*]")
    ] = None,
    stride: Annotated[int, typer.Option("--stride", min=1, show_default=True, help="Take every k-th step.")] = 1,
    dataset_var: Annotated[
        float | None,
        typer.Option("--dataset-var", metavar="V", help="One variance for all columns, with --start scalar."),
    ] = None,
    sizes: Annotated[
        str | None,
        typer.Option("--sizes", metavar="N,N|N:M", help="Numbers of atoms to draw.  [default: as in the data]"),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", min=1, help="Molecules at a time.  [default: for the device]")
    ] = None,
    repeats: Annotated[
        int, typer.Option("--repeats", min=1, max=1000, show_default=True, help="Repeat with the next seeds.")
    ] = 1,
    keep: Annotated[
        str, typer.Option("--keep", metavar="all|valid|stable", show_default=True, help="Which molecules are written.")
    ] = "all",
    trajectory: Annotated[
        int, typer.Option("--trajectory", metavar="N", min=0, show_default=True, help="Frames of the first N, as .xyz.")
    ] = 0,
    frames: Annotated[int, typer.Option("--frames", min=2, show_default=True, help="Frames of a trajectory.")] = 50,
    dataset: Annotated[
        str | None, typer.Option("--dataset", metavar="NAME|PATH", help="For an EDM folder: what it was trained on.")
    ] = None,
    overwrite: options.Overwrite = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an output that was interrupted.")] = False,
    kernel: options.Kernel = "auto",
    device: options.Device = "auto",
    store: options.StorePath = options.DEFAULT_STORE,
    name: options.Name = None,
    replace: options.Replace = False,
    seed: options.Seed = 0,
    threads: options.Threads = None,
    cache: options.Cache = None,
    json: options.Json = False,
) -> None:
    """Draw molecules from T* down to 0 and write them one by one, each with its seed, stability, validity and SMILES.

    A molecule depends on its seed and number alone, not on the batch. No data set is needed. What is drawn is also
    kept in the store.
    """
    options.use_threads(threads)
    if keep.lower() not in KEEP:
        raise usage_error(f"invalid value for --keep: {keep!r}; choose from {', '.join(KEEP)}")
    from gaga.models.samplers import SampleConfig

    job = Job(out=out, n=n, seed=seed, repeats=repeats, keep=keep.lower(), trajectory=trajectory)
    config = SampleConfig(
        method=method, start=start, t_start=t_start, stride=stride, dataset_var=dataset_var,
        sizes=parse_sizes(sizes), batch_size=batch_size, frames=frames if trajectory else 0,
    )  # fmt: skip
    _check_output(job, overwrite=overwrite, resume=resume)
    output, results = Output(json=json), open_store(store)
    source = find_checkpoint(results, checkpoint)
    output.note(f"Sampling from {source.path}: {source.why}.")
    model = open_model(source, device=device, kernel=kernel, dataset=dataset, cache=cache, output=output)
    entry, record, found = run(
        job, config, model, source, results, output, overwrite=overwrite, resume=resume, name=name, replace=replace
    )
    output.show(
        {"stored": stored(entry, store, found=found), "out": out, "checkpoint": source.path, **payload(record)},
        *summary(record, out),
        stored_line(entry, store, found=found),
    )


def parse_sizes(text: str | None) -> tuple[int, ...] | None:
    """Numbers of atoms from "18", "9,18,27" or "9:29" (both ends included)."""
    if text is None:
        return None
    return options.parse_steps(text, last=100_000, option="--sizes")


def find_checkpoint(results: "Store", given: Path | None) -> Source:
    """The checkpoint named, else that of the newest finished run of the store, else the one that ships with gaga."""
    from gaga.models.api import SHIPPED_CHECKPOINT
    from gaga.models.checkpoint import file_digest
    from gaga.models.edm import WEIGHTS, is_edm_folder
    from gaga.models.training_record import TrainingRecord

    if given is not None:
        path = given / "model.safetensors" if given.is_dir() and not is_edm_folder(given) else given
        content = path / WEIGHTS if path.is_dir() else path
        return Source(path=path, why="named by --checkpoint", digest=file_digest(content) if content.exists() else "")
    for entry in sorted(results.entries("train"), key=lambda entry: entry.created, reverse=True):
        record = results.get("train", entry.name, TrainingRecord)
        if record.finished and Path(record.checkpoint).is_file():
            path = Path(record.checkpoint)
            return Source(path=path, why=f"the newest finished run, train/{entry.name}", digest=file_digest(path))
    return Source(
        path=SHIPPED_CHECKPOINT, why="the model of QM9 that ships with gaga", digest=file_digest(SHIPPED_CHECKPOINT)
    )


def open_model(
    source: Source, *, device: str, kernel: str, dataset: str | None, cache: Path | None, output: Output
) -> "Model":
    """The model, on its device; an EDM folder gets the moments of the data set that is named."""
    from gaga.cli.devices import torch_device
    from gaga.models.api import load_model

    model = load_model(source.path, device=torch_device(device), kernel=kernel)
    if model.moments is not None or dataset is None:
        model.known_moments()
        return model
    from dataclasses import replace

    from gaga.cli.import_edm import moments_of

    return replace(model, moments=moments_of(dataset, model.space, output, cache=cache)[0])


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
    from gaga.data.spool import Spool, spool_path
    from gaga.models.samplers import step_sequence

    step_sequence(model, config)  # refuses a first step beyond the model's before anything is written
    spool_file = spool_path(job.out)
    settings = {**asdict(config), "t_start": config.t_start or model.max_t}
    identity = {"n": job.n, "seed": job.seed, "repeats": job.repeats, "checkpoint": source.digest, **settings}
    key = {"kind": KIND, "name": name or slug(job.out.name.partition(".")[0])}
    inputs = {"checkpoint": source.digest}
    if resume and job.out.exists() and not spool_file.exists():
        return *_finished(results, key["name"], identity, inputs, job), True
    _refuse_other(results, key["name"], identity, inputs, replace=replace or overwrite)
    if overwrite:
        spool_file.unlink(missing_ok=True)
    with Spool(spool_file, identity) as spool:
        done = len(spool.molecules)
        if done:
            output.note(f"Going on after {done:,} molecules that were drawn before.")
        _note_time(model, job, config, done, output)
        molecules = _draw(job, config, model, spool, output)
        record = _write(job, model, molecules, source, spool)
        entry = results.put(**key, result=record, config=identity, inputs=inputs, seed=job.seed, replace=True)
        spool.remove()
    return entry, record, False


def _finished(
    results: "Store", name: str, identity: dict[str, Any], inputs: dict[str, str], job: Job
) -> "tuple[Entry, SampleRecord]":
    """The run that made this output, where it is this very one."""
    from gaga.models.sample_record import SampleRecord

    entry = results.same(KIND, name, config=identity, inputs=inputs, seed=job.seed)
    if entry is None:
        raise Conflict(
            f"{job.out} is there, and was not made by this command", remedy="choose another name or add --overwrite"
        )
    return entry, results.get(KIND, name, SampleRecord)


def _check_output(job: Job, *, overwrite: bool, resume: bool) -> None:
    """Refuse before the work what could not be written after it."""
    from gaga.base.errors import NotFound
    from gaga.base.files import refuse_to_overwrite
    from gaga.base.rng import MAX_SEED
    from gaga.chem.writers import written_suffix
    from gaga.data.spool import spool_path

    written_suffix(job.out)
    if not job.out.absolute().parent.is_dir():
        raise NotFound("the folder does not exist", received=job.out.parent, remedy="create it first")
    if job.seed + job.repeats - 1 > MAX_SEED:
        raise InvalidInput(f"the last seed is beyond {MAX_SEED}", received=job.seed + job.repeats - 1)
    if overwrite and resume:
        raise usage_error("--overwrite starts over and --resume goes on; give one of them")
    unfinished = spool_path(job.out).exists()
    if unfinished and not (resume or overwrite):
        raise Conflict(f"an earlier run into {job.out} was interrupted",
                       remedy="go on with --resume, or start over with --overwrite")  # fmt: skip
    if not unfinished and not resume:
        refuse_to_overwrite(job.out, overwrite=overwrite)


def _refuse_other(
    results: "Store", name: str, identity: dict[str, Any], inputs: dict[str, str], *, replace: bool
) -> None:
    there = results.find(KIND, name)
    if there is None or replace or results.same(KIND, name, config=identity, inputs=inputs, seed=identity["seed"]):
        return
    changed = there.differences(identity, inputs, identity["seed"])
    raise Conflict(f"another sample is stored as {there.name}, with {'; '.join(changed[:4])}",
                   remedy="give this one another --name, or add --replace")  # fmt: skip


def _note_time(model: "Model", job: Job, config: "SampleConfig", done: int, output: Output) -> None:
    from gaga.models.samplers import seconds_per_molecule, step_sequence

    left = job.n * job.repeats - done
    if left <= 0:
        return
    steps = len(step_sequence(model, config)) - 1
    seconds = left * seconds_per_molecule(model, config, min(left, 64))
    output.note(f"{left:,} molecules, {steps} steps each, in about {human_time(seconds)}.")


def _draw(
    job: Job, config: "SampleConfig", model: "Model", spool: "Spool", output: Output
) -> "Iterator[tuple[Spooled, Sampled | None]]":
    """All molecules in their order: those of the spool, then new ones as they are drawn."""
    from gaga.data.spool import Spooled
    from gaga.models.samplers import sample_stream

    yield from ((molecule, None) for molecule in list(spool.molecules))
    left = job.keys()[len(spool.molecules) :]
    with output.progress("molecule-steps") as progress:
        for seed in dict.fromkeys(seed for seed, _ in left):
            indices = [index for s, index in left if s == seed]
            for drawn in sample_stream(model, indices, config, seed=seed, progress=progress):
                molecule = Spooled(seed, drawn.index, drawn.atomic_numbers, drawn.positions, drawn.finite)
                spool.add(molecule)
                yield molecule, drawn


def _write(
    job: Job,
    model: "Model",
    molecules: "Iterator[tuple[Spooled, Sampled | None]]",
    source: Source,
    spool: "Spool",
) -> "SampleRecord":
    """Write each molecule as it comes; returns all of them with their verdicts."""
    from gaga.chem.annotate import annotate
    from gaga.chem.writers import open_writer
    from gaga.models.sample_record import SampleRecord

    stable, n_stable, valid, smiles, written = [], [], [], [], 0
    label = f"{source.path.name}:{source.digest[:12]}"
    with open_writer(job.out, overwrite=True) as writer:
        for molecule, drawn in molecules:
            properties = {"gaga_seed": str(molecule.seed), "gaga_index": str(molecule.index), "checkpoint": label}
            name = f"gaga-{molecule.seed}-{molecule.index}"
            found = annotate(molecule.atomic_numbers, molecule.positions, name=name, properties=properties)
            stable.append(found.stable and molecule.finite)
            n_stable.append(found.n_stable_atoms if molecule.finite else 0)
            valid.append(bool(found.valid) and molecule.finite)
            smiles.append(found.smiles)
            if _is_kept(job, stable[-1], valid[-1], found.smiles):
                writer.write(found.record, found.mol)
                written += 1
            if drawn is not None and molecule.seed == job.seed and molecule.index < job.trajectory:
                _write_trajectory(job.out, drawn)
    return SampleRecord.of(spool.molecules, stable, n_stable, valid, smiles, written)


def _is_kept(job: Job, stable: bool, valid: bool, smiles: str) -> bool:
    if job.out.suffix == ".smi" and not smiles:
        return False
    return {"all": True, "valid": valid, "stable": stable}[job.keep]


def _write_trajectory(out: Path, drawn: "Sampled") -> None:
    """Frames as multi-frame XYZ beside the output, such as mols_trajectory_0.xyz."""
    from gaga.chem.records import Record
    from gaga.chem.writers import open_writer

    path = out.with_name(f"{out.name.partition('.')[0]}_trajectory_{drawn.index}.xyz")
    with open_writer(path, overwrite=True) as writer:
        for k, (numbers, positions) in enumerate(drawn.frames):
            writer.write(Record(numbers, positions, f"frame {k}"))
