"""Atoms and types that are known, put back at every noise level (RePaint, Lugmayr et al. 2022, arXiv 2201.09865).

The first k atoms of each molecule are a fragment; the types of all atoms may be known as well. Behind each step, at
the level alpha, sigma that it ends at, with x_K the fragment's positions from its own centre and < > means over K:

    z_K <- alpha x_K + sigma (xi_K - <xi_K>) + <z_K>

The mean stays that of the sampler: where the fragment lies in the molecule is known only when the molecule is there.
So every molecule's mean stays zero, no atom is moved but those of K, and the frame is the fragment's. At the start,
where z is N(0, v_t) on the zero-mean subspace, this is the exact law of z given the fragment: what is within K, within
the others, and between the two means are independent there.

Types are put back so, too. If they are centred, their mean over K is known but for the mean m of all atoms, which
follows the molecule's composition: m ~ N(mu, tau^2) over training molecules of this size with the fragment's atoms.
Given them the mean has variance V = alpha^2 tau^2 + sigma^2 (1/k - 1/N) around c = alpha (<h_K> - mu), and

    <z_K> <- c + kappa (<z_K> - c) + sqrt(sigma^2 (1/k - 1/N) (1 + kappa)) xi,    kappa = alpha^2 tau^2 / V

keeps that law: much noise, and the fragment's elements decide; little noise, and the atoms around do. The other atoms
move by what keeps the mean zero.

A composition, the types of all atoms, is put in at the start and left to the network down to 0.1 Å of noise. There it
is dealt out once, each element to the atoms that are nearest to it, and put back from there on. Types put back all the
way from T* say which atom has which element while positions alone decide where it is: with qm9_small none of 40
molecules was valid so (C7H10O2, seed 0, 50 evaluations); held from 0.1 Å on, 6 of 40.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, UInt8
from torch import Tensor

from gaga.chem.geometry import superimposed
from gaga.core.molecules import PackedMolecules, offsets_of
from gaga.data.features import FeatureSpace, require_features
from gaga.models.model import Model
from gaga.models.network.layout import Layout
from gaga.models.sampling.config import SampleConfig
from gaga.models.sampling.fragment import Fragment
from gaga.models.sampling.molecules import Sampled
from gaga.models.sampling.solvers import solver_of

_FEW = 10  # compositions; with fewer that have the fragment's atoms, all of the size are looked at
HELD = 0.1  # Å of noise from which on the types of all atoms are held
_UNKNOWN = 1e3  # tau of a model without compositions: the mean stays that of the sampler


class Types(Protocol):
    """Elements of all atoms, [A], of molecules of these keys and numbers of atoms."""

    def __call__(
        self, keys: Int64[np.ndarray, " M"], sizes: Int64[np.ndarray, " M"], seed: int
    ) -> UInt8[np.ndarray, " A"]:
        """As the class says."""
        ...


@dataclass(frozen=True, eq=False)
class Known:
    """Puts back a fragment, types, or both (`loop.Edit`; see the module).

    Attributes:
        model, config: what is sampled, and how.
        fragment: the first k atoms of each molecule; none if None.
        types: the elements of all atoms; None if those of the fragment alone are known.
    """

    model: Model
    config: SampleConfig
    fragment: Fragment | None = None
    types: Types | None = None

    def __post_init__(self) -> None:
        plain = solver_of(self.model, replace(self.config, resample=1 if self.config.holds else None))
        alpha, sigma = self.model.schedule.alpha_sigma_at(plain.time)
        object.__setattr__(self, "_alpha", [*alpha.tolist(), 1.0])
        object.__setattr__(self, "_sigma", [*sigma.tolist(), 0.0])

    @property
    def space(self) -> FeatureSpace:
        """The columns."""
        return require_features(self.model.space)

    def about(
        self, keys: Int64[np.ndarray, " M"], sizes: Int64[np.ndarray, " M"], seed: int
    ) -> Float64[np.ndarray, "A E"]:
        """Of each atom: whether its position and its type are known, both, and mu and tau of the type columns."""
        offsets, k = offsets_of(sizes), 0 if self.fragment is None else len(self.fragment)
        place = np.arange(offsets[-1]) - np.repeat(offsets[:-1], sizes)
        numbers, fixed = self._elements(keys, sizes, seed), place < k
        space = replace(self.space, centred_features=False)
        x = np.zeros((len(place), 3))
        if self.fragment is not None:
            own = self.fragment.positions - self.fragment.positions.mean(axis=0)
            x[fixed] = own[place[fixed]] / space.unit
        h = space.encode(PackedMolecules(np.zeros((len(place), 3), np.float32), numbers, offsets))[:, 3:]
        known = np.ones_like(fixed) if self.types is not None else fixed
        spread = {n: self._composition_law(n, h.shape[1]) for n in np.unique(sizes).tolist()}
        law = np.stack([np.concatenate(spread[n]) for n in sizes.tolist()])[np.repeat(np.arange(len(sizes)), sizes)]
        whether = np.stack([fixed, known], axis=1).astype(np.float64)
        return np.concatenate([whether, x, h * known[:, None], law], axis=1)

    def __call__(
        self,
        z: Float[Tensor, "A C"],
        k: int,
        layout: Layout,
        about: Float[Tensor, "A E"],
        normals: Callable[[int], Float[Tensor, "A C"]],
    ) -> Float[Tensor, "A C"]:
        """As `loop.Edit`: z with what is known put back, and noised back to the level before if the step is repeated.

        The molecule itself, behind the last step, is left to `finished`.
        """
        tries, last = self.config.tries, len(self._levels[0]) - 2
        step = min(k // tries, last)  # of the solver without repetition; the start is -1
        alpha, sigma = (float(level[step + 1]) for level in self._levels)
        if k >= 0 and step == last:
            return z if self.types is None else with_types(z, about, layout, centred=self.space.centred_features)
        if self.types is not None and k >= 0:
            if self.space.unit * sigma / alpha > HELD:
                about = torch.cat([about[:, :1], about[:, :1], about[:, 2:]], dim=1)  # the fragment's types alone
            elif self._is_first_held(step) and k % tries == 0:  # the batch keeps `about`: later steps find them there
                about[:, 5 : 2 + z.shape[1]] = self._dealt(z, about, layout)
        z = put_back(z, alpha, sigma, layout, about, normals(2 * k + 2), centred=self.space.centred_features)
        if k < 0 or k % tries == tries - 1:
            return z
        before, noise = (float(level[step]) for level in self._levels)
        ratio = before / alpha
        fresh = layout.centre(normals(2 * k + 3), self.space.centred_columns)
        return ratio * z + math.sqrt(max(noise**2 - (ratio * sigma) ** 2, 0.0)) * fresh

    def _is_first_held(self, step: int) -> bool:
        alpha, sigma = (level[step] for level in self._levels)
        return self.space.unit * sigma / alpha > HELD

    def _dealt(self, z: Float[Tensor, "A C"], about: Float[Tensor, "A E"], layout: Layout) -> Float[Tensor, "A F"]:
        """The known types, dealt out to the atoms that are nearest to having them; a fragment keeps its own.

        Element by element, hydrogens last, an element's atoms are those with the largest lead in its column.
        """
        space, h = self.space, about[:, 5 : 2 + z.shape[1]].clone()
        values, dealt = z[:, 3 : 3 + space.n_types].clone(), about[:, 0] > 0
        wanted = layout.sum((h[:, : space.n_types] > 0) * (~dealt)[:, None].to(h))
        order = sorted(range(space.n_types), key=lambda column: space.vocabulary[column] == 1)
        for column in order:
            others = torch.cat([values[:, :column], values[:, column + 1 :]], dim=1)
            lead = torch.where(dealt, float("-inf"), values[:, column] - others.amax(dim=1))
            rows = lead.argsort(descending=True)
            rows = rows[layout.molecule[rows].argsort(stable=True)]
            rank = torch.empty_like(rows)
            rank[rows] = torch.arange(len(rows), device=z.device) - layout.offsets[layout.molecule[rows]]
            mine = (rank < wanted[layout.molecule, column]) & ~dealt
            row = torch.zeros_like(h[:1])
            row[0, column] = 1 / space.factors[1]
            if space.include_charges:
                row[0, -1] = space.vocabulary[column] / space.factors[2]
            h = torch.where(mine[:, None], row, h)
            dealt = dealt | mine
            values[:, column] = float("-inf")
            values = torch.where(values.isinf().all(dim=1, keepdim=True), torch.zeros_like(values), values)
        return h

    def finished(self, molecule: Sampled, seed: int) -> Sampled:
        """The molecule in the fragment's frame, the fragment's atoms put back exactly.

        Its notes say how far off the fragment was (`fragment_rmsd`, Å) and how many of its types (`types_put_back`).
        """
        if not molecule.finite or self.fragment is None:
            return molecule
        k, numbers = len(self.fragment), molecule.atomic_numbers.copy()
        numbers[:k] = self.fragment.atomic_numbers
        moved = superimposed(molecule.positions, self.fragment.positions)
        off = moved[:k] - self.fragment.positions
        moved[:k] = self.fragment.positions
        notes = {"types_put_back": float((numbers != molecule.atomic_numbers).sum()),
                 "fragment_rmsd": float(np.sqrt((off**2).sum() / k))}  # fmt: skip
        return replace(
            molecule, atomic_numbers=numbers, positions=moved.astype(np.float32), guessed=False,
            notes={**molecule.notes, **notes},
        )  # fmt: skip

    @property
    def _levels(self) -> tuple[list[float], list[float]]:
        """Alpha and sigma at the start and behind each step."""
        return self._alpha, self._sigma  # type: ignore[attr-defined]

    def _elements(
        self, keys: Int64[np.ndarray, " M"], sizes: Int64[np.ndarray, " M"], seed: int
    ) -> UInt8[np.ndarray, " A"]:
        """Of all atoms; those that are not known are the first of the vocabulary."""
        if self.types is not None:
            return self.types(keys, sizes, seed)
        numbers = np.full(int(sizes.sum()), self.space.vocabulary[0], dtype=np.uint8)
        if self.fragment is not None:
            first = offsets_of(sizes)[:-1]
            numbers[first[:, None] + np.arange(len(self.fragment))] = self.fragment.atomic_numbers
        return numbers

    def _composition_law(self, n: int, columns: int) -> tuple[Float64[np.ndarray, " F"], Float64[np.ndarray, " F"]]:
        """mu and tau of the type columns, of molecules of n atoms that have the fragment's."""
        if self.types is not None or self.fragment is None or not self.space.centred_features:
            return np.zeros(columns), np.zeros(columns)
        if self.model.shapes is None:
            return np.zeros(columns), np.full(columns, _UNKNOWN)
        _, counts = self.model.shapes.of_size(n, self.model.known_moments())
        own = np.array([(self.fragment.atomic_numbers == z).sum() for z in self.space.vocabulary])
        having = counts[(counts >= own).all(axis=1)]
        counts = having if len(having) >= _FEW else counts
        numbers = np.array(self.space.vocabulary, dtype=np.uint8)
        alone = PackedMolecules(np.zeros((len(numbers), 3), np.float32), numbers, np.arange(len(numbers) + 1))
        means = counts / n @ replace(self.space, centred_features=False).encode(alone)[:, 3:]
        return means.mean(axis=0), means.std(axis=0)


