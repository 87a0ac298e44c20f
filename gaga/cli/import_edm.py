"""`gaga import-edm`: a model of EDM's or GAGA's published code becomes a gaga checkpoint.

Example:
    gaga import-edm outputs/edm_qm9 --dataset qm9 --out edm.safetensors
"""

from os import sep
from os.path import realpath  # unlike Path.resolve, at ease with a link to itself
from pathlib import Path
from typing import Annotated

import typer

from gaga.cli import options
from gaga.cli.commands import Command, examples, new_app
from gaga.cli.render import Output, Table
from gaga.core.text import human_bytes

app = new_app()

Folder = Annotated[
    Path,
    typer.Argument(
        metavar="DIR", help="Holds args.pickle and generative_model_ema.npy, or args_N.pickle ...", show_default=False
    ),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="FILE", help="The checkpoint; by default the folder's name .safetensors."),
]
OfSizes = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        "-d",
        metavar="NAME|PATH",
        help="What it was trained on: its sizes and moments go into the checkpoint, and sampling needs no data.",
    ),
]
Centred = Annotated[
    bool | None,
    typer.Option(
        "--centred-features/--uncentred-features",
        help="Types centred in each molecule.  [default: as args.pickle tells: GAGA's models without charges are]",
    ),
]
MaxT = Annotated[
    int | None,
    typer.Option(
        "--max-t",
        metavar="STEP",
        min=1,
        help="T*, the last step that was trained.  [default: as args.pickle tells: GAGA's max_t, else all steps]",
    ),
]


@app.command(
    cls=Command,
    epilog=examples(
        "gaga import-edm outputs/edm_qm9 --dataset qm9 --out edm.safetensors",
        "gaga gaussianity --dataset qm9 --checkpoint edm.safetensors --name of_edm",
    ),
)
def import_edm(
    folder: Folder,
    out: Out = None,
    dataset: OfSizes = None,
    centred_features: Centred = None,
    max_t: MaxT = None,
    overwrite: options.Overwrite = False,
    cache: options.Cache = None,
    json: options.Json = False,
) -> None:
    """Turn a folder of EDM's or GAGA's code into a gaga checkpoint; nothing in the folder is executed.

    Both write the same files; GAGA's arguments alone have max_t. The newest epoch is taken, its average over steps
    (_ema) before the weights themselves.
    """
    from gaga.runs.import_edm import run

    output, out = Output(json=json), out or Path(f"{realpath(folder).rpartition(sep)[2]}.safetensors")
    checkpoint, decided = run(
        folder, out, output, dataset=dataset, centred_features=centred_features, max_t=max_t, overwrite=overwrite,
        cache=cache,
    )  # fmt: skip
    size = out.stat().st_size
    output.show(
        {
            "out": out,
            "size": size,
            "dataset": checkpoint.dataset,
            "has_sizes": checkpoint.moments is not None,
            "schedule": checkpoint.schedule.name,
            "max_t": checkpoint.max_t,
            "parameters": sum(weight.numel() for weight in checkpoint.weights.values()),
            "vocabulary": checkpoint.space.vocabulary,
            "charges": checkpoint.space.include_charges,
            "centred_features": checkpoint.space.centred_features,
            "taken_for": decided,
        },
        Table(
            columns=("checkpoint", str(out)),
            rows=[
                ("size", human_bytes(size)),
                ("trained on", checkpoint.dataset),
                ("steps", str(checkpoint.schedule.T)),
                ("T*", str(checkpoint.max_t)),
                ("types", "centred in each molecule" if checkpoint.space.centred_features else "not centred"),
                (
                    "sizes of molecules",
                    f"those of {dataset}" if dataset else "not known, so it cannot sample: --dataset",
                ),
            ],
        ),
        decided,
    )
