"""What each way of sampling does to the variance of Gaussian data, exactly and without a network.

    python benchmarks/variances.py                 the model that ships, 10, 20 and 50 evaluations
    python benchmarks/variances.py --checkpoint RUN --evaluations 8 100

1 keeps the distribution, less sharpens it (`gaga.models.sampling.solvers.returned_variance`). The widths are those of
the model's molecules, and 0.32 and 0.1 Å, of which bonds of all kinds and of one kind are.
"""

import argparse
import sys
from collections.abc import Sequence

from gaga import load_model
from gaga.models.sampling.config import METHODS, SampleConfig
from gaga.models.sampling.solvers import returned_variance, solver_of

_BONDS = (0.1, 0.01)  # Å^2


def main(words: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="qm9_large")
    parser.add_argument("--evaluations", type=int, nargs="+", default=[10, 20, 50])
    asked = parser.parse_args(words)
    model = load_model(asked.checkpoint)
    wide = float(model.known_moments().block[0])
    widths = (wide, *(variance / model.space.unit**2 for variance in _BONDS))
    print(f"| of variance {wide:.2f} / 0.1 / 0.01 | {' | '.join(map(str, asked.evaluations))} | every step |")
    print("|---" * (len(asked.evaluations) + 2) + "|")
    for method in METHODS:
        cells = []
        for steps in (*asked.evaluations, None):
            if steps is None and method not in ("ddpm", "ddim"):
                cells.append("")
                continue
            solver = solver_of(model, SampleConfig(method=method, steps=steps))
            cells.append(" / ".join(f"{ratio:.2f}" for ratio in returned_variance(model.schedule, solver, widths)))
        print(f"| {method} | {' | '.join(cells)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
