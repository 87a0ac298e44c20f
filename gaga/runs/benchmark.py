"""A benchmark and its place in the store. A timing is never the same twice, so that nothing is found or resumed."""

from dataclasses import asdict
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import torch

from gaga.benchmark.benchmark import run_benchmark
from gaga.benchmark.config import BenchmarkConfig
from gaga.benchmark.results import Benchmark
from gaga.core.errors import Conflict
from gaga.core.progress import Reporter
from gaga.runs.once import Outcome, check_store
from gaga.storage import files
from gaga.storage.store import Store

KIND = "benchmark"


def run(
    config: BenchmarkConfig,
    store: Store,
    device: torch.device,
    *,
    name: str | None = None,
    replace: bool = False,
    allocator: str = "",
    report: Reporter = Reporter(),
) -> Outcome[Benchmark]:
    """Measure, and store what was found.

    Args:
        config: what to measure.
        store: keeps the result.
        device: what is measured.
        name: of the result; None is the device and the time.
        replace: replace a result of that name.
        allocator: settings of the memory allocator, for the record.
        report: receives the progress.

    Raises:
        Conflict: there is a result of that name; nothing is measured.
        NotFound, Unavailable: the store cannot be written to.
    """
    name = name or free_name(store, device)
    there = store.find(KIND, name)
    if there is not None and not replace:
        raise Conflict(
            f"a benchmark of {there.created[:10]} is stored as {there.name}",
            remedy="give this one another `name`, or add `replace=True`",
        )
    check_store(store.path)
    with report.progress(KIND) as progress:
        found = run_benchmark(config, device, allocator=allocator, progress=progress)
    entry = store.put(KIND, name, found, config=asdict(config), seed=config.seed, replace=True)
    return Outcome(result=found, entry=entry, found=False)


def free_name(store: Store, device: torch.device) -> str:
    """Device and time (UTC), as cpu_2026-11-25T15-07-12; with -2 for the second one in the same second."""
    name = f"{str(device).replace(':', '')}_{datetime.now(UTC):%Y-%m-%dT%H-%M-%S}"
    names = (f"{name}{f'-{k}' if k > 1 else ''}" for k in count(1))
    return next(free for free in names if store.find(KIND, free) is None)


def check_file(path: Path, *, overwrite: bool) -> None:
    """Reject, before the work, a file of tables that could not be written after it.

    Raises:
        Conflict, NotFound, Unavailable: it exists, its folder does not, or it cannot be written to.
    """
    files.refuse_to_overwrite(path, overwrite=overwrite)
    files.require_writable(path)


def write_file(path: Path, tables: str) -> None:
    """Write the tables."""
    with files.atomic_write(path) as partial:
        partial.write_text(tables, encoding="utf-8")
