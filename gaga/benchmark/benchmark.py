"""`gaga benchmark`: which kernels agree with the papers' formulation here, and how fast they are on real shapes."""

from collections.abc import Mapping

import torch

from gaga.benchmark.batches import Batch
from gaga.benchmark.floors import Floor, fastest, measure_floors
from gaga.benchmark.machine import describe_machine
from gaga.benchmark.memory import CPU_MEANS, CUDA_MEANS
from gaga.benchmark.parity import Agreement, Oracle
from gaga.benchmark.report import Benchmark, Profile, Row, with_floor, with_ratios
from gaga.benchmark.request import Request
from gaga.benchmark.sampling import Run, measure_sampling
from gaga.benchmark.shapes import Case, Shape
from gaga.benchmark.steps import measure_steps
from gaga.benchmark.timing import Rounds
from gaga.benchmark.variants import ORACLE, Variant, libraries_on, make_variants
from gaga.core.progress import Progress, silent
from gaga.models.network.kernels.products import chosen
from gaga.models.network.names import PRECISIONS

SAMPLED_MOLECULES = 10_000
Key = tuple[str, str, str, str | None]  # shape, kernel, precision, library of float32 products


def run_benchmark(
    request: Request, device: torch.device, *, allocator: str = "", progress: Progress = silent
) -> Benchmark:
    """Hold every kernel against the oracle, then time those that agree, in turn, on each batch of each case.

    Args:
        request: what to measure.
        device: where.
        allocator: settings of the memory allocator, for the record.
        progress: called with steps done and in all of what is measured at the time.

    Raises:
        InvalidInput: a case is unknown.
    """
    cases = request.found_cases()
    machine = describe_machine(device, allocator)
    progress(0, 1, "the floor: a large matrix product")
    floors = [measure_floors(device, PRECISIONS)]
    parity = _check_kernels(request, cases, device, progress)
    rows: list[Row] = []
    profiles: list[Profile] = []
    for case in cases if request.rounds else ():
        for n_molecules in request.batches(case, device):
            more, looks = _measure(request, case, n_molecules, parity, device, progress)
            rows += more
            profiles += looks
            floors.append(measure_floors(device, PRECISIONS))
    floor = fastest(floors)
    return Benchmark(
        machine=machine,
        floors=floor,
        memory=CUDA_MEANS if device.type == "cuda" else CPU_MEANS,
        parity=tuple(parity.values()),
        rows=tuple(with_floor(row, _floor_of(row, floor)) for row in rows),
        profiles=tuple(profiles),
        networks=tuple(dict.fromkeys(case.shape.in_words for case in cases)),
        products=chosen().sentence if device.type == "cpu" else "",
    )


def _check_kernels(
    request: Request, cases: tuple[Case, ...], device: torch.device, progress: Progress
) -> dict[Key, Agreement]:
    """The agreement of each kernel."""
    found = {}
    for shape in {case.shape.name: case.shape for case in cases}.values():
        progress(0, 1, f"the oracle of {shape.name}")
        oracle = Oracle(shape, device)
        variants = [v for v in _variants(request, shape, device) if v.pad_to is None]
        for i, variant in enumerate(variants):
            progress(i, len(variants), f"checking {variant.kernel} in {variant.precision}")
            found[_key(shape, variant)] = oracle.check(variant)
    return found


def _measure(
    request: Request,
    case: Case,
    n_molecules: int,
    parity: Mapping[Key, Agreement],
    device: torch.device,
    progress: Progress,
) -> tuple[list[Row], list[Profile]]:
    """The rows of one batch of a case."""
    shape, rounds = case.shape, Rounds(n=request.rounds, budget_s=request.budget_s)
    batch = Batch.of(shape, shape.sizes(n_molecules, request.seed), request.seed)
    variants = {
        variant: parity[_key(shape, variant)]
        for variant in _variants(request, shape, device)
        if case.work != "sampling" or variant.pad_to is None  # the sampler puts like sizes together
    }
    profiles: list[Profile] = []
    if case.work == "sampling":
        size = n_molecules if request.batch_sizes else None
        full = Run(molecules=SAMPLED_MOLECULES, steps=shape.steps, batch_size=size, seed=request.seed)
        rows = measure_sampling(case, n_molecules, variants, device, rounds, full, full=request.full, progress=progress)
    else:
        rows, profiles = measure_steps(
            case, batch, variants, device, rounds, profiled=request.profiled, progress=progress
        )
    return with_ratios(rows, ORACLE), profiles


def _variants(request: Request, shape: Shape, device: torch.device) -> tuple[Variant, ...]:
    return make_variants(request.kernels, request.precisions, shape.widest, libraries_on(device))


def _key(shape: Shape, variant: Variant) -> Key:
    return shape.name, variant.kernel, variant.precision, variant.products


def _floor_of(row: Row, floors: tuple[Floor, ...]) -> Floor:
    return next(floor for floor in floors if floor.precision == row.precision)
