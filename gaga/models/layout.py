"""Where each atom of a packed batch lies: molecules, and groups of molecules of equal size."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from gaga.base.errors import InvalidInput


@dataclass(frozen=True, eq=False)
class Layout:
    """M packed molecules on a device.

    Attributes:
        n_atoms: size of each molecule, on the host, [M].
        sizes: the same on the device, [M].
        molecule: molecule of each atom, [A].
        groups: for each distinct size n, the atoms [b, n] of its b molecules and those molecules [b].
    """

    n_atoms: Int64[np.ndarray, " M"]
    sizes: Int64[Tensor, " M"]
    molecule: Int64[Tensor, " A"]
    groups: tuple[tuple[Tensor, Tensor], ...]

    @classmethod
    def of(cls, n_atoms: Int64[np.ndarray, " M"], device: torch.device | str = "cpu") -> "Layout":
        """The layout of molecules of these sizes.

        Raises:
            InvalidInput: there are no molecules, or one has no atoms.
        """
        if len(n_atoms) == 0 or n_atoms.min() < 1:
            raise InvalidInput("every molecule needs at least one atom", received=f"sizes {n_atoms[:10]}")
        starts = np.cumsum(n_atoms) - n_atoms
        groups = []
        for n in np.unique(n_atoms):
            members = np.flatnonzero(n_atoms == n)
            atoms = starts[members][:, None] + np.arange(n)
            groups.append((torch.from_numpy(atoms).to(device), torch.from_numpy(members).to(device)))
        return cls(
            n_atoms=n_atoms,
            sizes=torch.from_numpy(n_atoms).to(device),
            molecule=torch.from_numpy(np.repeat(np.arange(len(n_atoms)), n_atoms)).to(device),
            groups=tuple(groups),
        )

    def __len__(self) -> int:
        return len(self.n_atoms)

    def sum(self, values: Float[Tensor, "A *rest"]) -> Float[Tensor, "M *rest"]:
        """Sum over the atoms of each molecule."""
        return values.new_zeros((len(self), *values.shape[1:])).index_add_(0, self.molecule, values)

    def centre(self, values: Float[Tensor, "A C"], columns: int) -> Float[Tensor, "A C"]:
        """Remove each molecule's mean from the first `columns` columns (the zero-mean subspace)."""
        head = values[:, :columns]
        means = self.sum(head) / self.sizes[:, None]
        return torch.cat([head - means[self.molecule], values[:, columns:]], dim=1)

    def per_atom(self, values: Shaped[Tensor, "M *rest"]) -> Shaped[Tensor, "A *rest"]:
        """Repeat each molecule's value for its atoms."""
        return values[self.molecule]
