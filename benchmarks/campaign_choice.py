"""Batch size and precision of a training run, from the figures of `gaga benchmark --json`, as options of gaga train.

python benchmarks/campaign_choice.py FILE      JSON objects one behind the other

The precision is that of the highest rate. Larger batches are always faster by the molecule, and take fewer steps: of
those within a tenth of the best rate the smallest is taken.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from campaign_table import Found, read_objects

_NEAR = 0.9


def choice(found: Sequence[Found]) -> tuple[int, str] | None:
    """Batch size and precision; None where nothing was measured."""
    rows = [row for one in found for row in one["rows"] if row["case"] == "qm9-train" and row["seconds"]]
    if not rows:
        return None
    best = max(rows, key=lambda row: row["molecules_per_second"])
    near = [
        row["batch"]
        for row in rows
        if row["precision"] == best["precision"] and row["molecules_per_second"] >= _NEAR * best["molecules_per_second"]
    ]
    return min(near), best["precision"]


def main() -> int:
    """Print the options, or say on stderr that there is nothing to choose from."""
    chosen = choice(read_objects(Path(sys.argv[1])))
    if chosen is None:
        print("no training step was measured", file=sys.stderr)
        return 1
    print(f"--batch-size {chosen[0]} --precision {chosen[1]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
