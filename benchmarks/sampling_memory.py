"""Peak memory of `gaga sample` by the number of molecules, each number in a process of its own, without a network.

The network is one that says zero, in two steps, so that what is measured is all the rest: sizes, noise, spool, judging,
output file and store. Without rdkit (the default) a molecule takes a third of a millisecond.

    python benchmarks/sampling_memory.py 10000 130000 1000000
    python benchmarks/sampling_memory.py --judged 10000 130000
"""

import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from gaga import Store, load_model
from gaga.chem import annotate
from gaga.core.progress import Reporter
from gaga.models.network.layout import Layout
from gaga.models.sampling.config import SampleConfig
from gaga.runs.models import Source
from gaga.runs.once import Policy
from gaga.runs.sample import SampleRequest, draw


def says_zero(z: Tensor, t: Tensor, layout: Layout) -> Tensor:
    """An instant network."""
    return torch.zeros_like(z)


def measure(n: int, judged: bool) -> str:
    """A row of the table: molecules, peak memory, seconds, size of what was written."""
    if not judged:
        annotate.find_spec = lambda name: None  # type: ignore[assignment]
    model = replace(load_model(), network=says_zero)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        out, store = Path(folder) / "mols.sdf", Path(folder) / "gaga.h5"
        request = SampleRequest(out=out, n=n, config=SampleConfig(method="ddpm", stride=model.max_t))
        source = Source(path=Path("zero"), why="", digest="0")
        began = time.perf_counter()
        draw(request, model, source, Store(store, shipped=False), Policy(), Reporter())
        seconds = time.perf_counter() - began
        sizes = f"{out.stat().st_size / 1e6:.0f} MB of SDF, {store.stat().st_size / 1e6:.0f} MB of store"
    return f"{n:>9,} molecules  {peak_mb():6.0f} MB  {seconds:6.0f} s  {sizes}"


def peak_mb() -> float:
    """VmHWM of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--judged"]
    flags = ["--judged"] if "--judged" in sys.argv else []
    if len(words) == 1:
        print(measure(int(words[0]), bool(flags)), flush=True)
    for word in words if len(words) > 1 else []:
        subprocess.run([sys.executable, __file__, *flags, word], check=True)
