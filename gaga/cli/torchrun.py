"""The processes that torchrun started.

The only place that names the environment variables of `torchrun --nproc-per-node=N -m gaga ...`.
"""

import os
from typing import TYPE_CHECKING

from gaga.cli.errors import usage_error
from gaga.core.errors import InvalidInput

if TYPE_CHECKING:
    from gaga.models.ranks import Ranks

_TOGETHER = "start the processes with torchrun --nproc-per-node=N -m gaga ..."


def ranks_from_environment() -> "Ranks":
    """Which process this is among those that torchrun started; the only one if it started none.

    Raises:
        InvalidInput: RANK, WORLD_SIZE and LOCAL_RANK do not fit together.
    """
    from gaga.models.ranks import Ranks

    size, rank, local_rank = _number("WORLD_SIZE", 1), _number("RANK", 0), _number("LOCAL_RANK", 0)
    if not 0 <= rank < size or not 0 <= local_rank <= rank:
        received = f"RANK={rank} LOCAL_RANK={local_rank} WORLD_SIZE={size}"
        raise InvalidInput("the ranks in the environment do not fit together", received=received, remedy=_TOGETHER)
    if size > 1 and not (os.environ.get("MASTER_ADDR") and os.environ.get("MASTER_PORT")):
        raise InvalidInput("WORLD_SIZE is set, but MASTER_ADDR or MASTER_PORT is not", remedy=_TOGETHER)
    return Ranks(rank=rank, size=size, local_rank=local_rank)


def rank_in_environment() -> int:
    """The number of this process, 0 if torchrun started none or what is set is no number."""
    rank = os.environ.get("RANK", "")
    return int(rank) if rank.isdecimal() and _several() else 0


def refuse_several_processes(command: str) -> None:
    """Stop if torchrun started several processes of a command that has no use for them.

    Raises:
        UsageError: it did.
    """
    if _several():
        raise usage_error(f"gaga {command} is the work of one process; start it without torchrun")


def _several() -> bool:
    size = os.environ.get("WORLD_SIZE", "")
    return size.isdecimal() and int(size) > 1


def _number(variable: str, default: int) -> int:
    text = os.environ.get(variable) or str(default)
    if not text.isdecimal():
        raise InvalidInput(f"the environment variable {variable} is not a number", received=text, remedy=_TOGETHER)
    return int(text)
