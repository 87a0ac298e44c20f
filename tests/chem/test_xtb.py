"""Relaxation by xtb: by the program itself where it is installed, and by a small stand-in everywhere."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gaga.chem import xtb
from gaga.core.errors import Unavailable

WATER = np.array([8, 1, 1], dtype=np.uint8)
STRETCHED = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.9, 0.2, 0.0]])
real = pytest.mark.skipif(xtb.available() is None, reason="the program xtb is not installed")

RELAXES = """
printf '3\\n energy: -5.0 gnorm: 0.1 xtb: 6.5.1\\nO 0 0 0\\nH 0 0 1\\nH 1 0 0\\n' > xtbopt.log
printf '3\\n energy: -5.5 gnorm: 0.1 xtb: 6.5.1\\nO 0 0 0.5\\nH 0 0 1\\nH 1 0 0\\n' > xtbopt.xyz
"""
COMPLAINS = """
echo '[ERROR] Program stopped due to fatal error'
echo '-2- Geometry optimization failed'
echo '-1- scf: Self consistent   charge iterator did not converge'
echo '####'
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Make a shell script the program `xtb`."""

    def make(script: str) -> Path:
        program = tmp_path / "bin" / "xtb"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{script}")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
        return program

    return make


def test_reads_geometry_and_energies(stand_in, tmp_path):
    program = stand_in(f'echo "$@ $OMP_NUM_THREADS" > {tmp_path}/said; cp start.xyz {tmp_path}; {RELAXES}')
    relaxed = xtb.relax(WATER, STRETCHED, charge=-1, unpaired=1, timeout_s=1e30, cwd=tmp_path)
    assert xtb.available() == str(program)
    assert relaxed.positions.tolist() == [[0, 0, 0.5], [0, 0, 1], [1, 0, 0]]
    assert (relaxed.energy_start, relaxed.energy_end) == (-5.0, -5.5)
    assert relaxed.relaxation_energy == pytest.approx(313.7547)
    assert (tmp_path / "said").read_text() == "start.xyz --gfn 2 --opt --chrg -1 --uhf 1 1\n"
    assert (tmp_path / "start.xyz").read_text().splitlines()[2:4] == [
        "O 0.000000000000 0.000000000000 0.000000000000",
        "H 0.000000000000 0.000000000000 1.000000000000",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "said", "start.xyz"]


@pytest.mark.parametrize(
    ("script", "reason", "line"),
    [
        (f"{COMPLAINS} exit 1", xtb.FAILED, "Geometry optimization failed: scf: Self consistent charge iterator did"),
        (f"touch NOT_CONVERGED; {COMPLAINS} exit 1", xtb.NO_CONVERGENCE, "charge iterator did not converge"),
        (f"{RELAXES} echo '*** FAILED TO CONVERGE GEOMETRY OPTIMIZATION IN 2 ITERATIONS'", xtb.NO_CONVERGENCE, ""),
        ("exit 7", xtb.FAILED, "exit code 7"),
        ("kill -SEGV $$", xtb.FAILED, "signal 11"),
        ("true", xtb.FAILED, "no relaxed geometry"),
        (f"{RELAXES} echo 3 > xtbopt.xyz", xtb.FAILED, "no relaxed geometry"),
        (f"{RELAXES} sed -i 's/energy: -5.5/energy: NaN/' xtbopt.xyz", xtb.FAILED, "no number"),
        (f"{RELAXES} sed -i '$d' xtbopt.xyz", xtb.FAILED, "no relaxed geometry"),
        ("sleep 60", xtb.TOO_SLOW, "more than 0.2 s"),
    ],
)
def test_failures_say_what_xtb_said(stand_in, tmp_path, script, reason, line):
    stand_in(script)
    with pytest.raises(xtb.NotRelaxed) as error:
        xtb.relax(WATER, STRETCHED, timeout_s=0.2 if "sleep" in script else 30, cwd=tmp_path)
    assert error.value.reason == reason
    assert line in error.value.line
    assert "\n" not in error.value.line
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]


@pytest.mark.parametrize(
    ("numbers", "positions", "arguments", "said"),
    [
        ([], np.zeros((0, 3)), {}, "no atoms"),
        ([1, 1], [[0, 0, 0], [0, 0, np.nan]], {}, "not finite"),
        ([118], [[0, 0, 0]], {}, "atomic number 118"),
        ([1, 1], [[0, 0, 0], [0, 0, 1]], {"unpaired": 1}, "2 electrons, 1 of them unpaired"),
        ([1], [[0, 0, 0]], {"charge": 2}, "-1 electrons"),
    ],
)
def test_what_xtb_cannot_treat_is_not_given_to_it(stand_in, numbers, positions, arguments, said):
    stand_in("touch /nowhere/was-run; exit 3")
    with pytest.raises(xtb.NotRelaxed, match=said):
        xtb.relax(np.array(numbers, dtype=np.uint8), np.array(positions, dtype=float), **arguments)


def test_the_program_is_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert xtb.available() is None
    with pytest.raises(Unavailable, match="not installed"):
        xtb.relax(WATER, STRETCHED)


def test_a_program_that_cannot_be_run(stand_in):
    stand_in("").write_text("#!/nowhere/sh\n")
    with pytest.raises(Unavailable, match="cannot be run"):
        xtb.relax(WATER, STRETCHED)


CALLER = """
import signal
import numpy as np
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs, and theirs, ignore
from gaga.chem import xtb
xtb.relax(np.array([1], dtype=np.uint8), np.zeros((1, 3)), timeout_s=60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no process groups on Windows")
def test_an_interrupted_run_leaves_nothing_running(stand_in, tmp_path):
    stand_in(f"sleep 61 & echo $! $$ > {tmp_path}/pids.part; mv {tmp_path}/pids.part {tmp_path}/pids; wait")
    (tmp_path / "tmp").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    caller = subprocess.Popen([sys.executable, "-c", CALLER], env=environment, stderr=subprocess.DEVNULL)
    _wait_for((tmp_path / "pids").exists)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    caller.send_signal(signal.SIGINT)
    assert caller.wait(30)
    _wait_for(lambda: not any(_runs(pid) for pid in pids))
    assert not list((tmp_path / "tmp").iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="there are no process groups on Windows")
def test_an_interruption_while_the_program_starts_ends_it(stand_in, tmp_path, monkeypatch):
    """The moment between the program's start and the line that will end it."""
    stand_in("sleep 61")
    started, start = [], subprocess.Popen

    def interrupted(*arguments, **named):
        started.append(start(*arguments, **named))
        signal.raise_signal(signal.SIGINT)
        return started[0]

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            xtb.relax(WATER, STRETCHED, timeout_s=60)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert started[0].returncode == -signal.SIGKILL


def _wait_for(condition) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat_file = Path(f"/proc/{pid}/stat")
    return not (stat_file.exists() and stat_file.read_text().rpartition(")")[2].split()[0] == "Z")


@real
def test_relaxes_water():
    relaxed = xtb.relax(WATER, STRETCHED, timeout_s=60)
    oh = np.linalg.norm(relaxed.positions[1:] - relaxed.positions[0], axis=1)
    assert oh == pytest.approx([0.959, 0.959], abs=0.003)
    assert relaxed.energy_end == pytest.approx(-5.070544, abs=1e-5)  # GFN2-xTB's water
    assert relaxed.energy_start == pytest.approx(-5.061158, abs=1e-5)
    assert relaxed.relaxation_energy == pytest.approx(5.89, abs=0.02)


@real
def test_takes_the_charge():
    ammonium = np.array([[0, 0, 0], [0.6, 0.6, 0.6], [-0.6, -0.6, 0.6], [-0.6, 0.6, -0.6], [0.6, -0.6, -0.6]], float)
    relaxed = xtb.relax(np.array([7, 1, 1, 1, 1], dtype=np.uint8), ammonium, charge=1, timeout_s=60)
    assert np.linalg.norm(relaxed.positions[1:] - relaxed.positions[0], axis=1) == pytest.approx([1.03] * 4, abs=0.02)


@real
def test_one_atom():
    relaxed = xtb.relax(np.array([1], dtype=np.uint8), np.array([[1.0, 2.0, 3.0]]), timeout_s=60)
    assert relaxed.relaxation_energy == 0
    assert relaxed.positions.tolist() == [[1.0, 2.0, 3.0]]


@real
def test_says_what_xtb_says_of_atoms_on_top_of_each_other():
    with pytest.raises(xtb.NotRelaxed, match="did not converge"):
        xtb.relax(np.array([1, 1], dtype=np.uint8), np.array([[0, 0, 0], [0, 0, 0.01]]), charge=1, timeout_s=60)
