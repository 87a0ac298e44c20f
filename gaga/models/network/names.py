"""What kernels, precisions and predictions are called. Without torch, so that the command line can read it."""

from typing import Literal, get_args

KernelName = Literal["auto", "naive", "torch", "compile", "triton"]
KERNELS: tuple[KernelName, ...] = get_args(KernelName)
Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
Prediction = Literal["eps", "v", "x0"]
PREDICTIONS: tuple[Prediction, ...] = get_args(Prediction)
