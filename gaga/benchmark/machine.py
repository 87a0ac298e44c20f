"""The machine that a figure is from, and the fastest that matrix products run on it: the floor of every figure."""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

import gaga
from gaga.benchmark.measuring import seconds_of
from gaga.core.text import counted, human_bytes
from gaga.models.network.kernels.products import TITLES, fast_products, fixed, usable
from gaga.models.network.names import PRECISIONS

_PACKAGES = ("torch", "triton", "numpy")
_CPUINFO = Path("/proc/cpuinfo")
_CUDA_SIDE, _CPU_SIDES = 8192, (512, 2048)
_LONGEST = 0.5  # s of one product on the CPU: if bfloat16 is emulated, only the small one is measured
_TRIES = 5


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where a figure comes from.

    Attributes:
        device: cpu or cuda:0. device_name: its model. device_memory: bytes of a GPU; 0 for the CPU.
        processor: model of the CPU. cores: that this process may use. threads: of torch.
        system: operating system. python: its version. cuda: of torch's build, empty if it has none.
        packages: versions, such as torch 2.13.0.
        gaga_version: of the package. commit: of the checkout it runs from, with "+ changes" if files differ from
            it; empty if gaga is installed.
        allocator: settings of the memory allocator.
    """

    device: str
    device_name: str
    device_memory: int
    processor: str
    cores: int
    threads: int
    system: str
    python: str
    cuda: str
    packages: tuple[str, ...]
    gaga_version: str
    commit: str
    allocator: str

    @property
    def in_words(self) -> str:
        """All but the allocator, for a reader."""
        host = f", {human_bytes(self.device_memory)} on {self.processor}" if self.device_memory else ""
        units = f"{counted(self.cores, 'core')}, {counted(self.threads, 'thread')}"
        versions = ", ".join([f"Python {self.python}", *self.packages, *([f"CUDA {self.cuda}"] if self.cuda else [])])
        code = f"commit {self.commit}" if self.commit else f"gaga {self.gaga_version}"
        return f"{self.device}: {self.device_name}{host}, {units}; {versions}; {code}"


def describe_machine(device: torch.device, allocator: str) -> Machine:
    """This machine; `allocator` says what the caller has set."""
    on_cuda = device.type == "cuda"
    processor = processor_name()
    affinity = getattr(os, "sched_getaffinity", None)
    return Machine(
        device=str(device),
        device_name=torch.cuda.get_device_name(device) if on_cuda else processor,
        device_memory=torch.cuda.get_device_properties(device).total_memory if on_cuda else 0,
        processor=processor,
        cores=len(affinity(0)) if affinity else os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        system=platform.platform(terse=True),
        python=platform.python_version(),
        cuda=torch.version.cuda or "",
        packages=tuple(_versions()),
        gaga_version=gaga.__version__,
        commit=commit_of(Path(gaga.__file__).parents[1]),
        allocator=allocator,
    )


def processor_name() -> str:
    """Model of the CPU, as far as the system says."""
    try:
        match = re.search(r"^model name\s*:\s*(.+)$", _CPUINFO.read_text(), re.MULTILINE)
    except OSError:
        match = None
    return match[1].strip() if match else platform.processor() or platform.machine()


def _versions() -> Iterator[str]:
    for name in _PACKAGES:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            continue


def commit_of(folder: Path) -> str:
    """The commit checked out in this folder, with "+ changes" if tracked files differ; empty if there is none."""
    if shutil.which("git") is None or not (folder / ".git").exists():
        return ""
    commit = _git(folder, "rev-parse", "--short=12", "HEAD")
    return f"{commit} + changes" if commit and _git(folder, "status", "--porcelain", "-uno") else commit


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


@dataclass(frozen=True, kw_only=True)
class Floor:
    """The fastest that matrix products run here.

    Measured, not read off a data sheet: no real product reaches that rate at any clock or power limit.

    Attributes:
        precision: of the rows that are held against it.
        flops: FLOP/s, the best of a few tries.
        how: what was measured.
    """

    precision: str
    flops: float
    how: str


def measure_floors(device: torch.device) -> tuple[Floor, ...]:
    """The floor of each precision: on CUDA that of bfloat16 for both, since that is what the device can do.

    On a CPU the floor of float32 is that of the faster library (gaga.models.network.kernels.products).
    """
    if device.type == "cuda":
        measured = dict.fromkeys(PRECISIONS, _rate(device, torch.bfloat16, _CUDA_SIDE))
    else:
        measured = {name: max(_by_each_library(device, getattr(torch, name))) for name in PRECISIONS}
    return tuple(Floor(precision=name, flops=flops, how=how) for name, (flops, how) in measured.items())


def fastest(measured: Sequence[tuple[Floor, ...]]) -> tuple[Floor, ...]:
    """Of several measurements in a run, the fastest in each precision: the one that other programs disturbed least."""
    return tuple(max(same, key=lambda floor: floor.flops) for same in zip(*measured, strict=True))


def _by_each_library(device: torch.device, dtype: torch.dtype) -> Iterator[tuple[float, str]]:
    """The rate by each library of float32 products; in bfloat16 torch has one."""
    for library in usable() if dtype == torch.float32 else (None,):
        with fixed(library), fast_products(device):
            rate, how = _fastest(device, dtype)
        yield rate, f"{how}, by {TITLES[library]}" if library else how


def _fastest(device: torch.device, dtype: torch.dtype) -> tuple[float, str]:
    """The rate at the largest side whose product does not take long."""
    rate, how = _rate(device, dtype, _CPU_SIDES[0])
    for side in _CPU_SIDES[1:]:
        if 2 * side**3 / rate > _LONGEST:
            break
        rate, how = max((rate, how), _rate(device, dtype, side))
    return rate, how


def _rate(device: torch.device, dtype: torch.dtype, side: int) -> tuple[float, str]:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(side, side, generator=generator).to(device, dtype) for _ in range(2))
    out = torch.empty_like(a)

    def product() -> None:
        torch.mm(a, b, out=out)

    repeats = 10 if device.type == "cuda" else 1
    seconds_of(product, device, repeats)  # the first products set libraries up
    seconds = min(seconds_of(product, device, repeats) for _ in range(_TRIES))
    name = str(dtype).removeprefix("torch.")
    return 2 * side**3 / seconds, f"{name} matrix product, {side} x {side} x {side}, best of {_TRIES}"
