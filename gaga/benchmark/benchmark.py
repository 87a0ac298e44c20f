"""The benchmark: which kernels agree with the papers' formulation here, and how fast they are on real shapes."""

from dataclasses import replace

import torch

from gaga.benchmark.config import BenchmarkConfig
from gaga.benchmark.machine import describe_machine, fastest, measure_floors
from gaga.benchmark.measuring import memory_in_words
from gaga.benchmark.parity import ORACLE, Agreement, Oracle, Variant, make_variants
from gaga.benchmark.results import Benchmark, Row, with_floor, with_ratios
from gaga.benchmark.rows import Sampling, Steps, measure_rows
from gaga.benchmark.shapes import Batch, Case, Shape, cases_of, even_sizes
from gaga.benchmark.steps import Recorder
from gaga.core.progress import Progress, silent
from gaga.models.network.kernels.products import chosen


def run_benchmark(
    config: BenchmarkConfig, device: torch.device, *, allocator: str = "", progress: Progress = silent
) -> Benchmark:
    """Hold every kernel against the oracle, then time those that agree, in turn, on each batch of each case.

    Args:
        config: what to measure.
        device: what runs the kernels.
        allocator: settings of the memory allocator, for the record.
        progress: called with what is done, and all that there is to do, of what is measured at the time.
    """
    cases, machine = cases_of(config), describe_machine(device, allocator)
    progress(0, 1, "the floor: a large matrix product")
    floors = [measure_floors(device)]
    shapes = {case.shape.name: case.shape for case in cases}
    parity = {name: _check_kernels(config, shape, device, progress) for name, shape in shapes.items()}
    rows: list[Row] = []
    for case in () if config.check else cases:
        for n_molecules in case.batches(config, device):
            rows += _measure(config, case, n_molecules, parity[case.shape.name], device, progress)
            floors.append(measure_floors(device))
    floor = fastest(floors)
    return Benchmark(
        machine=machine,
        floors=floor,
        products=chosen().sentence if device.type == "cpu" else "",
        memory=memory_in_words(device),
        networks=tuple(shape.in_words for shape in shapes.values()),
        parity=tuple(agreement for of_shape in parity.values() for agreement in of_shape.values()),
        rows=tuple(with_floor(row, floor) for row in rows),
    )


def _variants(config: BenchmarkConfig, shape: Shape, device: torch.device) -> tuple[Variant, ...]:
    return make_variants(config.kernels, config.precisions, shape.widest, device)


def _check_kernels(
    config: BenchmarkConfig, shape: Shape, device: torch.device, progress: Progress
) -> dict[Variant, Agreement]:
    """How far each kernel is from the oracle; padding makes no difference."""
    progress(0, 1, f"the oracle of {shape.name}")
    oracle, found = Oracle(shape, device), {}
    variants = [variant for variant in _variants(config, shape, device) if variant.pad_to is None]
    for i, variant in enumerate(variants):
        progress(i, len(variants), f"checking {variant.kernel} in {variant.precision}")
        found[variant] = oracle.check(variant)
    return found


def _measure(
    config: BenchmarkConfig,
    case: Case,
    n_molecules: int,
    parity: dict[Variant, Agreement],
    device: torch.device,
    progress: Progress,
) -> list[Row]:
    """The rows of one batch of a case."""
    work: Steps | Sampling
    variants = _variants(config, case.shape, device)
    if case.work == "sampling":
        variants = tuple(v for v in variants if v.pad_to is None)  # the sampler puts like sizes together
        size = n_molecules if config.batch_sizes else None
        work = Sampling(
            case=case, device=device, n_molecules=n_molecules, batch_size=size, seed=config.seed, full=config.full
        )
    else:
        batch = Batch.of(case.shape, even_sizes(case.shape.counts, n_molecules, config.seed), config.seed)
        work = Steps(case=case, batch=batch, recorder=Recorder(device))
    agreements = {variant: parity[replace(variant, pad_to=None)] for variant in variants}
    rows = measure_rows(work, agreements, device, config.rounds, budget_s=config.budget_s, progress=progress)
    return with_ratios(rows, ORACLE)
