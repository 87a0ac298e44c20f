"""Where the time of a training step or of an evaluation of the network goes, kernel by kernel; and the rate of the
fused kernels over edges.

    python benchmarks/profile_kernels.py --case qm9-forward --batch-size 2048 --kernel triton --precision bfloat16
    python benchmarks/profile_kernels.py --case qm9-train --batch-size 64 --kernel torch --device cpu --json

The steps are those that `gaga benchmark` times, and the JSON object has the keys of its `--json`, with `profiles` and
without rows. On a CPU the operators of torch take the place of kernels. `benchmarks/profile_training.py` does the same
for whole steps of `gaga train`.
"""

import argparse
import json
import warnings
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from gaga.benchmark.config import BenchmarkConfig
from gaga.benchmark.flops import edge_flops
from gaga.benchmark.machine import describe_machine, measure_floors
from gaga.benchmark.parity import Variant
from gaga.benchmark.shapes import Batch, cases_of, even_sizes
from gaga.benchmark.steps import Recorder, make_step

_SHOWN, _STEPS = 24, 5
_GRADIENTS = ("backward", "bwd", "grad")

Times = dict[str, tuple[int, float]]


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The profile of one kernel on one batch, with the machine and its floors."""
    device = torch.device(options.device)
    config = BenchmarkConfig(cases=(options.case,), hidden=options.hidden, n_layers=options.layers)
    (case,), variant = cases_of(config), Variant(kernel=options.kernel, precision=options.precision)
    sizes = even_sizes(case.shape.counts, options.batch_size, config.seed)
    step = make_step(case, Batch.of(case.shape, sizes, config.seed), variant, device)
    step()
    times = times_of_step(Recorder(device)(step)[0], device)
    edge_seconds = sum(seconds for name, (_, seconds) in times.items() if is_edge_kernel(name))
    flops = edge_flops(case.shape.network, sizes)
    names = sorted(times, key=lambda name: -times[name][1])[:_SHOWN]
    found = {
        "case": case.name, "kernel": variant.kernel, "precision": variant.precision, "molecules": len(sizes),
        "edge_flops": flops, "edge_seconds": edge_seconds, "edge_rate": flops / edge_seconds if edge_seconds else None,
        "kernels": [{"name": name[:100], "calls": times[name][0], "seconds": times[name][1]} for name in names],
    }  # fmt: skip
    floors = [asdict(floor) for floor in measure_floors(device)]
    machine = asdict(describe_machine(device, ""))
    return {"machine": machine, "floors": floors, "parity": [], "rows": [], "profiles": [found]}


def times_of_step(step: Callable[[], None], device: torch.device) -> Times:
    """(calls, seconds of its own) in one step, by the name of the kernel, or of the operator on a CPU."""
    on_cuda = device.type == "cuda"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Warning: Profiler clears events")  # of a cycle; there is one
        with profile(activities=[ProfilerActivity.CUDA if on_cuda else ProfilerActivity.CPU]) as found:
            for _ in range(_STEPS):
                step()
            if on_cuda:
                torch.cuda.synchronize(device)
        return own_times(found.key_averages(), on_cuda=on_cuda)


def own_times(events: Iterable[Any], *, on_cuda: bool) -> Times:
    """(calls, seconds of its own) in one step, by name, of what took any time."""
    field = "self_device_time_total" if on_cuda else "self_cpu_time_total"
    times = {event.key: (-(-event.count // _STEPS), getattr(event, field) / 1e6 / _STEPS) for event in events}
    return {name: (calls, seconds) for name, (calls, seconds) in times.items() if seconds > 0}


def is_edge_kernel(name: str) -> bool:
    """Whether a kernel of this name computes edge networks forward: it says edge, and not that it is a gradient's."""
    name = name.lower()
    return "edge" in name and not any(word in name for word in _GRADIENTS)


def show(found: dict[str, Any]) -> None:
    """The kernels that take longest, as a table."""
    (one,) = found["profiles"]
    rate = f"; edge kernels {one['edge_rate'] / 1e12:.3g} TFLOP/s" if one["edge_rate"] else ""
    print(f"{one['case']}, {one['molecules']:,} molecules, {one['kernel']} {one['precision']}{rate}")
    for kernel in one["kernels"]:
        print(f"{1e3 * kernel['seconds']:10.3f} ms  {kernel['calls']:6d} calls  {kernel['name']}")


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", default="qm9-forward", help="qm9-train, qm9-forward, geom-train or geom-forward")
    parser.add_argument("--batch-size", type=int, default=2048)
    parser.add_argument("--kernel", default="triton")
    parser.add_argument("--precision", default="bfloat16")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--hidden", type=int)
    parser.add_argument("--layers", type=int)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options)
    print(json.dumps(found, indent=2)) if options.json else show(found)


if __name__ == "__main__":
    main()
