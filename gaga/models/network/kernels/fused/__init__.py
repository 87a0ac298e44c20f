"""The fused kernels in Triton: an edge network in one pass over tiles of rows. They need triton and a CUDA device."""

from gaga.models.network.kernels.fused.network import run_fused, shared_memory, why_not

__all__ = ["run_fused", "shared_memory", "why_not"]
