"""docs/TUTORIAL.md does what it says: its commands, in order, made short."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from gaga.chem.io import Record, read_molecules

ROOT = Path(__file__).parents[1]
# What makes a command short; each is one of the tutorial's words, or this test would not run the tutorial.
SHORT = {
    "cp CLONE/examples/mosesaq_xtb_1000.sdf.gz mine.sdf.gz": "gzip -dc CLONE/examples/mosesaq_xtb_1000.sdf.gz | "
    "awk 'n < 60; /^[$]/ { n++ }' | gzip > mine.sdf.gz",
    "gaussianity --dataset mine.h5": "gaussianity --dataset mine.h5 --timesteps 200:1000:200 --n-null 200",
    "--budget 5m": "--steps 2",
    "--stability-samples 20": "--stability-samples 1",
    "--n 50": "--n 3 --steps 4",
}


def commands() -> list[str]:
    """The lines of the tutorial's shell blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "TUTORIAL.md").read_text(encoding="utf-8"), re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def shortened(line: str) -> str:
    for long, short in SHORT.items():
        line = line.replace(long, short)
    return line


def test_the_short_form_is_of_the_tutorial() -> None:
    for words in SHORT:
        assert any(words in line for line in commands()), f"the tutorial no longer says {words}"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the tutorial is written for a POSIX shell")
def test_the_tutorial_runs(tmp_path: Path) -> None:
    folder = tmp_path / "my-molecules"
    program = f"{shlex.quote(sys.executable)} -m gaga"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    told = {}
    for line in commands():
        typed = shortened(line).replace("CLONE", shlex.quote(str(ROOT))).replace("gaga ", f"{program} ", 1)
        where = folder if folder.is_dir() else tmp_path
        ran = subprocess.run(typed, shell=True, cwd=where, env=environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, f"{line}\n{ran.stderr}"
        told[line] = ran.stdout
    assert (folder / "tstar.png").stat().st_size > 1000
    assert len([m for m in read_molecules(folder / "new.sdf") if isinstance(m, Record)]) == 3
    assert any("60 molecules" in text for text in told.values())
