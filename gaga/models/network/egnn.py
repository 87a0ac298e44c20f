"""EDM's equivariant graph network: its parameters (`network.parameters`) with the kernel that computes it."""

import torch
from jaxtyping import Float
from torch import Tensor

from gaga.core.errors import InvalidInput
from gaga.models.network.kernels.choose import Kernel, check_choice, resolve_kernel
from gaga.models.network.kernels.products import fast_products
from gaga.models.network.layout import Layout
from gaga.models.network.names import KernelName
from gaga.models.network.parameters import EGNNConfig, Parameters


class EGNN(Parameters):
    """Columns [A, 3 + F] of packed molecules and a time for each -> the same shape; equivariant under E(3).

    Rotations, reflections and permutations of the input do the same to the output; translations do not change it.

    Args:
        config: the shape of the network.
        kernel: which kernel computes it (`network.kernels.choose`); all have the same parameters and the same results.
        precision: of the factors of matrix products; sums, coordinates and distances keep the parameters' type.

    Raises:
        InvalidInput: the kernel or the precision is unknown.
        Unavailable: the kernel has no such precision.
    """

    def __init__(self, config: EGNNConfig, kernel: str = "auto", precision: str = "float32") -> None:
        check_choice(kernel, precision)
        super().__init__(config, precision)
        self._asked = kernel
        self._kernels: dict[tuple[torch.device, torch.dtype], tuple[KernelName, Kernel]] = {}

    def forward(self, z: Float[Tensor, "A C"], t: Float[Tensor, "M *k"], layout: Layout) -> Float[Tensor, "A C"]:
        """Velocity of the positions (zero mean in each molecule) and output features.

        Args:
            z: packed columns, positions first.
            t: time in [0, 1] of each molecule, [M]; with a context the time and the context, [M, 1 + K].
            layout: sizes of the molecules.

        Raises:
            InvalidInput: the context has another number of columns than the network.
        """
        context = 0 if t.ndim == 1 else t.shape[1] - 1
        if context != self.config.context:
            raise InvalidInput(
                f"the network takes a context of {self.config.context} columns for each molecule", received=context
            )
        with fast_products(z.device):
            return self._kernel_on(z.device)[1](self, z, t, layout)

    @property
    def kernel(self) -> KernelName:
        """The kernel on the device of the parameters.

        Raises:
            Unavailable: it was asked for by name and cannot run there.
        """
        return self._kernel_on(self.embedding.weight.device)[0]

    def require_kernel(self) -> None:
        """Raise Unavailable if the kernel was asked for by name and cannot run on the device of the parameters."""
        self._kernel_on(self.embedding.weight.device)

    def _kernel_on(self, device: torch.device) -> tuple[KernelName, Kernel]:
        key = (device, self.embedding.weight.dtype)
        if key not in self._kernels:
            self._kernels[key] = resolve_kernel(self, self._asked, device)
        return self._kernels[key]
