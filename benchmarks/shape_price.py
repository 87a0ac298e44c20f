"""What a start from random shapes costs and saves, by other means than cumulants: the tables of docs/TSTAR.md.

python benchmarks/shape_price.py eigenvalues                  KL of gyration eigenvalues of QM9: what shapes save
python benchmarks/shape_price.py frames [--dataset FILE]      an expansion around random shapes
python benchmarks/shape_price.py sizes [--dataset FILE]       one T* against a T* of each number of atoms, in steps

KL(q || shape) = KL(q || Gaussian) - KL(eigenvalues under q || under the Gaussian). The Gaussian's eigenvalues have a
density in closed form (Wishart, James 1964), the data's is estimated from the fourth-nearest neighbours of their
logarithms (Kozachenko and Leonenko 1987), for each number of atoms of 1,000 molecules or more.

Around shapes: z = U diag(s) R' has a uniform frame U under shapes, whatever s. Of U the lowest polynomials that
molecules change are f_ab = sum over atoms of U_a^2 U_b^2, six numbers, along the molecule's own axes. With m the mean
of f under q, m_0 and V its mean and covariance under uniform frames, the leading term is (m - m_0)' V^-1 (m - m_0) / 2,
without bias; sizes of 200 molecules or more have means of their own, others one together.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.special import digamma, multigammaln

from gaga import load_dataset
from gaga.core.molecules import PackedMolecules
from gaga.core.progress import Reporter
from gaga.core.statistics import bootstrap_weights
from gaga.data.features import FeatureSpace
from gaga.noise import make_schedule
from gaga.runs.inputs import DataRequest, select
from gaga.stats.moments import estimate_moments
from gaga.stats.price import price
from gaga.stats.price_config import TOLERANCES
from gaga.stats.price_curve import first_step

SCHEDULE = make_schedule()
STEPS = (250, 350, 400, 450, 500, 550, 600, 650, 700, 750, 800, 850, 900)
OWN, FEW, MOST, FRAMES = 1000, 200, 4000, 20_000
NEIGHBOUR = 4


def _row(*cells: object) -> None:
    print("|", " | ".join(str(cell) for cell in cells), "|", flush=True)


def _by_size(molecules: PackedMolecules, least: int, most: int) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Numbers of molecules of each size, and centred positions of at most `most` of them, [n, N, 3]."""
    for n in np.unique(molecules.n_atoms[molecules.n_atoms > 4]):
        chosen = np.flatnonzero(molecules.n_atoms == n)
        if len(chosen) >= least:
            x = molecules.take(chosen[:most]).positions.astype(np.float64).reshape(-1, int(n), 3)
            yield len(chosen), x - x.mean(axis=1, keepdims=True)


def _noised(x: NDArray[np.float64], t: int, rng: np.random.Generator) -> NDArray[np.float64]:
    eps = rng.normal(size=x.shape)
    eps -= eps.mean(axis=1, keepdims=True)
    return np.asarray(np.sqrt(SCHEDULE.alpha2[t]) * x + np.sqrt(SCHEDULE.sigma2[t]) * eps)


