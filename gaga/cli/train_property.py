"""`gaga train-property`: train what judges molecules that a property was asked of.

Example:
    gaga train-property alpha --budget 15m
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gaga.cli import options
from gaga.cli.builder import takes
from gaga.cli.commands import Command, examples, new_app
from gaga.cli.property_report import row_objects, row_table
from gaga.cli.render import Output, Table, open_store, stored, stored_line
from gaga.cli.signals import StopRequest, stop_requests
from gaga.cli.train import Budget, Resume, Runs, seconds
from gaga.models.predictor.recipe import PRESETS, PredictorRecipe, make_predictor_recipe  # noqa: TID253 - needs no torch

if TYPE_CHECKING:
    from gaga.runs.train_property import PredictorRecord

app = new_app()
Preset = Annotated[
    str, typer.Option("--preset", metavar="|".join(PRESETS), show_default=True, help="A whole recipe; edm is EDM's.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Train nothing; print settings and the errors to beat.")]
Half = Annotated[
    str | None,
    typer.Option(
        "--half",
        metavar="first|none",
        help="Train on the first half of the training molecules, or on all.  [default: first for qm9, else none]",
    ),
]


@app.command(
    cls=Command,
    epilog=examples(
        "gaga train-property alpha --budget 15m          a small predictor of QM9's polarisability",
        "gaga train-property gap --preset edm            EDM's; wants a GPU",
        "gaga train-property logP --dataset mine.sdf     a tag or column of numbers of your own",
        "gaga train-property alpha --resume              resume it if it was interrupted",
        "gaga train-property alpha --dry-run             train nothing; the errors that it has to beat",
    ),
)
@takes(PredictorRecipe, spelled={"n_layers": "--layers", "learning_rate": "--lr"}, show_defaults=False)
def train_property(
    property: Annotated[str, typer.Argument(metavar="PROPERTY", help="Such as alpha; a property of the data set.")],
    dataset: options.Dataset = "qm9",
    half: Half = None,
    preset: Preset = "small",
    budget: Budget = None,
    resume: Resume = False,
    dry_run: DryRun = False,
    runs_folder: Runs = Path("runs"),
    *,
    given: dict[str, Any],
    device: options.Device = "auto",
    store: options.StorePath = options.DEFAULT_STORE,
    name: options.Name = None,
    replace: options.Replace = False,
    seed: options.Seed = 0,
    threads: options.Threads = None,
    cache: options.Cache = None,
    json: options.Json = False,
) -> None:
    """Train a network that predicts a property of a molecule, to judge molecules that were drawn with one asked for.

    gaga evaluate --property PROPERTY --predictor FILE uses it. It is EDM's graph network without position updates, and
    does not see the half of QM9 that a generator is trained on (gaga train --half second). The run's folder holds
    predictor.safetensors (the weights of the lowest validation error), state.safetensors (what --resume needs) and
    metrics.jsonl. Interrupt it at any time: the step is finished and saved.
    """
    options.use_threads(threads)
    from gaga.runs import train_property as runs
    from gaga.runs.once import Policy

    request = runs.TrainPropertyRequest(
        property=property, dataset=dataset, recipe=make_predictor_recipe(preset, **given), recipe_name=preset,
        half=half, budget_s=seconds(budget), runs=runs_folder, name=name, device=device, seed=seed, cache=cache,
    )  # fmt: skip
    output, results, stop = Output(json=json), open_store(store), StopRequest()
    if dry_run:
        about, rows = runs.plan(request, output)
        shown = [(key.replace("_", " "), f"{v:,}" if isinstance(v, int) else v) for key, v in about.items()]
        return output.show(
            {"dry_run": True, **about, "rows": row_objects(rows, about["unit"])},
            Table(columns=("setting", "value"), rows=shown, title="What would be trained"),
            row_table(rows, about["unit"], f"{property}: errors to beat"),
        )
    found = runs.run(request, results, Policy(resume=resume, replace=replace), output, stop_requests(stop))
    record, outcome = found.outcome.result, found.outcome
    if not outcome.found:
        folder = Path(record.checkpoint).parent
        stop.raise_if_asked(f"saved step {record.steps:,} in {folder}; the same command with --resume continues")
    return output.show(
        {"stored": stored(outcome.entry, store, found=outcome.found), **_payload(record),
         "rows": row_objects((*found.rows, *record.rows), record.unit)},
        row_table((*found.rows, *record.rows), record.unit, f"{property}: mean absolute errors"),
        stored_line(outcome.entry, store, found=outcome.found),
        f"Judge by it: gaga evaluate mols.sdf --property {property} --predictor {record.checkpoint}",
    )  # fmt: skip


def _payload(record: "PredictorRecord") -> dict[str, Any]:
    """The record as JSON has it."""
    names = ["finished", "checkpoint", "checkpoint_sha256", "property", "unit", "half", "steps", "seconds"]
    metrics = {f: getattr(record.metrics, f) for f in record.metrics.__dataclass_fields__}
    return {name: getattr(record, name) for name in names} | {"metrics": metrics}
