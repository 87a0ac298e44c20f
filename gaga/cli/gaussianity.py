"""`gaga gaussianity`: noise molecules step by step, and test at each step how Gaussian they have become.

Example:
    gaga gaussianity --dataset qm9 --fraction 0.02
"""

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaga.cli import gaussianity_options as of
from gaga.cli import options
from gaga.cli.builder import takes
from gaga.cli.commands import Command, examples, new_app
from gaga.cli.curves import payload, tables
from gaga.cli.devices import check_statistics_device, statistics_device
from gaga.cli.errors import usage_error
from gaga.cli.render import Output, stored, stored_line
from gaga.cli.results import Key, Outcome, open_store, slug
from gaga.cli.resuming import Resumption, compute_resumably
from gaga.cli.selection import Selection, select
from gaga.stats.config import GaussianityConfig

if TYPE_CHECKING:
    from gaga.data.features import FeatureSpace
    from gaga.noise import Schedule
    from gaga.stats.gaussianity import GaussianityResult
    from gaga.storage.partial import PartialFile

app = new_app()

KIND, PREFIX = "gaussianity", "identity_to_gaussian_"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What `gaga gaussianity` is asked for; `changes` are the fields of its configuration that were named.

    `resume` is None where another command asks, and an interrupted run is gone on with by itself.
    """

    dataset: str = "qm9"
    split: str = "all"
    fraction: float = 1.0
    schedule: str = "polynomial_2"
    checkpoint: Path | None = None
    changes: dict[str, Any] = field(default_factory=dict)
    timesteps: str | None = None
    name: str | None = None
    replace: bool = False
    resume: bool | None = None
    seed: int = 0
    threads: int | None = None
    device: str = "auto"
    cache: Path | None = None


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise usage_error(
            f"invalid value for --test-variances: {text!r}; write numbers, such as 2.04,0.0079"
        ) from error


def _kinds(text: str) -> tuple[str, ...]:
    return tuple(part.strip().lower() for part in text.split(","))


@app.command(
    cls=Command,
    epilog=examples(
        "gaga gaussianity --dataset qm9",
        "gaga gaussianity --dataset qm9 --fraction 0.02 --timesteps 100:1000:100 --name quick",
        "gaga gaussianity --dataset geom --until 0.002    as many conformers as that takes",
        "gaga gaussianity --dataset mine.sdf.gz --schedule cosine",
        "gaga gaussianity --dataset qm9 --checkpoint model.safetensors --name of_model",
        "gaga gaussianity --dataset qm9 --resume          go on where it was interrupted",
    ),
)
@takes(GaussianityConfig, parsers={"test_variances": _numbers, "references": _kinds}, without=("timesteps",))
def gaussianity(
    dataset: options.Dataset = Request.dataset,
    split: options.Split = Request.split,
    fraction: options.Fraction = Request.fraction,
    timesteps: of.Timesteps = None,
    schedule: of.ScheduleName = Request.schedule,
    checkpoint: of.OfModel = None,
    *,
    given: dict[str, Any],
    device: of.Device = Request.device,
    store: options.StorePath = options.DEFAULT_STORE,
    name: options.Name = None,
    replace: options.Replace = False,
    resume: options.Resume = False,
    seed: options.Seed = 0,
    threads: options.Threads = None,
    cache: options.Cache = None,
    json: options.Json = False,
) -> None:
    """Noise molecules with a schedule and test them step by step, beside true Gaussians of the same sizes.

    Two tests: the published one of each molecule (KS and mutual information), and the curves D_t and Dep_t
    over all molecules, for each reference Gaussian. gaga tstar reads the step from them. With --until molecules
    come in random order until the interval of every curve at every step has that half-width; what is known is not
    measured on, and the published test is of the molecules before that.
    """
    if "until" in given and "n_null" in given:
        raise usage_error("--n-null goes without --until, which takes as many true Gaussians as molecules")
    data: dict[str, Any] = {"dataset": dataset, "split": split, "fraction": fraction, "cache": cache}
    noise: dict[str, Any] = {"schedule": schedule, "checkpoint": checkpoint, "timesteps": timesteps}
    output = Output(json=json)
    this_run: dict[str, Any] = {"seed": seed, "threads": threads, "device": device}
    request = Request(**data, **noise, **this_run, changes=given, name=name, replace=replace, resume=resume)
    outcome, where = run(request, store, output)
    line = stored_line(outcome.entry, store, found=outcome.found)
    output.show(
        {"stored": stored(outcome.entry, store, found=outcome.found), "device": where, **payload(outcome.result)},
        *tables(outcome.result),
        line if where is None else f"{line} Computed on {where}.",
        f"Next: gaga tstar {outcome.entry.name}",
    )


def run(request: Request, store: Path, output: Output) -> "tuple[Outcome[GaussianityResult], str | None]":
    """Find or compute and store what was asked for; also the device that computed it, None where it was found."""
    options.use_threads(request.threads)
    check_statistics_device(request.device)
    from gaga.stats.config import GaussianityConfig
    from gaga.stats.gaussianity import GaussianityResult
    from gaga.stats.gaussianity import gaussianity as compute
    from gaga.stats.moments import estimate_moments

    chosen = select(
        request.dataset,
        output,
        split=request.split,
        fraction=request.fraction,
        seed=request.seed,
        cache=request.cache,
    )
    schedule, space, model = _schedule_and_space(request, chosen, output)
    changes = dict(request.changes)
    if request.timesteps is not None:
        changes["timesteps"] = options.parse_steps(request.timesteps, last=schedule.T)
    config = GaussianityConfig(**changes)
    key = Key(
        kind=KIND,
        name=request.name or f"{PREFIX}{slug(chosen.dataset.name)}",
        config={
            **chosen.config,
            **_described(config),
            **asdict(space),
            "schedule": schedule.name,
            "T": schedule.T,
        },
        inputs={**chosen.inputs, **model},
        seed=request.seed,
    )

    threads = request.threads or os.cpu_count() or 1

    def work(pieces: "PartialFile") -> GaussianityResult:
        device, _ = statistics_device(request.device)
        # The whole split's moments, so that a fraction is held against the same Gaussians as all of it.
        with output.progress("moments") as progress:
            moments = estimate_moments(chosen.pool.molecules, space, threads=threads, progress=progress)
        with output.progress("noising") as progress:
            return compute(
                chosen.dataset.molecules,
                space,
                schedule,
                moments,
                config,
                seed=request.seed,
                threads=threads,
                device=device,
                progress=progress,
                pieces=pieces,
            )

    def where() -> str:
        return statistics_device(request.device)[1]

    how = Resumption(resume=request.resume, replace=request.replace, engine=where, note=output.note)
    outcome = compute_resumably(open_store(store), key, GaussianityResult, work, how)
    return outcome, None if outcome.found else where()


def _described(config: "GaussianityConfig") -> dict[str, Any]:
    """The configuration without what does not count: `until` where there is none, `n_null` where there is."""
    return {name: v for name, v in asdict(config).items() if name != ("until" if config.until is None else "n_null")}


def _schedule_and_space(
    request: Request, chosen: Selection, output: Output
) -> "tuple[Schedule, FeatureSpace, dict[str, str]]":
    """Schedule and features, and the checkpoint's hash where one gives them."""
    from gaga.data.features import FeatureSpace
    from gaga.noise import make_schedule

    if request.checkpoint is None:
        return make_schedule(request.schedule), FeatureSpace(vocabulary=chosen.dataset.vocabulary), {}
    from gaga.models.api import load_model, model_digest

    model = load_model(request.checkpoint)
    if model.decided:
        output.note(model.decided)
    return model.schedule, model.space, {request.checkpoint.name: model_digest(request.checkpoint)}
