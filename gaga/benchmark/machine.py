"""Where a figure comes from: device, versions, commit, threads, allocator."""

import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

import gaga

_PACKAGES = ("torch", "triton", "numpy")
_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a figure cannot do without.

    Attributes:
        device: cpu or cuda:0. device_name: its model. device_memory: bytes of a GPU; 0 for the CPU.
        processor: model of the CPU. cores: that this process may use. threads: of torch.
        system: operating system. python: its version. cuda: of torch's build, empty where there is none.
        packages: versions, such as torch 2.13.0.
        gaga_version: of the package. commit: of the checkout it runs from, with "+ changes" where files differ from
            it; empty elsewhere.
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
    def code(self) -> str:
        """The commit, or the version where there is none."""
        return f"commit {self.commit}" if self.commit else f"gaga {self.gaga_version}"


def describe_machine(device: torch.device, allocator: str) -> Machine:
    """This machine; `allocator` says what the caller has set."""
    on_cuda = device.type == "cuda"
    processor = processor_name()
    return Machine(
        device=str(device),
        device_name=torch.cuda.get_device_name(device) if on_cuda else processor,
        device_memory=torch.cuda.get_device_properties(device).total_memory if on_cuda else 0,
        processor=processor,
        cores=usable_cores(),
        threads=torch.get_num_threads(),
        system=platform.platform(terse=True),
        python=platform.python_version(),
        cuda=torch.version.cuda or "",
        packages=tuple(f"{name} {found}" for name in _PACKAGES if (found := installed(name))),
        gaga_version=gaga.__version__,
        commit=commit_of(Path(gaga.__file__).parents[1]),
        allocator=allocator,
    )


def usable_cores() -> int:
    """Cores that this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def processor_name() -> str:
    """Model of the CPU, as far as the system tells."""
    try:
        match = re.search(r"^model name\s*:\s*(.+)$", _CPUINFO.read_text(), re.MULTILINE)
    except OSError:
        match = None
    return match[1].strip() if match else platform.processor() or platform.machine()


def installed(name: str) -> str:
    """Version of a package, empty where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def commit_of(folder: Path) -> str:
    """The commit checked out in this folder, with "+ changes" where tracked files differ; empty where there is none."""
    if shutil.which("git") is None or not (folder / ".git").exists():
        return ""
    commit = _git(folder, "rev-parse", "--short=12", "HEAD")
    return f"{commit} + changes" if commit and _git(folder, "status", "--porcelain", "-uno") else commit


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
