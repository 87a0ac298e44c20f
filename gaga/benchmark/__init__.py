"""How fast the kernels are on real shapes, against the papers' formulation in the same run and the device's floor."""

from gaga.benchmark.benchmark import run_benchmark
from gaga.benchmark.report import Benchmark
from gaga.benchmark.request import QUICK, QUICK_CUDA_BATCH, QUICK_CUDA_KERNELS, Request
from gaga.benchmark.shapes import CASES

__all__ = ["CASES", "QUICK", "QUICK_CUDA_BATCH", "QUICK_CUDA_KERNELS", "Benchmark", "Request", "run_benchmark"]
