import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gaga.core.errors import Unavailable
from gaga.models.sampling import judge as judge_module
from gaga.models.sampling.judge import Judge, Judges
from gaga.models.sampling.molecules import Sampled

METHANE = np.array([[0, 0, 0], [1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]], dtype=np.float32) * 0.629
CH4 = np.array([6, 1, 1, 1, 1], dtype=np.uint8)


def molecules(n):
    """Methane, the same far apart, methane, and one that was not finite; and so on."""
    places = [METHANE, 4 * METHANE, METHANE, np.nan * METHANE]
    return [Sampled(i, CH4, places[i % 4], i % 4 != 3) for i in range(n)]


def judge_for(tmp_path, name="mols.sdf", keep="all"):
    return Judge(out=tmp_path / name, keep=keep, label="model:abc")


@pytest.mark.parametrize(
    ("keep", "name", "kept"),
    [("all", "m.sdf", [0, 1, 2, 3]), ("valid", "m.xyz", [0, 2]), ("stable", "m.sdf", [0, 2]), ("all", "m.SMI", [0, 2])],
)
def test_what_is_kept_has_a_text_and_what_is_not_finite_fails(tmp_path, keep, name, kept):
    judged = judge_for(tmp_path, name, keep)(5, molecules(4))
    assert [i for i, m in enumerate(judged) if m.text] == kept
    assert [(m.seed, m.index) for m in judged] == [(5, i) for i in range(4)]
    assert [m.valid for m in judged] == [m.stable for m in judged] == [True, False, True, False]
    assert [m.smiles for m in judged] == ["C", "", "C", ""]
    assert (judged[3].finite, judged[3].n_stable_atoms) == (False, 0)
    if judged[3].text:
        assert b"5 atoms" in judged[3].text, "flagged"
        assert b"  0  0  0  0" in judged[3].text, "and without coordinates"


def test_several_processes_say_what_one_says(tmp_path, monkeypatch):
    monkeypatch.setattr(judge_module, "_WORTH_PROCESSES", 50)
    judge = judge_for(tmp_path)
    with Judges(judge, 2) as judges:
        assert [m.text for m in judges(1, molecules(10))] == [m.text for m in judge(1, molecules(10))]
        assert judges._workers.pids == [], "ten are not worth it"
        found, expected = judges(1, molecules(100)), judge(1, molecules(100))
        pids = judges._workers.pids
    assert [(m.index, m.text, m.valid) for m in found] == [(m.index, m.text, m.valid) for m in expected]
    assert not any(is_running(pid) for pid in pids)


def test_processes_that_end_early_are_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(judge_module, "_WORTH_PROCESSES", 0)
    with Judges(judge_for(tmp_path), 2) as judges:
        judges(1, molecules(4))
        os.kill(judges._workers.pids[0], signal.SIGKILL)
        with pytest.raises(Unavailable, match="ended early"):
            judges(1, molecules(100))


_KILLED = """
import sys, time
from pathlib import Path
from gaga.models.sampling.judge import Judge, Judges
from tests.models.sampling.test_judge import molecules
if __name__ == "__main__":
    judges = Judges(Judge(out=Path("m.sdf"), keep="all", label=""), 2)
    judges(0, molecules(256))
    print(*judges._workers.pids, flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills with SIGKILL")
def test_processes_end_with_a_parent_that_is_killed(tmp_path):
    script = tmp_path / "killed.py"
    script.write_text(_KILLED)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, env=environment, text=True) as parent:
        pids = [int(word) for word in parent.stdout.readline().split()]
        parent.kill()
    deadline = time.monotonic() + 20
    while any(is_running(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(pids) == 2
    assert not any(is_running(pid) for pid in pids)


def is_running(pid):
    """Whether there is such a process, and it is no mere entry for a parent to collect."""
    try:
        os.kill(pid, 0)
        return sys.platform != "linux" or Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
