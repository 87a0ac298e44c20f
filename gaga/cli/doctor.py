"""`gaga doctor`: what works on this machine, and how to mend the rest.

Example:
    gaga doctor
"""

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import typer

from gaga.cli import options
from gaga.cli.commands import Command, examples, new_app
from gaga.cli.errors import with_options
from gaga.cli.render import Output, Table
from gaga.core.errors import GagaError
from gaga.core.text import counted, human_bytes

app = new_app()

State = Literal["ok", "missing", "broken"]
PACKAGES = ("numpy", "scipy", "h5py", "torch", "rdkit", "safetensors", "matplotlib", "pooch", "typer", "rich")
ARCHIVE_BYTES = 86_000_000


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of the report: `missing` can be lived with, `broken` cannot; both come with a remedy."""

    name: str
    state: State
    found: str
    remedy: str = ""


@app.command(cls=Command, epilog=examples("gaga doctor", "gaga doctor --json"))
def doctor(
    store: options.StorePath = options.DEFAULT_STORE,
    cache: options.Cache = None,
    json: options.Json = False,
) -> None:
    """Check device, versions, store, cache, data sets and shipped files; say how to mend what is missing.

    Exits with 1 if something is broken that gaga cannot do without.
    """
    checks = list(run_checks(store, cache))
    broken = [check for check in checks if check.state == "broken"]
    remedies = [f"{check.name}: {check.remedy}." for check in checks if check.remedy]
    Output(json=json).show(
        {"healthy": not broken, "checks": checks},
        Table(columns=("", "state", "found"), rows=[(c.name, c.state, c.found) for c in checks]),
        "\n".join(remedies) or "Everything is in order.",
    )
    if broken:
        raise typer.Exit(1)


def run_checks(store: Path, cache: Path | None) -> Iterator[Check]:
    """Every check, in the order of the report."""
    from gaga import __version__

    yield Check(name="gaga", state="ok", found=f"{__version__}, {Path(__file__).parents[1]}")
    yield Check(name="python", state="ok", found=f"{platform.python_version()} on {platform.platform(terse=True)}")
    yield from map(check_package, PACKAGES)
    yield check_device()
    yield from check_kernels()
    yield from check_products()
    yield check_store(store)
    yield from check_data(cache)
    yield from map(check_shipped, SHIPPED)


def check_package(name: str) -> Check:
    """Whether a package that gaga depends on is installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return Check(name=name, state="ok", found=version(name))
    except PackageNotFoundError:
        remedy = f"pip install {name}" if name != "rdkit" else "pip install rdkit; without it no SDF, no validity"
        return Check(name=name, state="missing" if name == "rdkit" else "broken", found="not installed", remedy=remedy)


