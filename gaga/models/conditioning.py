"""What a model is conditioned on: properties by name, their scale, and which values molecules of each size have.

The network receives a context of K + 1 numbers for each molecule: the K values on EDM's scale, and a 1. The null
context, which asks for nothing, is all zeros, so that it differs from a molecule of mean properties. The start
q(z_t | c, N) has the variance of positions of molecules of N atoms times 1 + slopes . (c - mean_N), a linear regression
within sizes.
"""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Float32, Float64, Int64
from numpy.typing import NDArray

from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules
from gaga.data.dataset import Dataset
from gaga.data.features import FeatureSpace, molecule_means
from gaga.data.shapes import LARGEST, ReferenceShape, ShapeLibrary
from gaga.data.targets import Scale, Targets, targets_of
from gaga.noise import ReferenceGaussian

_ROWS = 16_384  # molecules of a library
_FEW = 10  # molecules of one size; with fewer, it borrows
_EXPLAINS = 0.02  # share of the variance of widths that a property has to explain
_TAIL = 0.01  # share of the widths that is beyond each end of their range
_SEED = 0  # which training molecules the library has
_KERNEL = 0.3  # width of the kernel in a property, over its standard deviation within a size


@dataclass(frozen=True, eq=False, kw_only=True)
class Conditioning:
    """K properties that a model is conditioned on, and a library of S training molecules that have them all.

    Attributes:
        names, units: of the properties; a unit is empty if it is not known.
        scale: on which the network receives them.
        dropout: share of the training molecules that the network saw without their properties.
        values: of the properties of the library's molecules, from small to large, in these units, [S, K].
        shapes: their shapes and compositions.
        slopes: relative growth of the variance of positions with each property on its scale, [K]; 0 if it explains
            little.
        widths: smallest and largest variance of positions over the mean of its size, ends of the data's range.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    scale: Scale
    dropout: float
    values: Float32[np.ndarray, "S K"]
    shapes: ShapeLibrary
    slopes: tuple[float, ...]
    widths: tuple[float, float]

    def __post_init__(self) -> None:
        k, s = len(self.names), len(self.values)
        lengths = {len(self.units), len(self.scale.mean), len(self.scale.deviation), len(self.slopes)}
        if not k or lengths != {k} or self.values.shape != (s, k) or not s or len(self.widths) != 2:
            raise InvalidInput("the parts of a conditioning differ in their numbers of properties")
        numbers = [*self.scale.mean, *self.scale.deviation, *self.slopes, *self.widths, self.dropout]
        if not np.isfinite(numbers).all() or not np.isfinite(self.values).all() or min(self.scale.deviation) <= 0:
            raise InvalidInput("the numbers of a conditioning are finite, and its deviations positive")
        if len(self.n_atoms) != s or not 0 < self.widths[0] <= self.widths[1]:
            raise InvalidInput("a conditioning has a shape for each molecule, and widths above 0")

    @classmethod
    def of(
        cls,
        molecules: PackedMolecules,
        chosen: NDArray[np.int64],
        targets: Targets,
        *,
        scale: Scale,
        space: FeatureSpace,
        dropout: float,
    ) -> "Conditioning":
        """At most 16,384 of the molecules at these indices that have all properties, drawn with a fixed seed.

        None of them has more than 2,048 atoms.

        Raises:
            InvalidInput: no molecule has all properties.
        """
        chosen = np.sort(chosen)
        fit = np.isfinite(targets.values[chosen]).all(axis=1) & (molecules.n_atoms[chosen] <= LARGEST)
        chosen = chosen[fit]
        if not len(chosen):
            raise InvalidInput("no training molecule has all properties", received=", ".join(targets.names))
        if len(chosen) > _ROWS:
            chosen = np.sort(np.random.default_rng(_SEED).choice(chosen, _ROWS, replace=False))
        chosen = chosen[np.argsort(molecules.n_atoms[chosen], kind="stable")]
        some, values = molecules.take(chosen), targets.values[chosen]
        slopes, widths = _regressed(some, scale(values))
        return cls(
            names=targets.names, units=targets.units, scale=scale, dropout=dropout,
            values=values.astype(np.float32), shapes=ShapeLibrary.of_these(some, space), slopes=slopes, widths=widths,
        )  # fmt: skip

    @property
    def n_atoms(self) -> Int64[np.ndarray, " S"]:
        """Numbers of atoms of the library's molecules, [S]."""
        return self.shapes.n_atoms

    @property
    def columns(self) -> int:
        """Numbers of a context, K + 1."""
        return len(self.names) + 1

    @property
    def digest(self) -> str:
        """Sha256 of names, scale and library."""
        said = repr((self.names, self.scale.mean, self.scale.deviation, self.dropout))
        return hashlib.sha256(said.encode() + self.n_atoms.tobytes() + self.values.tobytes()).hexdigest()

    def context(self, values: Float64[np.ndarray, "M K"]) -> Float64[np.ndarray, "M K_plus_1"]:
        """The context of molecules that have these values, in their units; the null context if one is NaN."""
        context = np.concatenate([self.scale(values), np.ones((len(values), 1))], axis=1)
        context[np.isnan(context).any(axis=1)] = 0.0
        return context

    def undone(self, context: Float64[np.ndarray, "M K_plus_1"]) -> Float64[np.ndarray, "M K"]:
        """The values of a context, in their units; NaN of the null context."""
        return np.asarray(np.where(context[:, -1:] == 0, np.nan, self.scale.undone(context[:, :-1])))

    def contexts_of(self, dataset: Dataset) -> Float32[np.ndarray, "M K_plus_1"]:
        """The context of each molecule of a data set.

        Raises:
            InvalidInput: it lacks a property.
        """
        return self.context(targets_of(dataset, self.names).values).astype(np.float32)

    def of_size(self, n_atoms: int) -> Float64[np.ndarray, "s K"]:
        """Values of the library's molecules of this size, of the nearest sizes too if there are fewer than ten."""
        distance = np.abs(self.n_atoms - n_atoms)
        enough = np.sort(distance)[min(_FEW, len(distance)) - 1] if np.sum(distance == 0) < _FEW else 0
        return np.asarray(self.values[distance <= enough].astype(np.float64))

    def widening(
        self, context: Float64[np.ndarray, "M K_plus_1"], n_atoms: Int64[np.ndarray, " M"]
    ) -> Float64[np.ndarray, " M"]:
        """Variance of positions of molecules of these sizes and contexts, over that of their size; 1 of the null.

        A property beyond its range at that size counts as the end of it.
        """
        grown = np.ones(len(n_atoms))
        if not any(self.slopes):
            return grown
        for n in np.unique(n_atoms).tolist():
            mean, low, high = self._on_scale(n)
            here = (n_atoms == n) & (context[:, -1] != 0)
            grown[here] += (np.clip(context[here, :-1], low, high) - mean) @ np.array(self.slopes)
        return np.where(context[:, -1] == 0, 1.0, np.clip(grown, *self.widths))

    def _on_scale(self, n_atoms: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Mean, smallest and largest of each property at a size, on its scale."""
        if n_atoms not in self._sizes:
            scaled = self.scale(self.of_size(n_atoms))
            self._sizes[n_atoms] = (scaled.mean(axis=0), scaled.min(axis=0), scaled.max(axis=0))
        return self._sizes[n_atoms]

    @cached_property
    def _sizes(self) -> dict[int, tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]]:
        return {}


@dataclass(frozen=True, eq=False)
class ConditionedGaussian:
    """q(z_t | c, N) as a Gaussian (`gaga.noise.Reference`): the variance of positions follows the context."""

    plain: ReferenceGaussian
    conditioning: Conditioning

    def transform(
        self,
        noise: Float64[np.ndarray, "A C"],
        n_atoms: Int64[np.ndarray, " M"],
        alpha2: float,
        context: Float64[np.ndarray, "M K"] | None = None,
    ) -> Float64[np.ndarray, "A C"]:
        """As `gaga.noise.Reference`; without a context as the plain one."""
        z = self.plain.transform(noise, n_atoms, alpha2)
        if context is None or self.plain.kind == "prior":
            return z
        of_size = {n: float(self.plain.covariances(n, alpha2)[0][0, 0]) for n in np.unique(n_atoms).tolist()}
        total = np.array([of_size[n] for n in n_atoms.tolist()])  # alpha^2 v + sigma^2
        from_data = 1 - (1 - alpha2) / total
        growth = 1 + from_data * (self.conditioning.widening(context, n_atoms) - 1)
        z[:, :3] *= np.sqrt(np.repeat(growth, n_atoms))[:, None]
        return z


@dataclass(frozen=True, eq=False)
class ConditionedShape(ReferenceShape):
    """q(z_t | c, N) by shapes and compositions of molecules of like properties: a kernel in those that have slopes."""

    conditioning: Conditioning = field(kw_only=True)

    def chosen(self, chance: float, n_atoms: int, rows: int, context: Float64[np.ndarray, " K_plus_1"] | None) -> int:
        """As `ReferenceShape`."""
        follows = np.array(self.conditioning.slopes) != 0
        if context is None or context[-1] == 0 or not follows.any():
            return super().chosen(chance, n_atoms, rows, context)
        scaled = self.conditioning.scale(self.conditioning.of_size(n_atoms))[:, follows]
        spread = np.maximum(scaled.std(axis=0), 1e-6)
        away = (((scaled - context[:-1][follows]) / (_KERNEL * spread)) ** 2).sum(axis=1)
        upto = np.cumsum(np.exp(-0.5 * (away - away.min())))
        return min(int(np.searchsorted(upto, chance * upto[-1], side="right")), rows - 1)


def _regressed(
    molecules: PackedMolecules, scaled: Float64[np.ndarray, "S K"]
) -> tuple[tuple[float, ...], tuple[float, float]]:
    """Slopes and range of the variance of positions over the mean of its size, by properties within sizes."""
    sizes = molecules.n_atoms
    x = molecules.positions.astype(np.float64)
    x -= np.repeat(molecule_means(x, molecules.offsets), sizes, axis=0)
    variance = np.add.reduceat((x**2).sum(axis=1), molecules.offsets[:-1]) / (3 * np.maximum(sizes - 1, 1))
    _, which, count = np.unique(sizes, return_inverse=True, return_counts=True)

    def mean_of_size(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((np.bincount(which, values) / count)[which])

    usual = mean_of_size(variance)
    moves = usual > 0
    growth = np.where(moves, variance / np.where(moves, usual, 1.0) - 1, 0.0)
    away = scaled - np.stack([mean_of_size(column) for column in scaled.T], axis=1)
    products, squares = away.T @ growth, (away**2).sum(axis=0) * (growth @ growth)
    explained = np.divide(products**2, squares, out=np.zeros_like(squares), where=squares > 0)
    kept, slopes = explained > _EXPLAINS, np.zeros(scaled.shape[1])
    if kept.any():
        slopes[kept] = np.linalg.lstsq(away[:, kept], growth, rcond=None)[0]
    low, high = np.quantile(1 + growth[moves], [_TAIL, 1 - _TAIL]) if moves.any() else (1.0, 1.0)
    return tuple(slopes.tolist()), (max(float(low), 1e-3), max(float(high), 1e-3))
