"""`gaga modalities`: molecules and images under the same noise, from the curves that ship or with your own data.

Example:
    gaga modalities --plot modalities.png
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gaga.cli import options
from gaga.cli.builder import takes
from gaga.cli.commands import Command, examples, new_app
from gaga.cli.render import Output, Table, attributes, open_store, stored, stored_line
from gaga.stats.modality_config import ModalityConfig

if TYPE_CHECKING:
    from gaga.stats.modalities import Modalities

app = new_app()

SHOWN = (0, 200, 400, 550, 650, 800)
CLOSE, MOST, NEAR = 0.01, 0.9, 1.0  # of D_t, of shares that pass, of H^(4)
WHAT_HOLDS = (
    "Do molecules become Gaussian before images?\n"
    "  D_t, step by step:            before digits and MNIST; positions after faces and photographs.\n"
    "  equally many values:          yes, before all images. A test of more values sees more: images fail longer.\n"
    "  equal signal-to-noise ratio:  positions before all images; types after faces and photographs.\n"
    "  equal variance, cumulants:    positions before types before all images, term by term.\n"
    "docs/MODALITIES.md says what each comparison sees, and what it does not."
)

Data = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        "-d",
        metavar="NAME|PATH",
        help="Measure this too: images:mnist, images:digits, images:faces, images:photos, arrays [M, N, C] in a .npy "
        "or .npz file, or molecules as other commands take them.",
    ),
]
Plot = Annotated[
    Path | None,
    typer.Option("--plot", metavar="FILE.png", help="Draw the comparison in four panels (.png, .pdf, .svg)."),
]


@app.command(
    cls=Command,
    epilog=examples(
        "gaga modalities                              from the curves that ship, at once",
        "gaga modalities --plot modalities.png",
        "gaga modalities --dataset images:mnist       measure it here; pip install 'gaga-mol[images]'",
        "gaga modalities --dataset mine.npy --centre data",
    ),
)
@takes(ModalityConfig, without=("alpha", "n_resamples", "level"))
def modalities(
    dataset: Data = None,
    *,
    given: dict[str, Any],
    plot: Plot = None,
    overwrite: options.Overwrite = False,
    store: options.StorePath = options.DEFAULT_STORE,
    name: options.Name = None,
    replace: options.Replace = False,
    resume: options.Resume = False,
    seed: options.Seed = 0,
    threads: options.Threads = None,
    cache: options.Cache = None,
    json: options.Json = False,
) -> None:
    """Do molecules become Gaussian before images? QM9 and four sets of images, compared in ways that are fair.

    A test sees more with more values, and what varies more drowns in noise later. So the comparison is also made with
    equally many values of each sample, at equal signal-to-noise ratio, and by cumulants at equal variance. Of molecules
    those with the median number of atoms are taken.
    """
    options.use_threads(threads)
    from gaga.runs import modalities as runs
    from gaga.runs.once import Policy
    from gaga.storage.images import check_plot

    output = Output(json=json)
    check_plot(plot, overwrite=overwrite)
    outcome = None
    if dataset is not None:
        request = runs.ModalitiesRequest(
            dataset=dataset, config=ModalityConfig(**given), name=name, seed=seed, threads=threads, cache=cache,
        )  # fmt: skip
        outcome = runs.run(request, open_store(store), Policy(resume=resume, replace=replace), output)
    shown = runs.beside_shipped(None if outcome is None else outcome.result)
    if plot is not None:
        runs.draw(shown, plot, output)
    own = () if outcome is None else outcome.result.names
    head = None if outcome is None else stored(outcome.entry, store, found=outcome.found)
    output.show(
        {"stored": head, **_payload(shown, own), "plot": plot},
        *_tables(shown),
        WHAT_HOLDS if outcome is None else stored_line(outcome.entry, store, found=outcome.found),
    )


def _payload(result: "Modalities", own: tuple[str, ...]) -> dict[str, Any]:
    steps, h, found = result.timesteps, result.proposition(), _from_which_step(result)
    return {
        **attributes(result, "schedule level alpha"),
        "modalities": [
            {
                "name": name,
                "shipped": name not in own,
                "centre": result.centre[k],
                **{key: getattr(result, key)[k] for key in ("samples", "values", "tested", "variance")},
                "from": {key: steps_of[k] for key, steps_of in found.items()},
                "steps": [
                    {"t": t, "alpha2": result.alpha2[s], "snr": result.snr[k, s], **_point(result, k, s), "h4": h[k, s]}
                    for s, t in enumerate(steps)
                ],
                "cumulants": {
                    "columns": result.columns[k],
                    "squared_norms": {
                        norm: {
                            "value": result.squares[k, i],
                            "low": result.squares_low[k, i],
                            "high": result.squares_high[k, i],
                        }
                        for i, norm in enumerate(("offdiag", "c3", "c4"))
                    },
                },
            }
            for k, name in enumerate(result.names)
        ],
    }


def _point(result: "Modalities", k: int, s: int) -> dict[str, Any]:
    """One modality at one step."""
    names = {
        "one_variance": ("distances", 0),
        "one_variance_reach": ("reach", 0),
        "own_variances": ("distances", 1),
        "own_variances_reach": ("reach", 1),
        "field_one_variance": ("null_distances", 0),
        "field_own_variances": ("null_distances", 1),
        "passes_all": ("passes", 0),
        "passes_equal": ("passes", 1),
        "field_passes_all": ("null_passes", 0),
        "field_passes_equal": ("null_passes", 1),
        "information_adjacent": ("information", 0),
        "information_random": ("information", 1),
    }
    return {key: getattr(result, attribute)[k, s, i] for key, (attribute, i) in names.items()}


def _from_which_step(result: "Modalities") -> dict[str, list[int | None]]:
    """The step of each modality from which it counts as Gaussian, by each comparison."""
    return {
        "distance": result.first_step(result.distances[..., 0] <= CLOSE),
        "own_variances": result.first_step(result.distances[..., 1] <= CLOSE),
        "passes_equal": result.first_step(result.passes[..., 1] >= MOST),
        "passes_all": result.first_step(result.passes[..., 0] >= MOST),
        "field_passes_all": result.first_step(result.null_passes[..., 0] >= MOST),
        "information_adjacent": result.first_step(result.information[..., 0] <= CLOSE),
        "h4": result.first_step(result.proposition() <= NEAR),
    }


def _tables(result: "Modalities") -> Iterator[Table]:
    found, steps = _from_which_step(result), result.timesteps.tolist()
    shown = [steps.index(t) for t in SHOWN if t in steps]
    names, at, fewer = result.names, tuple(f"t = {steps[s]}" for s in shown), shown[::2]
    equal = f"{' or '.join(str(n) for n in sorted(set(result.tested.tolist())))} values"
    there = [None if t is None else float(result.snr[k, steps.index(t)]) for k, t in enumerate(found["distance"])]
    yield Table(
        title=f"From which step on: D_t ≤ {CLOSE:g}; {100 * MOST:g} % of samples pass a KS test; H ≤ {NEAR:g}",
        columns=(
            "modality", "samples", "values", "variance", "D_t", "snr there", f"pass, {equal}", "pass, all values",
            "a Gaussian field", "H",
        ),
        rows=[
            (name, int(result.samples[k]), int(result.values[k]), float(result.variance[k]), found["distance"][k],
             there[k], found["passes_equal"][k], found["passes_all"][k], found["field_passes_all"][k], found["h4"][k])
            for k, name in enumerate(names)
        ],
        digits=2,
    )  # fmt: skip
    yield Table(
        title="D_t: KS distance of all entries to one Gaussian; in brackets to each entry's own mean and variance",
        columns=("modality", *at),
        rows=[
            (name, *(f"{one:.4f} ({own:.4f})" for one, own in result.distances[k, shown]))
            for k, name in enumerate(names)
        ],
    )
    yield Table(
        title=f"Share of samples that pass a KS test of level {100 * result.alpha:g} %: {equal} / all",
        columns=("modality", *at),
        rows=[
            (name, *(f"{some:.2f} / {every:.2f}" for every, some in result.passes[k, shown]))
            for k, name in enumerate(names)
        ],
    )
    yield Table(
        title=f"Norms of cumulants at variance 1 with {100 * result.level:g} % intervals, and H of Proposition 3.1",
        columns=("modality", "dimensions", "off-diagonal", "C3", "C4", *(f"H at {steps[s]}" for s in fewer)),
        rows=[
            (name, int(result.columns[k]), *(norm_text(result, k, i) for i in range(3)),
             *(float(result.proposition()[k, s]) for s in fewer))
            for k, name in enumerate(names)
        ],
        digits=3,
    )  # fmt: skip


def norm_text(result: "Modalities", k: int, i: int) -> str:
    """A norm with its interval; an end whose square is below 0 is 0."""
    norm, low, high = (float(values[k, i]) for values in (result.norms, result.squares_low, result.squares_high))
    if not high > 0:  # not known, or 0 by symmetry
        return _three_digits(norm)
    return f"{_three_digits(norm)} ({_three_digits(max(low, 0) ** 0.5)} – {_three_digits(high**0.5)})"


def _three_digits(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
