"""What a two-step method's held D may be when each step is tried several times: the figures of `solvers.repeated`.

    python benchmarks/resampling.py

Gaussian data of six atoms in a chain on one axis, three of them known, the exact denoiser, sde with churn 32 and 50
evaluations from step 550. Printed: the variance of the unknown atoms over that of their conditional law, mean of three.
`before`: D of the try before; `none`: no D after a jump back; `level`: D of the level before, held over the tries.
"""

import numpy as np
from numpy.typing import NDArray

from gaga.models.sampling.solvers import Solver, renewing, spaced, two_step
from gaga.noise import Schedule, make_schedule

N, K, DRAWS = 6, 3, 8000
FRAGMENT = np.array([1.0, -0.7, -0.3])


def returned(schedule: Schedule, solver: Solver, first: Solver, tries: int, held: str) -> float:
    """Variance of the unknown atoms over that of the conditional law."""
    rng, centre = np.random.default_rng(0), np.eye(N) - 1 / N
    far = np.abs(np.arange(N)[:, None] - np.arange(N))
    data = centre @ (2.0 * 0.97**far) @ centre
    inner = np.linalg.svd(np.eye(K) - 1 / K)[0][:, : K - 1].T @ np.eye(K, N)
    gain = data @ inner.T @ np.linalg.inv(inner @ data @ inner.T)
    law = data - gain @ inner @ data
    widths, axes = np.linalg.eigh(data)
    alpha, sigma = (np.append(v, end) for v, end in zip(schedule.alpha_sigma_at(solver.time), (1.0, 0.0), strict=True))

    def noise() -> NDArray[np.float64]:
        return rng.normal(size=(DRAWS, N)) @ centre

    x = gain @ inner[:, :K] @ FRAGMENT + rng.multivariate_normal(np.zeros(N), law, size=DRAWS)
    z, memory = alpha[0] * x + sigma[0] * noise(), np.zeros((DRAWS, N))
    for k in range(len(solver)):
        for attempt in range(tries if k < len(solver) - 1 else 1):
            eps = (z @ axes) * (sigma[k] / (alpha[k] ** 2 * widths.clip(min=0) + sigma[k] ** 2)) @ axes.T
            use = first if held == "none" and attempt else solver
            new = use.c_z[k] * z - use.c_eps[k] * eps + use.c_memory[k] * memory + use.sigma[k] * noise()
            if held != "level" or attempt == tries - 1:
                memory = solver.m_z[k] * z + solver.m_eps[k] * eps
            if k < len(solver) - 1:
                own = rng.normal(size=(DRAWS, K))
                mean = new[:, :K].mean(axis=1, keepdims=True) - sigma[k + 1] * own.mean(axis=1, keepdims=True)
                new[:, :K] = alpha[k + 1] * FRAGMENT + sigma[k + 1] * own + mean
                if attempt < tries - 1:
                    ratio = alpha[k] / alpha[k + 1]
                    new = ratio * new + np.sqrt(max(sigma[k] ** 2 - (ratio * sigma[k + 1]) ** 2, 0)) * noise()
            z = new
    return float((z[:, K:].var(axis=0) / np.diag(law)[K:]).mean())


def main() -> None:
    """Print the table."""
    schedule = make_schedule()
    times = spaced(schedule, 550.0, 50, "power")
    solver, first = renewing(schedule, times, 32.0), two_step(schedule, times, 1.0, 0.0)
    for held in ("before", "none", "level"):
        ratios = [f"{returned(schedule, solver, first, tries, held):.3g}" for tries in (1, 5, 10)]
        print(f"{held}: {', '.join(ratios)} of the conditional variance with 1, 5, 10 tries", flush=True)


if __name__ == "__main__":
    main()
