import subprocess
import sys

import pytest

from gaga.stats.engine import engine_on


def test_numpy_needs_no_torch():
    script = (
        "import sys; from gaga.stats.gaussianity import engine_on; engine_on(None, 2); print('torch' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "False\n"
    )


@pytest.mark.parametrize(("device", "room"), [(None, "gaga.stats"), ("cpu", "gaga.stats.device")])
def test_a_device_has_the_twins(device, room):
    engine = engine_on(device, 3)
    assert engine.run_test.func.__module__ == f"{room}.reference"
    assert engine.distance_curves.func.__module__ == f"{room}.curves"
