"""The E(n)-equivariant network: its parameters, its kernels, and how a batch of molecules is laid out."""
