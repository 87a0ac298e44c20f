"""`gaga gaussianity`: noise molecules step by step, and test at each step how Gaussian they have become.

Example:
    gaga gaussianity --dataset qm9 --fraction 0.02
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gaga.cli import options
from gaga.cli.commands import Command, examples, new_app, usage_error
from gaga.cli.curves import payload, tables
from gaga.cli.devices import check_statistics_device, statistics_device
from gaga.cli.render import Output, stored, stored_line
from gaga.cli.results import Key, Outcome, open_store, slug
from gaga.cli.resuming import Resumption, compute_resumably
from gaga.cli.selection import Selection, select

if TYPE_CHECKING:
    from gaga.base.journal import Journal
    from gaga.data.features import FeatureSpace
    from gaga.noise import Schedule
    from gaga.stats.gaussianity import GaussianityResult

app = new_app()

KIND, PREFIX = "gaussianity", "identity_to_gaussian_"
_TEST, _CURVES = "The published per-molecule test", "The curves D_t and Dep_t"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What `gaga gaussianity` is asked for; `changes` are fields of its configuration, None if not named.

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


Timesteps = Annotated[
    str | None,
    typer.Option(
        "--timesteps",
        metavar="STEPS",
        help="first:last:stride, or a list such as 300,400,550.  [default: 50:1000:50]",
    ),
]
ScheduleName = Annotated[
    str,
    typer.Option(
        "--schedule",
        metavar="polynomial_2|cosine",
        show_default=True,
        help="Noise schedule, of 1000 steps.",
    ),
]
OfModel = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint",
        metavar="FILE",
        help="Take the schedule and the features of this model instead.",
    ),
]
Alpha = Annotated[
    float | None,
    typer.Option(
        "--alpha",
        metavar="LEVEL",
        callback=options.between(0, 1),
        rich_help_panel=_TEST,
        help="Level of the KS test.  [default: 0.05]",
    ),
]
MiThreshold = Annotated[
    float | None,
    typer.Option(
        "--mi-threshold",
        metavar="NATS",
        callback=options.positive,
        rich_help_panel=_TEST,
        help="Mean pairwise mutual information below which a molecule passes.  [default: 0.1]",
    ),
]
KPositions = Annotated[
    int | None,
    typer.Option(
        "--k-positions",
        metavar="K",
        min=1,
        rich_help_panel=_TEST,
        help="Neighbours for positions.  [default: 2]",
    ),
]
KTypes = Annotated[
    int | None,
    typer.Option(
        "--k-types",
        metavar="K",
        min=1,
        rich_help_panel=_TEST,
        help="Neighbours for types.  [default: 3]",
    ),
]
TestVariances = Annotated[
    str | None,
    typer.Option(
        "--test-variances",
        metavar="V,V",
        rich_help_panel=_TEST,
        help="Variances to standardise with, by block; by default what was published, mean deviations.",
    ),
]
References = Annotated[
    str | None,
    typer.Option(
        "--references",
        metavar="KINDS",
        rich_help_panel=_CURVES,
        help="Some of published,scalar,block,size,matched,prior; by default all.",
    ),
]
NNull = Annotated[
    int | None,
    typer.Option(
        "--n-null",
        metavar="N",
        min=2,
        rich_help_panel=_CURVES,
        help="Number of true Gaussian molecules.  [default: 10000]",
    ),
]
NResamples = Annotated[
    int | None,
    typer.Option(
        "--n-resamples",
        metavar="N",
        min=2,
        rich_help_panel=_CURVES,
        help="Bootstrap resamples.  [default: 200]",
    ),
]
Level = Annotated[
    float | None,
    typer.Option(
        "--level",
        metavar="LEVEL",
        callback=options.between(0, 1),
        rich_help_panel=_CURVES,
        help="Level of intervals.  [default: 0.95]",
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda",
        show_default=True,
        rich_help_panel="This run",
        help="Where the statistics are computed; the results are the same.",
    ),
]


@app.command(
    cls=Command,
    epilog=examples(
        "gaga gaussianity --dataset qm9",
        "gaga gaussianity --dataset qm9 --fraction 0.02 --timesteps 100:1000:100 --name quick",
        "gaga gaussianity --dataset mine.sdf.gz --schedule cosine",
        "gaga gaussianity --dataset qm9 --checkpoint model.safetensors --name of_model",
        "gaga gaussianity --dataset qm9 --resume          go on where it was interrupted",
    ),
)
def gaussianity(
    dataset: options.Dataset = Request.dataset,
    split: options.Split = Request.split,
    fraction: options.Fraction = Request.fraction,
    timesteps: Timesteps = None,
    schedule: ScheduleName = Request.schedule,
    checkpoint: OfModel = None,
    alpha: Alpha = None,
    mi_threshold: MiThreshold = None,
    k_positions: KPositions = None,
    k_types: KTypes = None,
    test_variances: TestVariances = None,
    references: References = None,
    n_null: NNull = None,
    n_resamples: NResamples = None,
    level: Level = None,
    device: Device = Request.device,
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
    over all molecules, for each reference Gaussian. gaga tstar reads the step from them.
    """
    changes = {
        "alpha": alpha,
        "mi_threshold": mi_threshold,
        "k_positions": k_positions,
        "k_types": k_types,
        "test_variances": _numbers(test_variances),
        "references": _kinds(references),
        "n_null": n_null,
        "n_resamples": n_resamples,
        "level": level,
    }
    data: dict[str, Any] = {"dataset": dataset, "split": split, "fraction": fraction, "cache": cache}
    noise: dict[str, Any] = {"schedule": schedule, "checkpoint": checkpoint, "timesteps": timesteps}
    output = Output(json=json)
    this_run: dict[str, Any] = {"seed": seed, "threads": threads, "device": device}
    request = Request(**data, **noise, **this_run, changes=changes, name=name, replace=replace, resume=resume)
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
    from gaga.stats.gaussianity import GaussianityConfig, GaussianityResult
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
    schedule, space, model = _schedule_and_space(request, chosen)
    changes = {option: value for option, value in request.changes.items() if value is not None}
    if request.timesteps is not None:
        changes["timesteps"] = options.parse_steps(request.timesteps, last=schedule.T)
    config = GaussianityConfig(**changes)
    key = Key(
        kind=KIND,
        name=request.name or f"{PREFIX}{slug(chosen.dataset.name)}",
        config={
            **chosen.config,
            **asdict(config),
            **asdict(space),
            "schedule": schedule.name,
            "T": schedule.T,
        },
        inputs={**chosen.inputs, **model},
        seed=request.seed,
    )

    def work(pieces: "Journal") -> GaussianityResult:
        device, _ = statistics_device(request.device)
        # The whole split's moments, so that a fraction is held against the same Gaussians as all of it.
        moments = estimate_moments(chosen.pool.molecules, space)
        with output.progress("noising") as progress:
            return compute(
                chosen.dataset.molecules,
                space,
                schedule,
                moments,
                config,
                seed=request.seed,
                threads=request.threads,
                device=device,
                progress=progress,
                pieces=pieces,
            )

    def where() -> str:
        return statistics_device(request.device)[1]

    how = Resumption(resume=request.resume, replace=request.replace, engine=where, note=output.note)
    outcome = compute_resumably(open_store(store), key, GaussianityResult, work, how)
    return outcome, None if outcome.found else where()


def _schedule_and_space(request: Request, chosen: Selection) -> "tuple[Schedule, FeatureSpace, dict[str, str]]":
    """Schedule and features, and the checkpoint's hash where one gives them."""
    from gaga.data.features import FeatureSpace
    from gaga.noise import make_schedule

    if request.checkpoint is None:
        return make_schedule(request.schedule), FeatureSpace(vocabulary=chosen.dataset.vocabulary), {}
    from gaga.models.api import load_model, model_file
    from gaga.models.checkpoint import file_digest

    model = load_model(request.checkpoint)
    return model.schedule, model.space, {request.checkpoint.name: file_digest(model_file(request.checkpoint))}


def _numbers(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise usage_error(
            f"invalid value for --test-variances: {text!r}; write numbers, such as 2.04,0.0079"
        ) from error


def _kinds(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(part.strip().lower() for part in text.split(","))
