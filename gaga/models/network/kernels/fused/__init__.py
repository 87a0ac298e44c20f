"""The fused kernels in Triton: an edge network in one pass over tiles of rows. They need triton and a CUDA device."""