def check_device() -> Check:
    """What the network would run on."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return Check(name="device", state="broken", found=_one_line(error), remedy="pip install torch")
    cores = f"{counted(os.cpu_count() or 1, 'processor core')}, {counted(torch.get_num_threads(), 'thread')}"
    if torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        found = f"cuda: {card.name}, {human_bytes(card.total_memory)}, CUDA {torch.version.cuda}; {cores}"
        return Check(name="device", state="ok", found=found)
    if torch.backends.mps.is_available():
        return Check(name="device", state="ok", found=f"mps; {cores}")
    if shutil.which("nvidia-smi"):
        return Check(
            name="device",
            state="missing",
            found=f"an NVIDIA driver, but torch {torch.__version__} cannot use it; {cores}",
            remedy="install a CUDA build of torch that suits the driver",
        )
    return Check(name="device", state="ok", found=f"cpu, no GPU; {cores}")


def check_kernels() -> Iterator[Check]:
    """Which kernels run the network here, if torch does (docs/KERNELS.md)."""
    try:
        import torch

        from gaga.models.network.egnn import EGNN
        from gaga.models.network.names import KERNELS
        from gaga.models.network.parameters import EGNNConfig
    except (ImportError, OSError):
        return
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config = EGNNConfig(features=5, n_layers=1)
    found: list[str] = []
    for name in KERNELS[1:]:
        network = EGNN(config, name, "float32" if name == "naive" else "bfloat16").to(device)
        try:
            network.require_kernel()
            found.append(name)
        except GagaError as error:
            found.append(f"not {name} ({error.what.rpartition(': ')[2]})")
    chosen = EGNN(config, "auto", "bfloat16").to(device).kernel
    yield Check(name="kernels", state="ok", found=f"{', '.join(found)}; auto takes {chosen}")


def check_products() -> Iterator[Check]:
    """Which library computes float32 products on the CPU, and why (docs/KERNELS.md)."""
    try:
        import torch  # noqa: F401 - without it there are no products

        from gaga.models.network.kernels.products import chosen
    except (ImportError, OSError):
        return
    try:
        choice = chosen()
    except GagaError as error:
        yield Check(name="products", state="broken", found=error.what, remedy="set GAGA_PRODUCTS to auto or mkl")
        return
    yield Check(name="products", state="ok", found=choice.sentence)


def check_store(path: Path) -> Check:
    """Whether the store can be read, and its folder written to."""
    from gaga.storage.store import Store

    try:
        count = sum(not entry.shipped for entry in Store(path).entries())
    except (GagaError, OSError) as error:
        return Check(
            name="store",
            state="broken",
            found=_one_line(error),
            remedy="name another with --store or GAGA_STORE",
        )
    folder = path.absolute().parent
    if not os.access(folder, os.W_OK):
        return Check(
            name="store",
            state="missing",
            found=f"{path}: its folder cannot be written to",
            remedy="name another with --store or GAGA_STORE",
        )
    return Check(
        name="store",
        state="ok",
        found=f"{path}, {count} results" if path.exists() else f"{path}, not made yet",
    )


def check_data(cache: Path | None) -> Iterator[Check]:
    """The cache, and where each named data set would come from."""
    from gaga.data import default_cache_dir
    from gaga.runs.data import named_data_sets

    try:
        yield _check_cache(cache or default_cache_dir())
    except GagaError as error:
        yield Check(name="cache", state="missing", found=error.what, remedy=with_options(error.remedy))
    for state in named_data_sets(cache):
        name = state["name"]
        if state["path"] is None and name == "geom":  # which is not needed without a copy of it
            yield Check(name=name, state="ok", found=state["state"])
        elif state["path"] is None:
            yield Check(
                name=name,
                state="missing",
                found=f"to be downloaded at first use, {human_bytes(ARCHIVE_BYTES)}",
                remedy='pip install "gaga-mol[qm9]" brings it, or gaga data prepare qm9 --from a local copy',
            )
        else:
            yield Check(name=name, state="ok", found=f"{state['state']}: {state['path']}")


def _check_cache(folder: Path) -> Check:
    nearest = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if nearest.is_dir() and os.access(nearest, os.W_OK):
        return Check(name="cache", state="ok", found=str(folder) + ("" if folder.exists() else ", not made yet"))
    return Check(
        name="cache",
        state="missing",
        found=f"{folder} cannot be written to",
        remedy="name another with --cache or GAGA_CACHE",
    )


@dataclass(frozen=True, kw_only=True)
class Shipped:
    """A file that comes with the package."""

    name: str
    file: str
    without: str


SHIPPED = (
    Shipped(name="shipped results", file="results.h5", without="gaga tstar computes gaga gaussianity first"),
    Shipped(name="shipped model", file="qm9_large.safetensors", without="sampling needs --checkpoint"),
    Shipped(name="shipped small model", file="qm9_small.safetensors", without="small networks start from nothing"),
    Shipped(name="shipped row of real data", file="reference_qm9.json", without="evaluation needs --reference none"),
    Shipped(name="shipped data for edm", file="reference_qm9_edm.npz", without="evaluation needs --reference none"),
    Shipped(
        name="shipped data for strict", file="reference_qm9_strict.npz", without="evaluation needs --reference none"
    ),
)


def check_shipped(shipped: Shipped) -> Check:
    """Whether a file that ships with the package is there."""
    path = Path(__file__).parents[1] / "shipped" / shipped.file
    if path.is_file():
        return Check(name=shipped.name, state="ok", found=f"{shipped.file}, {human_bytes(path.stat().st_size)}")
    return Check(
        name=shipped.name,
        state="missing",
        found=f"{shipped.file} is not in the package: {shipped.without}",
        remedy="install gaga-mol again",
    )


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
