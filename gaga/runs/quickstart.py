"""The whole way on the real QM9: variance, T* of a hundredth of it, molecules of the shipped model, their quality."""

from dataclasses import dataclass
from pathlib import Path

from gaga.core.progress import Reporter
from gaga.evaluation import evaluate
from gaga.models.api import SHIPPED_CHECKPOINT
from gaga.models.sampling.record import SampleSummary
from gaga.runs import gaussianity, sample, variance, view
from gaga.runs.gaussianity import GaussianityRequest
from gaga.runs.models import ModelRequest
from gaga.runs.once import Key, Policy
from gaga.runs.sample import SampleRequest
from gaga.runs.variance import VarianceRequest
from gaga.runs.view import ViewRequest
from gaga.stats.config import GaussianityConfig, TstarConfig
from gaga.stats.plots import plot_tstar
from gaga.stats.tstar import TstarResult, tstar
from gaga.stats.variance import VarianceResult
from gaga.storage.files import refuse_to_overwrite, require_writable
from gaga.storage.store import Store

NAME = "quickstart"  # of every result
FRACTION = 0.01  # of QM9
RATES = ("atom_stable", "molecule_stable", "valid", "connected", "valid_and_unique", "novel")


@dataclass(frozen=True, kw_only=True)
class Files:
    """What quickstart writes."""

    molecules: Path
    plot: Path
    page: Path
    store: Path


@dataclass(frozen=True, kw_only=True)
class Quickstart:
    """What it found.

    Attributes:
        variance: the published number and the true variances of QM9, by name.
        tstar: T* of one per cent of QM9. drawn: counts of the new molecules.
        rates: shares of the new molecules by EDM's protocol, and `real` of QM9's, by name.
    """

    variance: dict[str, float]
    tstar: TstarResult
    drawn: SampleSummary
    rates: dict[str, float]
    real: dict[str, float]


def run(
    files: Files,
    report: Reporter,
    *,
    n: int = 20,
    seed: int = 0,
    threads: int | None = None,
    device: str = "auto",
    overwrite: bool = False,
    cache: Path | None = None,
) -> Quickstart:
    """Compute and write everything.

    Raises:
        Conflict: a file is already there. Unavailable: it cannot be written.
    """
    for path in (files.molecules, files.plot, files.page):
        refuse_to_overwrite(path, overwrite=overwrite)
        require_writable(path)
    store, anew = Store(files.store), Policy(resume=None, replace=True)
    report.note("1/4  Variance of QM9: every convention, all 130,831 molecules.")
    variances = variance.run(VarianceRequest(name=NAME, cache=cache), store, anew, report).result
    report.note(f"2/4  Gaussianity under noise, on {FRACTION:.0%} of QM9, and T*.")
    request = GaussianityRequest(
        fraction=FRACTION, config=GaussianityConfig(n_null=1000), name=NAME, seed=seed, threads=threads, cache=cache,
        # MPS has the network's float32, but not the statistics' float64.
        device="cpu" if device.lower() == "mps" else device,
    )  # fmt: skip
    curves = gaussianity.run(request, store, anew, report).result
    found = tstar(curves, TstarConfig(), seed=seed)
    key = Key(kind="tstar", name=NAME, config={"of": f"gaussianity/{NAME}"}, inputs={}, seed=seed)
    key.put(store, found, replace=True)
    plot_tstar(found, curves, files.plot)
    report.note(f"3/4  {n} molecules from the shipped model, which was trained to the paper's T* of 550.")
    model = ModelRequest(checkpoint=SHIPPED_CHECKPOINT, device=device)
    drawing = SampleRequest(out=files.molecules, n=n, seed=seed, name=NAME, model=model)
    drawn, _ = sample.run(drawing, store, Policy(overwrite=True), report)
    assert drawn is not None  # noqa: S101 - cannot happen: this process is the only one
    report.note("4/4  How good they are, compared with real molecules.")
    judged = evaluate(files.molecules, workers=1, seed=seed)
    assert judged.real_data is not None  # noqa: S101 - cannot happen: QM9's row ships with gaga
    rates, real = dict(judged.rates.items()), dict(judged.real_data.rates.items())
    view.run(ViewRequest(source=files.molecules, out=files.page, overwrite=True, seed=seed, threads=1), store, report)
    measured = {name: rates[name].value for name in RATES if rates[name].denominator}
    return Quickstart(
        variance=_published_and_true(variances),
        tstar=found,
        drawn=drawn.result,
        rates=measured,
        real={name: real[name].value for name in measured},
    )


def _published_and_true(result: VarianceResult) -> dict[str, float]:
    published = "standard deviation of all columns (published as the variance)"
    found = {published: float(result.standard_deviation_biased.mean[result.blocks.index("all")])}
    for i, block in enumerate(result.blocks):
        found[f"variance of {block} on the zero-mean subspace"] = float(result.variance_subspace.mean[i])
    return found
