"""A start that is not round: the shape and the composition of a random training molecule (`ReferenceShape`).

Molecules differ from a Gaussian of their size most, and at the highest noise levels alone, in their overall shape: the
three eigenvalues of the gyration matrix X'X / (N - 1). The law here has exactly the noised eigenvalues of the data.
It and the Gaussian `block` do not change if atoms are mixed by an orthogonal matrix, so that

    KL(q(z_t) || shape_t) = KL(q(z_t) || block_t) - KL(eigenvalues under q(z_t) || eigenvalues under block_t):

it is the nearest to q(z_t) of all laws that are invariant so. N atoms have N - 1 free rows; U are r = min(3, N - 1)
orthonormal columns in them, uniform over all such frames (Stiefel manifold), R is a uniform rotation, and

    S = sqrt(N - 1) U diag(sqrt(eigenvalues)) R',   z_x = alpha S + sigma P eps,   z_h = alpha h + sigma eps,

with h the columns of the composition's atoms in random order and P the projection on zero mean. Float64.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import erfc, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float16, Float64, Int64
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules, offsets_of
from gaga.data.features import FeatureSpace, molecule_means
from gaga.noise import Moments
from gaga.storage.files import atomic_write

SHIPPED_SHAPES = Path(__file__).parent.parent / "shipped" / "shapes_qm9.safetensors"
_PER_SIZE, _ROWS = 256, 8192  # molecules of one size, and of all
_FEW = 10  # molecules of one size; with fewer, it borrows
LARGEST = 2048  # up to which float16 holds whole numbers exactly
_SEED = 0  # which training molecules the library has
# Further columns of noise of each atom: frame, order; and, of the first atom alone, choice of a molecule, rotation.
_FRAME, _ORDER, _CHOICE, _TURN, _FURTHER = slice(0, 3), 3, 4, slice(5, 9), 9


@dataclass(frozen=True, eq=False)
class ShapeLibrary:
    """Shapes and compositions of S training molecules, from small to large.

    Attributes:
        eigenvalues: of the gyration matrix X'X / (N - 1) in Å^2, the largest first, [S, 3].
        compositions: atoms of each element of the vocabulary, [S, K].
    """

    eigenvalues: Float64[np.ndarray, "S 3"]
    compositions: Int64[np.ndarray, "S K"]

    @cached_property
    def n_atoms(self) -> Int64[np.ndarray, " S"]:
        """Number of atoms of each."""
        n_atoms: NDArray[np.int64] = self.compositions.sum(axis=1)
        return n_atoms

    @classmethod
    def of(cls, molecules: PackedMolecules, indices: NDArray[np.int64], space: FeatureSpace) -> "ShapeLibrary | None":
        """At most 256 molecules of each size of those at these indices, and 8,192 in all, drawn with a fixed seed.

        None if there are no molecules.

        Raises:
            InvalidInput: an element is not in the vocabulary.
        """
        indices = np.sort(indices)
        n_atoms, rng = molecules.n_atoms[indices], np.random.default_rng(_SEED)
        sizes = [n for n in np.unique(n_atoms).tolist() if n <= LARGEST]
        most = library_size(len(sizes))
        of_size = (np.flatnonzero(n_atoms == n) for n in sizes)
        chosen = [c if len(c) <= most else np.sort(rng.choice(c, most, replace=False)) for c in of_size]
        if not chosen:
            return None
        return cls.of_these(molecules.take(indices[np.concatenate(chosen)]), space)

    @classmethod
    def of_these(cls, some: PackedMolecules, space: FeatureSpace) -> "ShapeLibrary":
        """All of these molecules, which come from small to large.

        Raises:
            InvalidInput: an element is not in the vocabulary.
        """
        compositions = [np.add.reduceat((some.atomic_numbers == z) * 1, some.offsets[:-1]) for z in space.vocabulary]
        widest = np.finfo(np.float16).max
        library = cls(np.minimum(gyration_eigenvalues(some), widest), np.stack(compositions, axis=1).astype(np.int64))
        if (library.n_atoms != some.n_atoms).any():
            raise InvalidInput("the molecules have elements outside the vocabulary", received=list(space.vocabulary))
        return cls.from_rows(library.rows(), space.n_types)  # as it will be read

    @property
    def digest(self) -> str:
        """Sha256 of the rows, which names the library among the inputs of a run."""
        return hashlib.sha256(self.rows().tobytes()).hexdigest()

    def rows(self) -> Float16[np.ndarray, "S D"]:
        """As a checkpoint holds it: eigenvalues, then atoms of each element, [S, 3 + K]."""
        rows: NDArray[np.float16] = np.concatenate([self.eigenvalues, self.compositions], axis=1).astype(
            np.float16, "C"
        )
        return rows

    @classmethod
    def from_rows(cls, rows: NDArray[Any], n_types: int) -> "ShapeLibrary":
        """The library of `rows`.

        Raises:
            InvalidInput: they are not shapes and compositions of molecules of this many elements.
        """
        if rows.dtype != np.float16 or rows.ndim != 2 or rows.shape[1] != 3 + n_types or not len(rows):
            raise InvalidInput("shapes are float16 rows", received=f"{rows.dtype} {list(rows.shape)}")
        values = rows.astype(np.float64)
        counts = values[:, 3:]
        if not np.isfinite(values).all() or (values < 0).any() or (counts != np.floor(counts)).any():
            raise InvalidInput("shapes are finite, positive, and of whole numbers of atoms")
        library = cls(values[:, :3], counts.astype(np.int64))
        if library.n_atoms.min() < 1 or (np.diff(library.n_atoms) < 0).any():
            raise InvalidInput("shapes are of molecules from small to large")
        return library

    def of_size(self, n_atoms: int, moments: Moments) -> tuple[Float64[np.ndarray, "s 3"], Int64[np.ndarray, "s K"]]:
        """Eigenvalues and compositions for molecules of this size.

        A size of fewer than ten molecules borrows from the sizes around it, the nearest first, as many as it takes:
        eigenvalues in proportion to the variance of positions by size, in the N - 1 axes that there are, compositions
        to the number of atoms.
        """
        distance = np.abs(self.n_atoms - n_atoms)
        enough = np.sort(distance)[min(_FEW, len(distance)) - 1] if np.sum(distance == 0) < _FEW else 0
        chosen = np.flatnonzero(distance <= enough)
        eigenvalues, compositions = self.eigenvalues[chosen].copy(), self.compositions[chosen].copy()
        wide, rank = _variance(moments, n_atoms), min(3, n_atoms - 1)
        for row in np.flatnonzero(distance[chosen]):
            own = _variance(moments, int(compositions[row].sum()))
            eigenvalues[row] *= wide / own if own > 0 else 1.0
            if (there := eigenvalues[row, :rank].sum()) > 0:
                eigenvalues[row] *= eigenvalues[row].sum() / there
            compositions[row] = _shared_out(compositions[row], n_atoms)
        return eigenvalues, compositions


def library_size(n_sizes: int) -> int:
    """How many molecules of a size a library has at most, if there are so many numbers of atoms."""
    return max(1, min(_PER_SIZE, _ROWS // max(n_sizes, 1)))


@dataclass(frozen=True, eq=False)
class ReferenceShape:
    """Random shapes and compositions of training molecules, noised (`gaga.noise.Reference`; see the module).

    Attributes:
        library: the molecules. moments: which columns are centred, and how widths grow with size.
        space: the columns.
        eigenvalues: the gyration eigenvalues of all molecules in Å^2, instead of the library's. Molecules of fewer
            than four atoms have the largest N - 1 of them.
        composition: atoms of each element of the vocabulary in all molecules, instead of the library's, [K].
    """

    library: ShapeLibrary
    moments: Moments
    space: FeatureSpace
    eigenvalues: tuple[float, float, float] | None = None
    composition: tuple[int, ...] | None = None

    @property
    def further(self) -> int:
        """As `gaga.noise.DrawsFurther`."""
        return _FURTHER

    def transform(
        self,
        noise: Float64[np.ndarray, "A D"],
        n_atoms: Int64[np.ndarray, " M"],
        alpha2: float,
        context: Float64[np.ndarray, "M K"] | None = None,
    ) -> Float64[np.ndarray, "A C"]:
        """z_t from standard normal noise [A, C + 9] of packed molecules of these sizes.

        Raises:
            InvalidInput: a molecule has not the number of atoms of the composition.
        """
        if self.composition is not None and (n_atoms != sum(self.composition)).any():
            raise InvalidInput("all molecules have the composition's number of atoms", received=sum(self.composition))
        offsets, columns = offsets_of(n_atoms), self.space.columns
        eps, further = noise[:, :columns], noise[:, columns:]
        x, numbers = np.zeros((len(noise), 3)), np.zeros(len(noise), dtype=np.uint8)
        known = {n: self._of_size(n) for n in np.unique(n_atoms).tolist()}
        for i, (n, start, stop) in enumerate(zip(n_atoms.tolist(), offsets, offsets[1:], strict=False)):
            (eigenvalues, compositions), own = known[n], further[start:stop]
            chance = 0.5 * erfc(-own[0, _CHOICE] / sqrt(2))
            row = self.chosen(chance, n, len(eigenvalues), None if context is None else context[i])
            x[start:stop] = ellipsoid(eigenvalues[row], own[:, _FRAME], own[0, _TURN])
            atoms = np.repeat(np.array(self.space.vocabulary, dtype=np.uint8), compositions[row])
            numbers[start:stop] = atoms[np.argsort(own[:, _ORDER])]
        clean = self.space.encode(PackedMolecules(np.zeros((len(x), 3), np.float32), numbers, offsets))
        clean[:, :3] = x / self.space.unit
        drift = np.repeat(molecule_means(eps, offsets), n_atoms, axis=0) * self.moments.centred
        z: NDArray[np.float64] = sqrt(alpha2) * clean + sqrt(1 - alpha2) * (eps - drift)
        return z

    def chosen(self, chance: float, n_atoms: int, rows: int, context: Float64[np.ndarray, " K"] | None) -> int:
        """Which of the library's molecules for a size a uniform number stands for, whatever the context."""
        return min(int(rows * chance), rows - 1)

    def _of_size(self, n_atoms: int) -> tuple[Float64[np.ndarray, "s 3"], Int64[np.ndarray, "s K"]]:
        eigenvalues, compositions = self.library.of_size(n_atoms, self.moments)
        if self.eigenvalues is not None:
            eigenvalues = np.tile(np.sort(self.eigenvalues)[::-1], (len(eigenvalues), 1))
        if self.composition is not None:
            compositions = np.tile(np.array(self.composition), (len(compositions), 1))
        return eigenvalues, compositions