def _log_ratios(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Estimates of ln q / ln p of the eigenvalues of each molecule, p those of Gaussians of the same variance."""
    m, free = len(z), z.shape[1] - 1
    w = np.linalg.eigvalsh(z.swapaxes(1, 2) @ z)[:, ::-1]
    v = float(w.sum() / (3 * m * free))
    gaps = np.log(w[:, 0] - w[:, 1]) + np.log(w[:, 0] - w[:, 2]) + np.log(w[:, 1] - w[:, 2])
    constant = 4.5 * np.log(np.pi) - 1.5 * free * np.log(2 * v) - multigammaln(free / 2, 3) - multigammaln(1.5, 3)
    y = np.log(w)
    log_p = constant + (free - 4) / 2 * y.sum(axis=1) - w.sum(axis=1) / (2 * v) + gaps + y.sum(axis=1)
    whiten = np.linalg.cholesky(np.linalg.inv(np.cov(y.T)))
    distance = cKDTree(y @ whiten).query(y @ whiten, k=NEIGHBOUR + 1)[0][:, NEIGHBOUR]
    log_q = digamma(NEIGHBOUR) - digamma(m) - np.log(4 / 3 * np.pi) - 3 * np.log(distance)
    return np.asarray(log_q + np.linalg.slogdet(whiten)[1] - log_p)


def eigenvalues(molecules: PackedMolecules) -> None:
    """KL of the eigenvalues, averaged over sizes, with its standard error, and the same of true Gaussians."""
    rng, found = np.random.default_rng(0), []
    for n, x in _by_size(molecules, OWN, len(molecules)):
        rows = [(_log_ratios(_noised(x, t, rng)), _log_ratios(_noised(0 * x, SCHEDULE.T, rng))) for t in STEPS]
        found.append((n, [(a.mean(), a.var() / len(a), b.mean()) for a, b in rows]))
    weights = np.array([n for n, _ in found]) / sum(n for n, _ in found)
    values = np.array([rows for _, rows in found])
    _row("t", "nats", "standard error", "of true Gaussians")
    _row(*["---"] * 4)
    for s, t in enumerate(STEPS):
        error = np.sqrt(weights**2 @ values[:, s, 1])
        _row(t, f"{weights @ values[:, s, 0]:.3f}", f"{error:.3f}", f"{weights @ values[:, s, 2]:.3f}")


def _frames(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """f of each molecule, [n, 6]."""
    u = np.linalg.svd(z - z.mean(axis=1, keepdims=True), full_matrices=False)[0] ** 2
    first, second = np.triu_indices(3)
    return np.asarray((u[:, :, first] * u[:, :, second]).sum(axis=1))


def frames(molecules: PackedMolecules) -> None:
    """The leading term around random shapes, with bootstrap intervals over molecules."""
    rng = np.random.default_rng(0)
    values: dict[int, list[NDArray[np.float64]]] = {t: [] for t in STEPS}
    counts = []
    for n, x in _by_size(molecules, 1, MOST):
        uniform = _frames(rng.normal(size=(FRAMES, x.shape[1], 3)))
        whiten = np.linalg.cholesky(np.linalg.inv(np.cov(uniform.T)))
        counts.append((n, len(x)))
        for t in STEPS:
            values[t].append((_frames(_noised(x, t, rng)) - uniform.mean(axis=0)) @ whiten)
    _row("t", "nats", "95 % interval")
    _row("---", "---", "---")
    means = np.array([_of_groups(values[t], counts, np.random.default_rng(1)) for t in STEPS])
    for t, (nats, *others) in zip(STEPS, means, strict=True):
        low, high = np.quantile(others, [0.025, 0.975])
        _row(t, f"{nats:.3f}", f"{low:.3f} to {high:.3f}")
    for tolerance in TOLERANCES:
        every = np.arange(STEPS[0], STEPS[-1] + 1)
        curve = np.exp(np.interp(every, STEPS, np.log(np.maximum(means[:, 0], 1e-6))))
        found = first_step(curve, tolerance)
        print(f"T* at {tolerance:g} nats: {_said(found)}")


def _said(found: float | None) -> str:
    if found is None:
        return "none"
    return f"{STEPS[0] + found:.0f}" if found else f"{STEPS[0]} or before"


def _of_groups(
    values: Sequence[NDArray[np.float64]], counts: Sequence[tuple[int, int]], rng: np.random.Generator, n: int = 200
) -> NDArray[np.float64]:
    """Half of the squared mean, averaged over sizes: of the sample, then of n resamples, moved by their own bias."""
    few = [f for f, (_, m) in zip(values, counts, strict=True) if m < FEW]
    groups = [(c, f) for f, (c, m) in zip(values, counts, strict=True) if m >= FEW]
    if few:
        groups.append((sum(len(f) for f in few), np.concatenate(few)))
    total, found = sum(c for c, _ in groups), np.zeros(1 + n)
    for c, f in groups:
        bias = f.var(axis=0, ddof=1).sum() / len(f)
        means = np.vstack([f.mean(axis=0), bootstrap_weights(len(f), n, rng) @ f])
        squares = (means**2).sum(axis=1) - bias
        squares[1:] -= bias
        found += c / total * squares / 2
    return found


def sizes(molecules: PackedMolecules, vocabulary: tuple[int, ...]) -> None:
    """One T* for all sizes, and T* of each size at the same price, in steps."""
    space = FeatureSpace(vocabulary)
    result = price(molecules, space, SCHEDULE, estimate_moments(molecules, space))
    shares = result.molecules / result.molecules.sum()
    one = shares @ result.nats_by_size
    _row("nats", "one T*", "mean T* by size", "its range", "price by size at the one T*'s mean number of steps")
    _row(*["---"] * 5)
    for tolerance in TOLERANCES:
        at = first_step(one, tolerance) or 0.0
        own = np.array([first_step(row, tolerance) or 0.0 for row in result.nats_by_size])
        low, high = 1e-5, 50.0
        for _ in range(40):
            middle = float(np.sqrt(low * high))
            mean = shares @ np.array([first_step(row, middle) or 0.0 for row in result.nats_by_size])
            low, high = (middle, high) if mean > at else (low, middle)
        _row(f"{tolerance:g}", f"{at:.1f}", f"{shares @ own:.1f}", f"{own.min():.0f} to {own.max():.0f}", f"{high:.3f}")


def main(words: Sequence[str] | None = None) -> int:
    """Print the table that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("eigenvalues", "frames", "sizes"))
    parser.add_argument("--dataset", default="qm9", help="a name, or your own molecules (qm9)")
    asked = parser.parse_args(words)
    own = Path(asked.dataset)
    data = select(DataRequest(dataset=own), Reporter()).dataset if own.exists() else load_dataset(asked.dataset)
    if asked.what == "sizes":
        sizes(data.molecules, data.vocabulary)
    else:
        {"eigenvalues": eigenvalues, "frames": frames}[asked.what](data.molecules)
    return 0


if __name__ == "__main__":
    sys.exit(main())