def with_types(
    z: Float[Tensor, "A C"], about: Float[Tensor, "A E"], layout: Layout, *, centred: bool
) -> Float[Tensor, "A C"]:
    """Molecules with exactly the known types."""
    h, mask = about[:, 5 : 2 + z.shape[1]], about[:, 1:2]
    exact = h - _mean(mask, h, layout) if centred else h
    return torch.cat([z[:, :3], torch.where(mask > 0, exact, z[:, 3:])], dim=1)


def put_back(
    z: Float[Tensor, "A C"],
    alpha: float,
    sigma: float,
    layout: Layout,
    about: Float[Tensor, "A E"],
    noise: Float[Tensor, "A C"],
    *,
    centred: bool,
) -> Float[Tensor, "A C"]:
    """z with what is known of it put back at a level, as the module says.

    Args:
        z: centred. alpha, sigma: of the level. layout: of the batch.
        about: what `Known.about` gives.
        noise: standard normal numbers.
        centred: whether types are.
    """
    h, mu, tau = about[:, 5:].chunk(3, dim=1)
    positions = _within(about[:, :1], about[:, 2:5], z[:, :3], noise[:, :3], alpha, sigma, layout)
    if not centred:
        types = torch.where(about[:, 1:2] > 0, alpha * h + sigma * noise[:, 3:], z[:, 3:])
        return torch.cat([positions, types], dim=1)
    mask = about[:, 1:2]
    types = _within(mask, h - _mean(mask, h, layout), z[:, 3:], noise[:, 3:], alpha, sigma, layout)
    known, size = layout.per_atom(layout.sum(mask)).clamp(min=1.0), layout.per_atom(layout.sizes)[:, None]
    between = sigma**2 * (1 / known - 1 / size)
    drawn = (alpha * tau) ** 2
    kappa = torch.where(between > 0, drawn / (drawn + between).clamp(min=1e-30), torch.ones_like(drawn))
    expected = alpha * (_mean(mask, h, layout) - mu)
    off = _mean(mask, z[:, 3:], layout) - expected
    fresh = torch.sqrt((between * (1 + kappa)).clamp(min=0.0)) * _mean(mask, noise[:, 3:], layout) * known.sqrt()
    shift = (kappa - 1) * off + fresh
    some = (layout.per_atom(layout.sum(mask)) > 0) & (known < size)  # of all atoms' types the mean is zero
    others = -known / (size - known).clamp(min=1.0) * shift
    return torch.cat([positions, types + some * torch.where(mask > 0, shift, others)], dim=1)


def _within(
    mask: Float[Tensor, "A 1"],
    known: Float[Tensor, "A n"],
    z: Float[Tensor, "A n"],
    noise: Float[Tensor, "A n"],
    alpha: float,
    sigma: float,
    layout: Layout,
) -> Float[Tensor, "A n"]:
    """z with the masked rows put back around their own mean; `known` has zero mean over them."""
    put = alpha * known + sigma * (noise - _mean(mask, noise, layout)) + _mean(mask, z, layout)
    return torch.where(mask > 0, put, z)


def _mean(mask: Float[Tensor, "A 1"], values: Float[Tensor, "A n"], layout: Layout) -> Float[Tensor, "A n"]:
    """The mean over each molecule's masked rows, at each of its rows; 0 if it has none."""
    return layout.per_atom(layout.sum(mask * values) / layout.sum(mask).clamp(min=1.0))
