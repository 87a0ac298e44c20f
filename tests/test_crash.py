"""Commands are killed, disks fail them, writers meet: benchmarks/crash.py in short, and that it notices what is broken.

docs/RELIABILITY.md has the long runs.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="commands run in forks of one warm process")

_BREAK = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from gaga.storage import files
{broken}
import crash
sys.exit(crash.main())
"""
_IN_TWO_HALVES = """
def publish(partial, path):
    content = partial.read_bytes()
    path.write_bytes(content[:len(content) // 2])
    files.sync(path)
    path.write_bytes(content)
files._publish = publish
"""
_LEFT_BEHIND = "files.remove_abandoned = lambda folder: None"
QUICK = ("variance", "gaussianity", "train", "sample", "store delete", "data prepare")


def crash(folder: Path, *words: str, broken: str | None = None) -> subprocess.CompletedProcess[str]:
    """`benchmarks/crash.py`, where `broken` with a defect in the product."""
    script = ROOT / "benchmarks" / "crash.py"
    start = [str(script)] if broken is None else ["-c", _BREAK.format(broken=broken), str(script.parent)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *start, *words, "--folder", str(folder)],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip


@pytest.mark.slow
def test_nothing_is_lost_by_kills_failing_disks_and_writers_at_once(tmp_path: Path) -> None:
    commands = [word for name in QUICK for word in ("--command", name)]
    ran = crash(tmp_path, "--kills", "20", "--failures", "6", "--rounds", "2", *commands)
    assert ran.returncode == 0, ran.stderr
    assert "20 kills in" in ran.stdout
    assert "6 failures of the disk" in ran.stdout
    assert "8 writers, 2 rounds, 16 results: all there, all equal." in ran.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("broken", "told"),
    [(_IN_TWO_HALVES, "FAILED"), (_LEFT_BEHIND, "a run that was never killed does not leave")],
    ids=["published in two halves", "temporary files are left"],
)
def test_it_notices(tmp_path: Path, broken: str, told: str) -> None:
    ran = crash(tmp_path, "--kills", "200", "--command", "store export", "--command", "store delete", broken=broken)
    assert ran.returncode == 1, ran.stdout
    assert told in ran.stderr
    assert "Repeat it: python" in ran.stderr
