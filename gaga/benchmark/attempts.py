"""A kernel that cannot run here, or that breaks, becomes a row that says so: the others keep their figures."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import torch

from gaga.benchmark.parity import Refused, in_a_line
from gaga.benchmark.report import Row
from gaga.core.errors import Unavailable

T = TypeVar("T")


def attempt(row: Row, prepare: Callable[[], T]) -> T | Row:
    """What `prepare` returns, else the row with the reason.

    It is `unavailable` where the kernel cannot run here or does not fit the memory, and `refused` where it broke.
    """
    try:
        return prepare()
    except Unavailable as error:
        return replace(row, state="unavailable", note=error.what)
    except Refused as error:
        return replace(row, state="refused", note=str(error))
    except torch.OutOfMemoryError:
        pass  # its frames, and what they hold on the device, live until here
    except Exception as error:  # noqa: BLE001 - whatever a kernel breaks with is told in its row
        return replace(row, state="refused", note=in_a_line(error))
    torch.cuda.empty_cache()
    return replace(row, state="unavailable", note="does not fit the memory of the device")
