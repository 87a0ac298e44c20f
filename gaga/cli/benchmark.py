"""`gaga benchmark`: how fast the kernels are on this machine, and whether they may be trusted.

Example:
    gaga benchmark --quick
"""

import os
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gaga.cli import options
from gaga.cli.allocator import keep_freed_memory
from gaga.cli.benchmark_report import lines_of, markdown, payload, tables
from gaga.cli.commands import Command, examples, new_app
from gaga.cli.errors import usage_error
from gaga.cli.render import Output, open_store, stored, stored_line
from gaga.core.errors import Conflict, NotFound

if TYPE_CHECKING:
    import torch

    from gaga.benchmark import Request
    from gaga.storage.store import Store

app = new_app()
KIND = "benchmark"
DEFAULT_ALLOCATOR = "the system's defaults"
_ALLOCATOR_VARIABLES = ("LD_PRELOAD", "GLIBC_TUNABLES", "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
_NETWORK = "A smaller network, for a rehearsal"


@app.command(
    cls=Command,
    epilog=examples(
        "gaga benchmark --quick                                   this machine, in a minute",
        "gaga benchmark                                           QM9: training, the network, sampling",
        "gaga benchmark --case geom-train --kernel triton         sizes of GEOM-Drugs, one kernel",
        "gaga benchmark --check                                   are all kernels right here?",
        "gaga benchmark --case qm9-train --batch-size 1024 --out figures.md",
    ),
)
def benchmark(
    quick: Annotated[
        bool, typer.Option("--quick", help="A minute: few molecules, few rounds, no kernel that is compiled first.")
    ] = False,
    case: Annotated[
        list[str] | None,
        typer.Option(
            "--case",
            metavar="NAME",
            help="qm9-train, qm9-forward, qm9-sampling, geom-train, ...; may be repeated.  [default: those of qm9]",
        ),
    ] = None,
    kernel: Annotated[
        list[str] | None,
        typer.Option(
            "--kernel",
            metavar="NAME",
            help="naive, torch, compile, triton; may be repeated. Ratios need naive.  [default: all]",
        ),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option("--precision", metavar="float32|bfloat16", help="May be repeated.  [default: both]"),
    ] = None,
    batch_size: Annotated[
        list[int] | None,
        typer.Option("--batch-size", metavar="N", min=1, help="May be repeated.  [default: for case and device]"),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option("--rounds", metavar="N", min=1, help="Rounds that kernels take turns in.  [default: 5]"),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Hold the kernels against naive in float64, and time nothing.")
    ] = False,
    full: Annotated[
        bool,
        typer.Option("--full", help="Sample all 10,000 molecules over all steps; by default that is extrapolated."),
    ] = False,
    profile: Annotated[bool, typer.Option("--profile", help="Show where the time of a step goes.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE.md", help="Write the tables as Markdown too.")
    ] = None,
    overwrite: options.Overwrite = False,
    hidden: Annotated[
        int | None, typer.Option("--hidden", metavar="N", min=1, rich_help_panel=_NETWORK, help="Width.")
    ] = None,
    layers: Annotated[
        int | None, typer.Option("--layers", metavar="N", min=1, rich_help_panel=_NETWORK, help="Blocks.")
    ] = None,
    device: options.Device = "auto",
    store: options.StorePath = options.DEFAULT_STORE,
    name: options.Name = None,
    replace: options.Replace = False,
    seed: options.Seed = 0,
    threads: options.Threads = None,
    json: options.Json = False,
) -> None:
    """Time training, the network and sampling on real sizes, every kernel in turn, against the papers' formulation.

    A training step is noising, network, loss, gradient and AdamW; forward is one evaluation by a sampler; sampling is
    the whole sampler, 10,000 molecules from T* to 0.

    A kernel is first held against the naive one in float64; one that disagrees gets no figure, and the exit code is
    1. Figures stand beside the rate of a plain matrix product measured in the same run, the floor.
    """
    options.use_threads(threads)
    kept = keep_freed_memory()
    from gaga.benchmark import run_benchmark
    from gaga.runs.devices import torch_device

    where = torch_device(device)
    request = _request(where, quick=quick, check=check, changes={
        "cases": case, "kernels": kernel, "precisions": precision, "batch_sizes": batch_size, "rounds": rounds,
        "hidden": hidden, "n_layers": layers, "seed": seed, "full": full, "profiled": profile,
    })  # fmt: skip
    output, results = Output(json=json), open_store(store)
    chosen = name or free_name(results, where)
    _check_outputs(results, chosen, out, replace=replace, overwrite=overwrite)
    with output.progress("benchmark") as progress:
        found = run_benchmark(request, where, allocator=kept or allocator_settings(os.environ), progress=progress)
    entry = results.put(KIND, chosen, found, config=asdict(request), seed=seed, replace=True)
    if out is not None:
        _write(out, markdown(found))
    output.show(
        {"stored": stored(entry, store, found=False), "out": out, **payload(found)},
        *lines_of(found),
        *tables(found),
        stored_line(entry, store, found=False),
    )
    if found.refused or found.idle:
        raise typer.Exit(1)


def _request(where: "torch.device", *, quick: bool, check: bool, changes: dict[str, Any]) -> "Request":
    """The request of these options, over the quick one or the default."""
    from dataclasses import replace

    from gaga.benchmark import QUICK, QUICK_CUDA_BATCH, QUICK_CUDA_KERNELS, Request

    if check and (quick or changes["rounds"] or changes["full"] or changes["profiled"]):
        raise usage_error("--check times nothing; leave out --quick, --rounds, --full and --profile")
    base = QUICK if quick else Request()
    if quick and where.type == "cuda":
        base = replace(base, batch_sizes=(QUICK_CUDA_BATCH,), kernels=QUICK_CUDA_KERNELS)
    given: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in changes.items() if value is not None
    }
    request = replace(base, **given)
    return replace(request, rounds=0) if check else request


def free_name(results: "Store", where: "torch.device") -> str:
    """Device and time (UTC), since a timing is never the same twice: cpu_2026-11-25T15-07-12; -2 in the same second."""
    name = f"{str(where).replace(':', '')}_{datetime.now(UTC):%Y-%m-%dT%H-%M-%S}"
    names = (f"{name}{f'-{k}' if k > 1 else ''}" for k in count(1))
    return next(free for free in names if results.find(KIND, free) is None)


def allocator_settings(environment: "os._Environ[str] | dict[str, str]") -> str:
    """What the environment sets of the memory allocator."""
    names = [n for n in environment if n in _ALLOCATOR_VARIABLES or n.startswith("MALLOC_")]
    return ", ".join(f"{name}={environment[name]}" for name in sorted(names)) or DEFAULT_ALLOCATOR


def _check_outputs(results: "Store", name: str, out: Path | None, *, replace: bool, overwrite: bool) -> None:
    """Refuse before the work what could not be kept after it."""
    from gaga.runs.once import check_store
    from gaga.storage import files

    there = results.find(KIND, name)
    if there is not None and not replace:
        raise Conflict(
            f"a benchmark of {there.created[:10]} is stored as {there.name}",
            remedy="give this one another --name, or add --replace",
        )
    check_store(results.path)
    if out is None:
        return
    if not out.absolute().parent.is_dir():
        raise NotFound("the folder of the table does not exist", received=out.parent, remedy="create it first")
    files.refuse_to_overwrite(out, overwrite=overwrite)
    files.require_writable(out)


def _write(path: Path, text: str) -> None:
    from gaga.storage.files import atomic_write

    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8")
