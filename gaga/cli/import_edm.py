"""`gaga import-edm`: a model of EDM's or GAGA's published code becomes a gaga checkpoint.

Example:
    gaga import-edm outputs/edm_qm9 --out edm.safetensors --dataset qm9
"""

from pathlib import Path
from typing import Annotated

import typer

from gaga.cli import options
from gaga.cli.commands import Command, examples, new_app
from gaga.cli.render import Output, Table, human_bytes

app = new_app()

Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="Holds args.pickle and generative_model_ema.npy.", show_default=False)
]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The checkpoint, .safetensors.")]
OfSizes = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        "-d",
        metavar="NAME|PATH",
        help="What it was trained on: its sizes and moments go into the checkpoint, and sampling needs no data.",
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
    out: Out,
    dataset: OfSizes = None,
    overwrite: options.Overwrite = False,
    cache: options.Cache = None,
    json: options.Json = False,
) -> None:
    """Turn a folder of EDM's code into a gaga checkpoint; nothing in the folder is executed."""
    from gaga.base.files import refuse_to_overwrite
    from gaga.cli.data import read_dataset
    from gaga.models.edm import import_edm as run

    refuse_to_overwrite(out, overwrite=overwrite)
    output = Output(json=json)
    data = None if dataset is None else read_dataset(dataset, output, cache=cache)
    checkpoint = run(folder, data, out)
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
        },
        Table(
            columns=("checkpoint", str(out)),
            rows=[
                ("size", human_bytes(size)),
                ("trained on", checkpoint.dataset),
                ("steps", str(checkpoint.schedule.T)),
                ("sizes of molecules", f"those of {dataset}" if data else "not known: sampling will ask for --dataset"),
            ],
        ),
    )
