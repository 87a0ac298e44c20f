"""Where each atom of a packed batch lies: its molecule, molecules of equal size, tiles of rows for fused kernels."""

from dataclasses import astuple, dataclass, field
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from gaga.core.errors import InvalidInput
from gaga.models.network.tiles import TileCapacity, Tiles


@dataclass(frozen=True)
class Capacity:
    """Room for a batch whose shapes stay the same from step to step, as a CUDA graph needs them.

    Attributes:
        molecules: one more than the batch has, at least: the last one owns the filler atoms.
        atoms: rows. tiles: what the tiles of these rows take at most.
    """

    molecules: int
    atoms: int
    tiles: TileCapacity

    @classmethod
    def around(
        cls, n_atoms: Int64[np.ndarray, " M"], *, molecules: int | None = None, margin: float = 0.03
    ) -> "Capacity":
        """Room for this batch and others like it: `margin` more of everything, rows in whole tiles."""
        tiles = TileCapacity.around(n_atoms, margin)
        return cls((molecules or len(n_atoms)) + 1, tiles.rows, tiles)

    def holds(self, n_atoms: Int64[np.ndarray, " M"]) -> bool:
        """Whether a batch fits."""
        return len(n_atoms) < self.molecules and int(n_atoms.sum()) <= self.atoms and self.tiles.holds(n_atoms)

    def grown(self, n_atoms: Int64[np.ndarray, " M"]) -> "Capacity":
        """Room for this batch and others like it, and for whatever fitted before."""
        more = Capacity.around(n_atoms)
        tiles = TileCapacity(*map(max, astuple(self.tiles), astuple(more.tiles)))
        return Capacity(max(self.molecules, more.molecules), max(self.atoms, more.atoms), tiles)


