"""What the compiler makes of the kernels for cards that are not here: no device is needed to see a spill."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[5]
SHARED_MEMORY = {80: 166_912, 90: 232_448, 100: 232_448}  # bytes that a program may have
FORWARD = ["forward gate", "forward gate kept", "forward head", "forward head kept"]
PRODUCTS = [*FORWARD, "backward gate", "backward head", "weights"]

if importlib.util.find_spec("triton") is None:
    pytest.skip("triton is not installed", allow_module_level=True)


pytestmark = pytest.mark.slow  # half a minute of compilation for each card


@pytest.fixture(scope="module", params=[80, 90, 100], ids=["sm_80", "sm_90", "sm_100"])
def compiled(request):
    card = request.param
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", str(Path(__file__).with_name("cross_compile.py")), str(card)]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return card, json.loads(ran.stdout)[str(card)]


def test_what_the_compiler_makes_of_the_kernels(compiled):
    """No spills in the loops of forward kernels; on sm_90 at most three registers' worth in those of the backward."""
    card, kernels = compiled
    for name, found in kernels.items():
        assert found["shared"] <= SHARED_MEMORY[card], name
        if name in PRODUCTS:
            assert found["instructions"] > 100, name
            assert found["tensor_core"] > 0, name
    spills = {name: found["spills"] for name, found in kernels.items() if found["spills"]}
    assert not set(FORWARD) & set(spills), spills
    if card == 90:
        assert set(spills) <= {"weights", "backward gate", "backward head"}, spills
        assert max(spills.values(), default=0) <= 6, spills


def test_one_special_function_for_each_silu(compiled):
    """64 numbers a thread and product: two SiLUs in the forward kernels, and the gate's sigmoid of a row."""
    kernels = compiled[1]
    for name in FORWARD:
        assert 128 <= kernels[name]["special_functions"] <= 144, name
