"""`gaga truncation`: the price of starting at T* from a Gaussian, in nats per molecule, from a trained model.

Example:
    gaga truncation --dataset qm9
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gaga.cli import options
from gaga.cli.allocator import keep_freed_memory
from gaga.cli.builder import takes
from gaga.cli.commands import Command, examples, new_app
from gaga.cli.render import Output, Table, attributes, by_row, open_store, stored, stored_line
from gaga.core.text import counted
from gaga.models.truncation_config import TruncationConfig  # noqa: TID253 - needs no torch

if TYPE_CHECKING:
    from gaga.models.truncation import TruncationResult

app = new_app()

_NOT_KNOWN = "not known from this model"
Plot = Annotated[
    Path | None,
    typer.Option("--plot", metavar="FILE.png", help="Draw nats over steps for each Gaussian (.png, .pdf, .svg)."),
]


def _steps(text: str) -> tuple[int, ...]:
    return options.parse_steps(text, last=options.LAST_STEP)


@app.command(
    cls=Command,
    epilog=examples(
        "gaga truncation --dataset qm9",
        "gaga truncation --checkpoint model.safetensors --max-molecules 5000 --plot nats.png",
        "gaga truncation --dataset qm9 --timesteps 50:550:50 --name truncation_fine",
    ),
)
@takes(
    TruncationConfig,
    parsers={"timesteps": _steps},
    defaults=("max_molecules", "batch_size"),
    without=("references", "n_resamples", "level"),
    among={"plot": "batch_size"},
)
def truncation(
    checkpoint: options.Checkpoint = None,
    dataset: options.Dataset = "qm9",
    split: options.Split = "valid",
    *,
    given: dict[str, Any],
    plot: Plot = None,
    overwrite: options.Overwrite = False,
    kernel: options.Kernel = "auto",
    precision: options.Precision = "float32",
    device: options.Device = "auto",
    store: options.StorePath = options.DEFAULT_STORE,
    name: options.Name = None,
    replace: options.Replace = False,
    seed: options.Seed = 0,
    threads: options.Threads = None,
    cache: options.Cache = None,
    json: options.Json = False,
) -> None:
    """How far noised molecules are from each reference Gaussian at T*: a KL divergence, bounded from below.

    The gap between the best linear denoiser and the network, integrated over the steps that are cut off (I-MMSE), on
    molecules that the network has not seen; no threshold is chosen. For each Gaussian the divergence of the matched one
    from it is added. Without --checkpoint: the newest finished run, or the model that ships with gaga.
    """
    options.use_threads(threads)
    keep_freed_memory()
    from gaga.runs import truncation as runs
    from gaga.runs.models import ModelRequest
    from gaga.runs.once import Policy
    from gaga.storage.images import check_plot

    output = Output(json=json)
    check_plot(plot, overwrite=overwrite)
    model = ModelRequest(
        checkpoint=checkpoint, kernel=kernel, precision=precision, device=device, dataset=dataset, cache=cache
    )
    request = runs.TruncationRequest(
        dataset=dataset, split=split, model=model, config=TruncationConfig(**given), name=name, seed=seed,
        threads=threads, cache=cache,
    )  # fmt: skip
    outcome, source = runs.run(request, open_store(store), Policy(replace=replace), output)
    if plot is not None:
        runs.draw(outcome.result, plot, output)
    head = {"stored": stored(outcome.entry, store, found=outcome.found), "checkpoint": source.path}
    output.show(
        {**head, **_payload(outcome.result), "plot": plot},
        *_tables(outcome.result),
        stored_line(outcome.entry, store, found=outcome.found),
    )


def _payload(result: "TruncationResult") -> dict[str, Any]:
    steps = enumerate(result.timesteps)
    return {
        "molecules": len(result.n_atoms),
        **attributes(result, "T max_t level"),
        "steps": [
            {"t": t, "alone": result.alone[s] if result.known[s] else None, "references": dict(_references(result, s))}
            for s, t in steps
        ],
        **attributes(result, "unknown_at_most=unknown quadrature_error=quadrature"),
        "nodes": by_row(**attributes(result, "t=node_t snr=node_snr linear exact_linear network share")),
    }


def _references(result: "TruncationResult", s: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """What is known of each reference Gaussian at one step."""
    for r, name in enumerate(result.references):
        found = {kind: getattr(result, kind)[s, r] if result.known[s] else None for kind in ("nats", "low", "high")}
        yield name, {**found, "gaussian": result.gaussian[s, r]}


def _tables(result: "TruncationResult") -> Iterator[Table | str]:
    matched = result.references.index("matched")
    others = [r for r in range(len(result.references)) if r != matched]
    yield Table(
        title=f"KL(q(z_T*) || Gaussian), nats per molecule, at least; {counted(len(result.n_atoms), 'molecule')}",
        columns=("T*", "matched", f"{100 * result.level:.0f} % interval", *(result.references[r] for r in others)),
        rows=[_row(result, s, matched, others) for s in range(len(result.timesteps))],
    )
    yield _unknown(result)
    yield f"All are lower bounds, which a better network raises; the quadrature errs by {result.quadrature:.1g} nats."


def _row(result: "TruncationResult", s: int, matched: int, others: list[int]) -> tuple[object, ...]:
    """One step: the bounds; at a T* of the model's own only what the other Gaussians add to the matched one."""
    t = result.timesteps[s]
    if not result.known[s]:
        return t, _NOT_KNOWN, "", *(f"+ {result.gaussian[s, r]:.4g}" for r in others)
    interval = f"{result.low[s, matched]:.4g} – {result.high[s, matched]:.4g}"
    return t, result.nats[s, matched], interval, *(result.nats[s, r] for r in others)


def _unknown(result: "TruncationResult") -> str:
    """What the numbers leave out, in a sentence."""
    if result.max_t == result.T:
        return f"Left out: the noise beyond step {result.T}, at most {result.unknown:.2g} nats."
    at_last = "" if result.known.all() else f" At {result.max_t} each number after + is what that Gaussian adds to it."
    return (
        f"Left out: the steps beyond {result.max_t}, on which the model was not trained. That adds the same to each "
        f"number, KL(q(z_{result.max_t}) || matched),\nwhich is {_NOT_KNOWN} (0 to {result.unknown:.3g} nats); "
        f"differences between steps do not depend on it.{at_last}"
    )
