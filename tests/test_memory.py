"""Commands stream: benchmarks/memory.py in short, on the real QM9. docs/RELIABILITY.md, 8, has the long runs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory in kB")
@pytest.mark.parametrize(
    ("command", "few", "many", "most"),
    [
        # Promised are 50 MB for 120,000 molecules, and 90 with the pairs of the price; before they streamed they took
        # 93, 396 and 277.
        ("variance", 10_000, 130_000, 50),
        ("gaussianity", 10_000, 130_000, 90),
        ("evaluate", 2_000, 12_000, 12),
    ],
)
def test_memory_hardly_grows_with_the_number_of_molecules(command: str, few: int, many: int, most: float) -> None:
    script = [sys.executable, str(ROOT / "benchmarks" / "memory.py"), str(few), str(many)]
    ran = subprocess.run(
        [*script, "--commands", command, "--timesteps", "500"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )
    assert ran.returncode == 0, ran.stderr
    grown = re.search(r"grows by (-?\d+) MB", ran.stdout)
    assert grown is not None
    assert float(grown[1]) < most, ran.stdout
