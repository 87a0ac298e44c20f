"""What a step of Muon takes on the CPU in float32, as it runs there, and in bfloat16, as on CUDA.

    OMP_NUM_THREADS=1 python benchmarks/muon.py

Processor seconds of a step of all matrices of `qm9_small`, five rounds in turn.
"""

import time

import torch

from gaga import load_model
from gaga.models.training.muon import orthogonal
from gaga.models.training.optimiser import _inner_matrices


def seconds(matrices: list[torch.Tensor], dtype: torch.dtype) -> float:
    """Of the products of a step, all matrices of one shape together."""
    began = time.process_time()
    for shape in sorted({tuple(m.shape) for m in matrices}):
        orthogonal(torch.stack([m for m in matrices if tuple(m.shape) == shape]), dtype)
    return time.process_time() - began


def main() -> None:
    """Print both."""
    torch.set_num_threads(1)
    matrices = [m.detach() for m in _inner_matrices(load_model("qm9_small").network)]
    for dtype in (torch.float32, torch.bfloat16) * 5:
        print(f"{dtype}: {seconds(matrices, dtype):.3f} s for {len(matrices)} matrices")


if __name__ == "__main__":
    main()
