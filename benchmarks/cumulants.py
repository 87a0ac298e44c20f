"""The price of truncation from cumulants: is it right, and the tables of docs/TSTAR.md.

python benchmarks/cumulants.py tests              Gaussians of 5 to 29 atoms, scale mixtures, noise: minutes
python benchmarks/cumulants.py expansion          the leading term against an exact divergence
python benchmarks/cumulants.py subsets            T* of QM9 from 300, 1,000 and 4,000 molecules
python benchmarks/cumulants.py proposition        T* of H^(4) by weights and units, on QM9
"""

import argparse
import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2, gamma

from gaga import load_dataset
from gaga.core.molecules import PackedMolecules, offsets_of
from gaga.data.features import FeatureSpace
from gaga.noise import make_schedule
from gaga.stats.moments import estimate_moments
from gaga.stats.price import PriceResult, price
from gaga.stats.price_config import TOLERANCES, PriceConfig
from gaga.stats.price_curve import first_step, tstar_by_price
from gaga.stats.proposition import proposition

SCHEDULE, SPACE = make_schedule(), FeatureSpace((1, 6))
C4 = 1  # of positions, among the squares


def _measured(x: NDArray[np.float64], seed: int) -> PriceResult:
    """The price of molecules at these positions [n, N, 3], with random elements."""
    n, n_atoms = x.shape[:2]
    elements = np.where(np.random.default_rng(seed).random(n * n_atoms) < 0.5, 1, 6).astype(np.uint8)
    molecules = PackedMolecules(x.reshape(-1, 3).astype(np.float32), elements, offsets_of([n_atoms] * n))
    config = PriceConfig(n_pairs=100_000, n_resamples=100)
    return price(molecules, SPACE, SCHEDULE, estimate_moments(molecules, SPACE), config, seed=seed)


def _gaussian(rng: np.random.Generator, n: int, n_atoms: int) -> NDArray[np.float64]:
    x = rng.normal(size=(n, n_atoms, 3))
    return np.asarray(x - x.mean(axis=1, keepdims=True))


def _row(*cells: object) -> None:
    print("|", " | ".join(str(cell) for cell in cells), "|")


def tests(repeats: int) -> None:
    """How often the 95 % interval of ||C4||^2 of positions holds the truth."""
    _row("law", "atoms", "molecules", "true", "mean estimate", "its standard error", "interval holds, %")
    _row(*["---"] * 7)
    for n_atoms in (5, 9, 18, 29):
        d = 3 * (n_atoms - 1)
        for n in (50, 1000):
            laws = {"Gaussian": (None, 1.0), "mixture, r = 0.1": (0.1, 1.0), "the same, noised": (0.1, 0.5)}
            for law, (r, alpha2) in laws.items():
                truth = 0.0 if r is None else alpha2**4 * r**2 * (3 * d**2 + 6 * d)
                found, held = [], 0
                for seed in range(repeats):
                    rng = np.random.default_rng([seed, n_atoms, n])
                    scale = np.ones(n) if r is None else rng.gamma(1 / r, r, n)
                    x = _gaussian(rng, n, n_atoms) * np.sqrt(scale)[:, None, None]
                    z = np.sqrt(alpha2) * x + np.sqrt(1 - alpha2) * _gaussian(rng, n, n_atoms)
                    result = _measured(z, seed)
                    found.append(float(result.squares[0, C4]))
                    held += result.squares_low[0, C4] <= truth <= result.squares_high[0, C4]
                error = np.std(found, ddof=1) / np.sqrt(repeats)
                share = f"{100 * held / repeats:.0f}"
                _row(law, n_atoms, n, f"{truth:.3g}", f"{np.mean(found):.3g}", f"{error:.2g}", share)


def expansion() -> None:
    """kappa4^2 / 48 of x = sqrt(S) g, S of a gamma law of variance r, against its divergence from N(0, I)."""
    _row("D", "r", "divergence, nats", "leading term", "ratio")
    _row(*["---"] * 5)
    for d in (21, 51, 117):
        for r in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2):
            share = (np.arange(4000) + 0.5) / 4000
            scale = gamma.ppf(share, 1 / r, scale=r)
            edges = np.linspace(*np.log([chi2.ppf(1e-9, d) * scale[0], chi2.isf(1e-9, d) * scale[-1]]), 3000)
            u = np.exp(edges)
            mixture = np.mean([chi2.pdf(u / s, d) / s for s in scale], axis=0)
            there = mixture > 0
            logs = np.log(mixture[there]) - chi2.logpdf(u[there], d)
            exact = np.trapezoid(mixture[there] * logs * u[there], edges[there])
            term = r**2 * (3 * d**2 + 6 * d) / 48
            _row(d, r, f"{exact:.3g}", f"{term:.3g}", f"{term / exact:.2f}")


def subsets(repeats: int) -> None:
    """T* at 1 nat from random molecules of QM9, and how often its interval holds that of all."""
    data = load_dataset("qm9")
    space, molecules = FeatureSpace(data.vocabulary), data.molecules
    whole = price(molecules, space, SCHEDULE, estimate_moments(molecules, space))
    truth = tstar_by_price(whole.price, 1.0)
    print(f"All {len(molecules):,}: T* at 1 nat = {truth.text}")
    _row("molecules", "T* at 1 nat, mean", "its standard deviation", "interval holds that of all, %")
    _row(*["---"] * 4)
    for n in (300, 1000, 4000):
        found, held = [], 0
        for seed in range(repeats):
            some = molecules.take(np.sort(np.random.default_rng(seed).permutation(len(molecules))[:n]))
            result = price(some, space, SCHEDULE, estimate_moments(some, space), PriceConfig(n_pairs=50_000), seed=seed)
            t, low, high = tstar_by_price(result.price, 1.0)
            found.append(t or 0.0)
            held += (low or 0) <= (truth.t or 0) <= (SCHEDULE.T if high is None else high)
        _row(f"{n:,}", f"{np.mean(found):.0f}", f"{np.std(found, ddof=1):.0f}", f"{100 * held / repeats:.0f}")


def propositions() -> None:
    """T* from which H^(4) of positions, of types and of both stays at or below eps, by weights and units."""
    data = load_dataset("qm9")
    space = FeatureSpace(data.vocabulary)
    result = price(data.molecules, space, SCHEDULE, estimate_moments(data.molecules, space))
    _row("units", "beta, w_3, w_4", "eps", "positions", "types", "both")
    _row(*["---"] * 6)
    for units in ("columns", "whitened", "standard"):
        for name, weights in {"1, 1/6, 1/24": (1, 1 / 6, 1 / 24), "1, 1, 1": (1, 1, 1), "0, 0, 1": (0, 0, 1)}.items():
            h = proposition(result, weights, units)
            for eps in (0.1, 1.0):
                steps = (first_step(values, eps) for values in h.values())
                _row(units, name, eps, *("never" if t is None else f"{t:.0f}" for t in steps))
    for tolerance in TOLERANCES:
        print(f"By price, {tolerance:g} nats: T* = {tstar_by_price(result.price, tolerance).text}")


def main(words: Sequence[str] | None = None) -> int:
    """Print the table that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("tests", "expansion", "subsets", "proposition"))
    parser.add_argument("--repeats", type=int, default=20, help="draws of each row (20)")
    asked = parser.parse_args(words)
    if asked.what in ("tests", "subsets"):
        {"tests": tests, "subsets": subsets}[asked.what](asked.repeats)
    else:
        {"expansion": expansion, "proposition": propositions}[asked.what]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
