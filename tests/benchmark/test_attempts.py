import pytest
import torch

from gaga.benchmark.attempts import attempt
from gaga.benchmark.parity import Refused
from gaga.core.errors import Unavailable
from tests.benchmark.test_report import a_row


def raising(error):
    def prepare():
        raise error

    return prepare


@pytest.mark.parametrize(
    ("error", "state", "note"),
    [
        (Unavailable("no such device", remedy="use another"), "unavailable", "no such device"),
        (Refused("off by 1"), "refused", "off by 1"),
        (torch.OutOfMemoryError("CUDA out of memory"), "unavailable", "does not fit the memory of the device"),
        (ValueError("odd\n shape"), "refused", "ValueError: odd shape"),
        (RuntimeError("x" * 500), "refused", f"RuntimeError: {'x' * 186}"),
    ],
)
def test_errors_become_rows(error, state, note):
    row = attempt(a_row(), raising(error))
    assert (row.state, row.note) == (state, note)


def test_what_works_is_returned_and_interrupts_pass():
    assert attempt(a_row(), lambda: 7) == 7
    with pytest.raises(KeyboardInterrupt):
        attempt(a_row(), raising(KeyboardInterrupt()))