def ellipsoid(
    eigenvalues: Float64[np.ndarray, " 3"], frame: Float64[np.ndarray, "N 3"], turn: Float64[np.ndarray, " 4"]
) -> Float64[np.ndarray, "N 3"]:
    """S of the module: N centred places whose gyration matrix has the N - 1 or 3 largest of these eigenvalues.

    Args:
        eigenvalues: in Å^2, the largest first.
        frame, turn: standard normal numbers.

    Returns:
        Places in Å.
    """
    rank = min(3, len(frame) - 1)
    free = frame[:, :rank] - frame[:, :rank].mean(axis=0)
    u, r = np.linalg.qr(
        free
    )  # Haar with the signs for which r has a positive diagonal (Mezzadri 2007, math-ph/0609050)
    u *= np.where(np.diag(r) < 0, -1.0, 1.0)
    axes = rotation(turn)[:, :rank]
    places: NDArray[np.float64] = (u * np.sqrt((len(frame) - 1) * eigenvalues[:rank])) @ axes.T
    return places


def rotation(normals: Float64[np.ndarray, " 4"]) -> Float64[np.ndarray, "3 3"]:
    """A uniform rotation from four standard normal numbers, a quaternion (Shoemake 1992)."""
    w, x, y, z = normals / np.linalg.norm(normals)
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip


def gyration_eigenvalues(molecules: PackedMolecules) -> Float64[np.ndarray, "M 3"]:
    """Eigenvalues of X'X / (N - 1) of each molecule in Å^2, X its centred positions; the largest first."""
    sizes, first = molecules.n_atoms, molecules.offsets[:-1]
    x = molecules.positions.astype(np.float64)
    x -= np.repeat(molecule_means(x, molecules.offsets), sizes, axis=0)
    sums = np.add.reduceat(x[:, :, None] * x[:, None, :], first, axis=0) / np.maximum(sizes - 1, 1)[:, None, None]
    eigenvalues: NDArray[np.float64] = np.clip(np.linalg.eigvalsh(sums)[:, ::-1], 0.0, None)
    return eigenvalues


def save_shapes(library: ShapeLibrary, fingerprint: str, vocabulary: Sequence[int], path: Path) -> None:
    """Write a library by itself, for checkpoints that lack theirs, with the data set that it is of."""
    about = {"dataset_fingerprint": fingerprint, "vocabulary": " ".join(map(str, vocabulary))}
    with atomic_write(path) as partial:
        save_file({"shapes": library.rows()}, partial, metadata=about)


def shipped_shapes(provenance: Mapping[str, Any], space: FeatureSpace) -> ShapeLibrary | None:
    """The library that ships, if a checkpoint of this provenance is of the same training split; else None."""
    imported = provenance.get("moments_from")
    fingerprints = {provenance.get("dataset_fingerprint"), *(imported.values() if isinstance(imported, dict) else ())}
    with safe_open(SHIPPED_SHAPES, framework="np") as file:
        about = file.metadata()
        same_columns = about["vocabulary"] == " ".join(map(str, space.vocabulary))
        if about["dataset_fingerprint"] not in fingerprints or not same_columns:
            return None
        return ShapeLibrary.from_rows(file.get_tensor("shapes"), space.n_types)


def _variance(moments: Moments, n_atoms: int) -> float:
    within, _ = moments.of_size(n_atoms)
    return float(np.trace(within[:3, :3]) / 3)


def _shared_out(composition: Int64[np.ndarray, " K"], n_atoms: int) -> Int64[np.ndarray, " K"]:
    """n_atoms atoms in these proportions: rounded down, then one more of those that lost most."""
    exact = composition * (n_atoms / composition.sum())
    counts: NDArray[np.int64] = np.floor(exact).astype(np.int64)
    counts[np.argsort(counts - exact, kind="stable")[: n_atoms - int(counts.sum())]] += 1
    return counts
