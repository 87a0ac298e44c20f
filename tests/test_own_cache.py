"""Tests have a cache of their own: what the user has prepared is neither read nor written."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gaga.core.molecules import pack
from gaga.data import default_cache_dir
from gaga.data.dataset import Dataset
from gaga.data.prepared import write_prepared

ROOT = Path(__file__).parents[1]
# The first reads named data sets from the default cache, the second says where that is.
READERS = (
    "tests/cli/test_data.py::test_what_cannot_be_is_a_line",
    "tests/test_own_cache.py::test_the_cache_is_this_run_s",
)


def poison(cache: Path) -> dict[str, bytes]:
    """A cache whose `geom` is three waters and whose `qm9` is no data set, and what is in it."""
    water = (np.array([8, 1, 1], dtype=np.uint8), np.array([[0, 0, 0.1], [0, 0.8, -0.5], [0, -0.8, -0.5]]))
    splits = {name: np.array([i]) for i, name in enumerate(("train", "valid", "test"))}
    data = Dataset(name="geom", molecules=pack([water] * 3), ids=np.arange(3), splits=splits, vocabulary=(1, 8))
    cache.mkdir(parents=True)
    write_prepared(data, cache / "geom.h5")
    (cache / "qm9.h5").write_bytes(b"no HDF5")
    return {path.name: path.read_bytes() for path in cache.iterdir()}


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="XDG_CACHE_HOME names the cache on Linux")
def test_the_cache_is_this_run_s():
    """And so is that of processes that tests start, and of the other workers."""
    assert default_cache_dir().parent == Path(os.environ["XDG_CACHE_HOME"])
    assert default_cache_dir().parent.name.startswith("gaga-tests-")
    assert "GAGA_CACHE" not in os.environ


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="XDG_CACHE_HOME names the cache on Linux")
def test_a_user_s_cache_is_not_looked_at(tmp_path):
    held = poison(tmp_path / ".cache" / "gaga")
    user = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / ".cache"), "PYTHONPATH": str(ROOT)}
    user["GAGA_CACHE"] = str(tmp_path / ".cache" / "gaga")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "0", "-q", "-p", "no:cacheprovider", *READERS],
        cwd=ROOT, env=environment | user, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout
    assert {path.name: path.read_bytes() for path in (tmp_path / ".cache" / "gaga").iterdir()} == held
