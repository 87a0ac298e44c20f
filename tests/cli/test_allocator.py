import subprocess
import sys

import pytest

from gaga.cli import allocator

GLIBC = sys.platform.startswith("linux") and allocator.keep_freed_memory() == allocator.KEPT
FAULTS = """
import resource
from gaga.cli.allocator import keep_freed_memory
if {kept}:
    assert keep_freed_memory()
import numpy as np
for _ in range(3):
    np.ones(3_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
blocks = [np.ones(500_000) for _ in range(40)]
del blocks
for _ in range(50):
    blocks = [np.ones(500_000) for _ in range(40)]
    del blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not GLIBC, reason="not glibc")
def test_freed_memory_is_not_paid_for_again():
    """Fifty times 160 MB: their pages are faulted in once instead of every time."""

    def faults(kept):
        ran = subprocess.run([sys.executable, "-c", FAULTS.format(kept=kept)], capture_output=True, check=True)
        return int(ran.stdout)

    assert faults(True) < faults(False) / 5


def test_what_the_user_has_set_stays(monkeypatch):
    monkeypatch.setenv("LD_PRELOAD", "libjemalloc.so")
    assert allocator.keep_freed_memory() == ""


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert allocator.keep_freed_memory() == ""


def test_settings_of_the_allocator():
    assert allocator.allocator_settings({"HOME": "/root"}) == allocator.DEFAULT
    environment = {"MALLOC_ARENA_MAX": "1", "LD_PRELOAD": "libjemalloc.so", "PATH": "/bin"}
    assert allocator.allocator_settings(environment) == "LD_PRELOAD=libjemalloc.so, MALLOC_ARENA_MAX=1"