@dataclass(eq=False)
class Layout:
    """M packed molecules on a device.

    Attributes:
        n_atoms: size of each molecule, on the host; without filler.
        sizes: the same on the device, [M]; 1 for molecules that fill a capacity.
        molecule: molecule of each atom, [A].
        tiles: rows in tiles, as the fused kernels take them; made when first asked for.
        pad_to: the width that the naive kernel pads to; None is the largest molecule.
        capacity: the room that the batch is padded to, if it is.
        overwritten: whether another batch was copied into the tensors.
    """

    n_atoms: Int64[np.ndarray, " real"]
    sizes: Int64[Tensor, " M"]
    molecule: Int64[Tensor, " A"]
    pad_to: int | None = None
    capacity: Capacity | None = field(default=None, repr=False)
    overwritten: bool = field(default=False, repr=False)
    _groups: dict[int, tuple[tuple[Tensor, Tensor], ...]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls, n_atoms: Int64[np.ndarray, " M"], device: torch.device | str = "cpu", *, pad_to: int | None = None
    ) -> "Layout":
        """The layout of molecules of these sizes.

        Raises:
            InvalidInput: there are no molecules, or one has no atoms, or more than `pad_to`.
        """
        if len(n_atoms) == 0 or n_atoms.min() < 1:
            raise InvalidInput("every molecule needs at least one atom", received=f"sizes {n_atoms[:10]}")
        if pad_to is not None and n_atoms.max() > pad_to:
            raise InvalidInput(f"a molecule is larger than the {pad_to} atoms to pad to", received=int(n_atoms.max()))
        return cls(
            n_atoms=n_atoms,
            sizes=torch.from_numpy(n_atoms).to(device),
            molecule=torch.from_numpy(np.repeat(np.arange(len(n_atoms)), n_atoms)).to(device),
            pad_to=pad_to,
        )

    @classmethod
    def filled(
        cls, n_atoms: Int64[np.ndarray, " M"], capacity: Capacity, device: torch.device | str = "cpu"
    ) -> "Layout":
        """The layout of a batch in a fixed capacity; filler atoms follow its own, without any edges.

        Raises:
            InvalidInput: the batch does not fit.
        """
        if not capacity.holds(n_atoms):
            raise InvalidInput("the batch does not fit its capacity", received=f"{len(n_atoms)} molecules")
        filler = capacity.atoms - int(n_atoms.sum())
        sizes = np.ones(capacity.molecules, dtype=np.int64)
        sizes[: len(n_atoms)] = n_atoms
        sizes[-1] = max(filler, 1)
        molecule = np.full(capacity.atoms, capacity.molecules - 1)
        molecule[: capacity.atoms - filler] = np.repeat(np.arange(len(n_atoms)), n_atoms)
        return cls(
            n_atoms=n_atoms,
            sizes=torch.from_numpy(sizes).to(device),
            molecule=torch.from_numpy(molecule).to(device),
            capacity=capacity,
        )

    def groups(self, most: int) -> tuple[tuple[Tensor, Tensor], ...]:
        """For each distinct size n, the atoms [b, n] of b molecules and those molecules [b]; cut to about `most` edges.

        Raises:
            InvalidInput: another batch was copied into the tensors, and its sizes are not known on the host.
        """
        if self.overwritten:
            raise InvalidInput("another batch was copied into this layout, which only kernels over tiles can run")
        if most not in self._groups:
            self._groups[most] = self._grouped(most)
        return self._groups[most]

    def _grouped(self, most: int) -> tuple[tuple[Tensor, Tensor], ...]:
        starts = np.cumsum(self.n_atoms) - self.n_atoms
        groups = []
        for n in np.unique(self.n_atoms):
            members = np.flatnonzero(self.n_atoms == n)
            for part in np.array_split(members, -(-len(members) * int(n) ** 2 // most)):
                if len(part):
                    groups.append((starts[part][:, None] + np.arange(n), part))
        if filler := len(self.molecule) - int(self.n_atoms.sum()):
            groups.append((np.arange(-filler, 0)[:, None] + len(self.molecule), np.full(filler, len(self) - 1)))
        device = self.sizes.device
        return tuple((torch.from_numpy(a).to(device), torch.from_numpy(m).to(device)) for a, m in groups)

    @cached_property
    def tiles(self) -> Tiles:
        """Rows in tiles of 64."""
        capacity = self.capacity.tiles if self.capacity else None
        return Tiles.of(self.n_atoms, self.sizes.device, capacity)

    @cached_property
    def place(self) -> Int64[Tensor, " A"]:
        """Number of each atom within its molecule."""
        place = np.concatenate([np.arange(n) for n in self.n_atoms])
        filler = np.arange(len(self.molecule) - len(place))
        return torch.from_numpy(np.concatenate([place, filler])).to(self.sizes.device)

    @cached_property
    def offsets(self) -> Int64[Tensor, " M_plus_1"]:
        """First row of each molecule, and the number of rows behind the last; filler has none."""
        offsets = np.full(len(self) + 1, self.n_atoms.sum())
        offsets[: len(self.n_atoms)] = np.cumsum(self.n_atoms) - self.n_atoms
        return torch.from_numpy(offsets).to(self.sizes.device)

    def tensors(self) -> dict[str, Tensor]:
        """Everything on the device that a captured step reads, by name."""
        names = ("sizes", "molecule", "place", "offsets")
        return {name: getattr(self, name) for name in names} | self.tiles.tensors()

    def copy_(self, other: "Layout") -> None:
        """Copy another batch of the same capacity into the tensors; `n_atoms` does not change.

        Does not wait until the device has copied a batch that is on the host.
        """
        self.overwritten, source = True, other.tensors()
        for name, target in self.tensors().items():
            pinned = target.device.type == "cuda" and source[name].device.type == "cpu"
            target.copy_(source[name].pin_memory() if pinned else source[name], non_blocking=pinned)

    def __len__(self) -> int:
        return len(self.sizes)

    def sum(self, values: Float[Tensor, "A *rest"]) -> Float[Tensor, "M *rest"]:
        """Sum over the atoms of each molecule, in their order and without atomics; zero for filler."""
        if values.device.type == "mps":  # has no segment_reduce
            return values.new_zeros((len(self), *values.shape[1:])).index_add_(0, self.molecule, values)
        return torch.segment_reduce(values.contiguous(), "sum", offsets=self.offsets, axis=0, unsafe=True, initial=0)

    def centre(self, values: Float[Tensor, "A C"], columns: int) -> Float[Tensor, "A C"]:
        """Remove each molecule's mean from the first `columns` columns (the zero-mean subspace)."""
        head = values[:, :columns]
        means = self.sum(head) / self.sizes[:, None]
        return torch.cat([head - means[self.molecule], values[:, columns:]], dim=1)

    def per_atom(self, values: Shaped[Tensor, "M *rest"]) -> Shaped[Tensor, "A *rest"]:
        """Repeat each molecule's value for its atoms."""
        return values[self.molecule]
