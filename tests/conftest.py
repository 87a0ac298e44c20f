"""Before anything is imported: one thread for each worker, and a cache of the tests' own, never the user's.

The cache is one folder for all workers of a run, where QM9 is prepared once, in a process of its own while the first
tests run; it is removed at the run's end. Tests marked `gpu` are skipped, and counted, without a CUDA device.

Shapes and types are checked as the code runs in the modules of `CHECKED`. Everywhere this takes two to five times as
long as the tests themselves: `GAGA_CHECKED=gaga pytest` does it.
"""

import os
import shutil
import subprocess
import sys
import tempfile

import jaxtyping
import pytest

CHECKED = (
    "gaga.noise,gaga.models.diffusion,gaga.models.network.layout,gaga.models.network.precondition,gaga.models.quadrature,"
    "gaga.models.sampling.loop,gaga.models.sampling.solvers,gaga.models.wiener,gaga.stats.dependence,gaga.stats.ks,"
    "gaga.stats.moments,gaga.stats.variance"
)
jaxtyping.install_import_hook(
    os.environ.get("GAGA_CHECKED", CHECKED).split(","),
    "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))",
)
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic algorithms ask for it on a GPU
if not os.path.exists("/dev/nvidiactl"):  # decided before triton is imported: kernels run in its interpreter
    os.environ.setdefault("TRITON_INTERPRET", "1")

_IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ  # whose folder and environment are the first process's
if not _IS_WORKER:
    for _variable in ("GAGA_CACHE", "GAGA_STORE", "GAGA_LOCKS", "GAGA_DEBUG"):
        os.environ.pop(_variable, None)
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="gaga-tests-")


_preparing: list[subprocess.Popen[bytes]] = []


def pytest_configure(config: pytest.Config) -> None:
    """With several workers, begin to prepare QM9: there types are not checked at each of 130,831 molecules."""
    if not _IS_WORKER and config.getoption("numprocesses", None):
        command = [sys.executable, "-m", "gaga", "data", "prepare", "qm9"]
        _preparing.append(
            subprocess.Popen(command, cwd=config.rootpath, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        )


def pytest_unconfigure() -> None:
    """Remove the cache, after the last worker."""
    for process in _preparing:
        process.wait()
    if not _IS_WORKER:
        shutil.rmtree(os.environ["XDG_CACHE_HOME"], ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a CUDA device where there is none."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
