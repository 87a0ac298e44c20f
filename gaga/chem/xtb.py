"""GFN2-xTB geometry relaxation through the program `xtb`, if it is installed.

GFN2-xTB: Bannwarth, Ehlert, Grimme 2019 (doi:10.1021/acs.jctc.8b01176), the level of theory of GEOM and QMugs. One
run is one process of one thread in a folder of its own, killed with all that it started when it is no longer wanted.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float64, Integer

from gaga.chem.elements import symbol_of
from gaga.core.errors import InvalidInput, Unavailable

PROGRAM = "xtb"
HARTREE = 627.5094740630558  # kcal/mol, CODATA 2018
HEAVIEST = 86  # radon; GFN2 has no parameters beyond
TIMEOUT_S = 600.0  # for one molecule; a drug-like one takes 1 to 10 seconds

NO_CONVERGENCE = "xtb did not converge"
TOO_SLOW = "xtb took too long"
FAILED = "xtb failed"
_UNTREATED = "xtb cannot treat it"

_ENERGY = re.compile(r"energy:\s*(\S+)")
_VERSION = re.compile(r"xtb version (\S+)")
_COMPLAINT = re.compile(r"^-\d+- (.*)$", re.MULTILINE)
_NOT_CONVERGED = "FAILED TO CONVERGE GEOMETRY OPTIMIZATION"
_LONGEST = 365 * 24 * 3600.0  # s; the system's clocks take no number beyond some centuries
_LAST = 1 << 20  # bytes of the program's output that are looked at
_ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class NotRelaxed(InvalidInput):
    """A molecule that xtb did not relax.

    Attributes:
        reason: why, in a few fixed words to count by.
    """

    def __init__(self, reason: str, detail: str | None = None) -> None:
        self.reason = reason
        super().__init__(f"{reason}: {detail}" if detail else reason)


@dataclass(frozen=True, eq=False)
class Relaxed:
    """A relaxed molecule of N atoms.

    Attributes:
        positions: [N, 3] in Å, in the frame of those that were given.
        energy_start: GFN2 energy of the given geometry in Hartree.
        energy_end: GFN2 energy of the relaxed geometry in Hartree.
    """

    positions: Float64[np.ndarray, "N 3"]
    energy_start: float
    energy_end: float

    @property
    def relaxation_energy(self) -> float:
        """What relaxation gained, energy_start - energy_end, in kcal/mol."""
        return (self.energy_start - self.energy_end) * HARTREE


def available() -> str | None:
    """The path of the program; None if it is not installed."""
    return shutil.which(PROGRAM)


def require() -> str:
    """The path of the program.

    Raises:
        Unavailable: it is not installed.
    """
    program = available()
    if program is None:
        raise Unavailable(
            "the program xtb is not installed", remedy="apt install xtb, conda install -c conda-forge xtb, or leave it"
        )
    return program


def version() -> str:
    """The version of the program, such as 6.5.1; empty if it does not tell.

    Raises:
        Unavailable: it is not installed.
    """
    try:
        said = subprocess.run([require(), "--version"], capture_output=True, timeout=60, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = _VERSION.search(said.decode("utf-8", "replace"))
    return found[1] if found else ""


def relax(
    atomic_numbers: Integer[np.ndarray, " N"],
    positions: Float[np.ndarray, "N 3"],
    *,
    charge: int = 0,
    unpaired: int = 0,
    timeout_s: float = TIMEOUT_S,
    cwd: Path | None = None,
) -> Relaxed:
    """The geometry at the nearest minimum of GFN2-xTB, at xtb's normal thresholds.

    Args:
        atomic_numbers: [N].
        positions: [N, 3] in Å.
        charge: total charge.
        unpaired: number of unpaired electrons; 0 for as few as there can be.
        timeout_s: seconds after which the run is given up.
        cwd: where the run has its temporary folder; None for the system's.

    Raises:
        Unavailable: the program is not installed, or cannot be run.
        NotRelaxed: no atoms, positions that are not finite, elements beyond radon, a number of unpaired electrons
            that cannot be; or the program failed, did not converge or took longer than `timeout_s`.
    """
    program = require()
    _check(atomic_numbers, positions, charge, unpaired)
    with tempfile.TemporaryDirectory(prefix="gaga-xtb-", dir=cwd) as name:
        folder = Path(name)
        # not atomic: it goes with its folder
        (folder / "start.xyz").write_text(_xyz(atomic_numbers, positions), encoding="ascii")
        command = [program, "start.xyz", "--gfn", "2", "--opt", "--chrg", str(charge), "--uhf", str(unpaired)]
        code = _run(command, folder, timeout_s)
        return _read(folder, code, len(atomic_numbers))


def _check(
    atomic_numbers: Integer[np.ndarray, " N"], positions: Float[np.ndarray, "N 3"], charge: int, unpaired: int
) -> None:
    if not len(atomic_numbers) or not np.isfinite(positions).all():
        raise NotRelaxed(_UNTREATED, "no atoms" if not len(atomic_numbers) else "positions that are not finite")
    if not 1 <= atomic_numbers.min() <= atomic_numbers.max() <= HEAVIEST:
        raise NotRelaxed(_UNTREATED, f"atomic number {atomic_numbers.max()}; GFN2 has hydrogen to radon")
    n_electrons = int(atomic_numbers.astype(np.int64).sum()) - charge
    if n_electrons < 0 or unpaired < 0 or unpaired > n_electrons or (unpaired and (n_electrons - unpaired) % 2):
        raise NotRelaxed(_UNTREATED, f"{n_electrons} electrons, {unpaired} of them unpaired")


def _xyz(atomic_numbers: Integer[np.ndarray, " N"], positions: Float[np.ndarray, "N 3"]) -> str:
    atoms = zip(atomic_numbers, positions.astype(np.float64), strict=True)
    rows = [f"{symbol_of(int(z))} {x:.12f} {y:.12f} {z_:.12f}" for z, (x, y, z_) in atoms]
    return "\n".join([str(len(rows)), "", *rows, ""])


def _run(command: list[str], folder: Path, timeout_s: float) -> int:
    """The program's exit code; its output goes to a file in the folder."""
    environment = {**os.environ, **dict.fromkeys(_ONE_THREAD, "1")}
    process = None
    with (folder / "output").open("wb") as output:  # not atomic: it goes with its folder
        try:
            with _signals_deferred():  # the program must not start unseen by the line that ends it
                process = subprocess.Popen(
                    command,
                    cwd=folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            patience = min(timeout_s, _LONGEST)
            _limit(process.pid, patience)
            return process.wait(patience)
        except OSError as error:
            raise Unavailable(f"{command[0]} cannot be run: {error.strerror or error}") from error
        except subprocess.TimeoutExpired as error:
            raise NotRelaxed(TOO_SLOW, f"more than {timeout_s:g} s") from error
        finally:
            if process is not None:
                _kill_group(process)


@contextlib.contextmanager
def _signals_deferred() -> Iterator[None]:
    """Handle SIGINT and SIGTERM after the block; only the main thread handles signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in before.items():
        if handler is not None:  # None: set outside Python
            signal.signal(number, lambda number, _: received.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)
        for late in received:
            signal.raise_signal(late)


def _limit(pid: int, timeout_s: float) -> None:
    """Let the system end the run if this process is killed and can no longer do it."""
    if sys.platform != "linux":
        return
    import resource

    seconds = int(timeout_s) + 1
    with contextlib.suppress(OSError, ValueError):  # gone already, or not ours to limit
        resource.prlimit(pid, resource.RLIMIT_CPU, (seconds, seconds))


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    """End the process and all that it started, however this process ends."""
    with contextlib.suppress(OSError):  # gone already
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _read(folder: Path, code: int, n_atoms: int) -> Relaxed:
    """What the run left in its folder."""
    said = _output(folder)
    if (folder / "NOT_CONVERGED").exists() or _NOT_CONVERGED in said:
        raise NotRelaxed(NO_CONVERGENCE, _complaint(said))
    if code:
        raise NotRelaxed(FAILED, _complaint(said) or _ending(code))
    try:
        lines = (folder / "xtbopt.xyz").read_text(encoding="ascii").splitlines()
        positions = np.array([[float(word) for word in line.split()[1:4]] for line in lines[2 : 2 + n_atoms]])
        energy = _energy(lines[1])
        before = _energy(_second_line(folder / "xtbopt.log")) if n_atoms > 1 else energy
        relaxed = Relaxed(positions.reshape(n_atoms, 3), before, energy)
    except (OSError, ValueError, IndexError) as error:
        raise NotRelaxed(FAILED, _complaint(said) or "no relaxed geometry") from error
    if not np.isfinite([relaxed.energy_start, relaxed.energy_end, *relaxed.positions.ravel()]).all():
        raise NotRelaxed(FAILED, "a geometry or an energy that is no number")
    return relaxed


def _second_line(path: Path) -> str:
    """Of the steps of a relaxation, the first one's energy; the steps of a long one are megabytes."""
    with path.open(encoding="ascii") as file:
        file.readline()
        return file.readline()


def _energy(line: str) -> float:
    """The energy of an XYZ frame's second line, in Hartree."""
    found = _ENERGY.search(line)
    if found is None:
        raise ValueError("no energy")
    return float(found[1])


def _output(folder: Path) -> str:
    """The end of what the program said."""
    with (folder / "output").open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _LAST))
        return file.read().decode("utf-8", "replace")


def _complaint(said: str) -> str | None:
    """The program's own words on what failed, the deepest cause last; None if it said nothing."""
    _, error, after = said.rpartition("[ERROR]")
    causes = _COMPLAINT.findall(after) if error else []
    return ": ".join(dict.fromkeys(" ".join(cause.split()) for cause in causes))[:300] or None


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
