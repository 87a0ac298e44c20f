"""Properties that a model is conditioned on, or predicts: chosen by name, and on EDM's scale.

Hoogeboom et al. 2022 (EDM), section 5.2 and its published code: energies and heat capacities less those of the atoms,
(c - mean) / mean absolute deviation, and halves of QM9's training molecules for a generator and for what judges it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64, Int64

from gaga.core.errors import InvalidInput
from gaga.data.dataset import Dataset
from gaga.data.published import HALVES, Half

HALVES_SEED = 42  # EDM's
_ENERGIES = ("U0", "U", "H", "G", "Cv")
# The free atoms of QM9 (Ramakrishnan et al. 2014, atomref.txt): U0, U, H, G in Hartree, Cv in cal/(mol K).
_FREE_ATOMS = {
    1: (-0.500273, -0.498857, -0.497912, -0.510927, 2.981),
    6: (-37.846772, -37.845355, -37.844411, -37.861317, 2.981),
    7: (-54.583861, -54.582445, -54.581501, -54.598897, 2.981),
    8: (-75.064579, -75.063163, -75.062219, -75.079532, 2.981),
    9: (-99.718730, -99.717314, -99.716370, -99.733544, 2.981),
}
_HAVE_FREE_ATOMS = "qm9"  # the only data set whose values are known to be of these atoms
_HAVE_HALVES = ("qm9",)  # data sets whose published generators and judges saw different halves


@dataclass(frozen=True, eq=False)
class Targets:
    """K properties of M molecules.

    Attributes:
        names: of the properties.
        units: of each; empty if it is not known.
        values: [M, K], in these units; NaN if a molecule lacks one. QM9's U0, U, H, G and Cv are less those of the
            free atoms.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    values: Float64[np.ndarray, "M K"]

    @property
    def digest(self) -> str:
        """Sha256 of names and values."""
        return hashlib.sha256(repr(self.names).encode() + self.values.tobytes()).hexdigest()


@dataclass(frozen=True)
class Scale:
    """The scale of K properties: (c - mean) / deviation, the deviation being the mean absolute one (EDM)."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def __call__(self, values: Float64[np.ndarray, "M K"]) -> Float64[np.ndarray, "M K"]:
        """Values on the scale, [M, K]."""
        return np.asarray((values - np.array(self.mean)) / np.array(self.deviation))

    def undone(self, scaled: Float64[np.ndarray, "M K"]) -> Float64[np.ndarray, "M K"]:
        """Values in their units, [M, K]."""
        return np.asarray(scaled * np.array(self.deviation) + np.array(self.mean))


def targets_of(dataset: Dataset, names: Sequence[str]) -> Targets:
    """Properties of a data set by name.

    Raises:
        InvalidInput: there is no such property, it is named twice, or a value is infinite.
    """
    known = dataset.properties
    if unknown := [name for name in names if name not in known]:
        raise InvalidInput(
            f"{dataset.name} has no such property", received=", ".join(unknown),
            remedy=f"it has {', '.join(known)}" if known else "it has none: give the file columns or tags of numbers",
        )  # fmt: skip
    if not names or len(set(names)) != len(names):
        raise InvalidInput("properties are named once each", received=", ".join(names) or "none")
    values = np.stack([_above_free_atoms(dataset, name) for name in names], axis=1)
    if np.isinf(values).any():
        raise InvalidInput("a property is infinite", received=names[int(np.isinf(values).any(axis=0).argmax())])
    return Targets(tuple(names), tuple(dataset.annotations.units.get(name, "") for name in names), values)


def scale_of(targets: Targets, molecules: Int64[np.ndarray, " m"]) -> Scale:
    """Mean and mean absolute deviation over these molecules; EDM takes the validation set.

    Raises:
        InvalidInput: none of them has a property, or all have the same value.
    """
    some = targets.values[molecules]
    for name, column in zip(targets.names, some.T, strict=True):
        finite = column[np.isfinite(column)]
        if len(finite) == 0 or np.ptp(finite) == 0:
            said = "no molecule has a value" if len(finite) == 0 else f"{finite[0]:g} for every molecule"
            raise InvalidInput(f"nothing can be learnt of {name}", received=said)
    mean = np.nanmean(some, axis=0)
    return Scale(tuple(mean.tolist()), tuple(np.nanmean(np.abs(some - mean), axis=0).tolist()))


def has_halves(dataset: Dataset) -> bool:
    """Whether published models of this data set were trained on one of the halves, and judged by the other."""
    return dataset.name in _HAVE_HALVES


def halves_of(dataset: Dataset) -> tuple[Int64[np.ndarray, " m"], Int64[np.ndarray, " m"]]:
    """EDM's halves of the training molecules: the first trains what judges, the second what generates."""
    train = dataset.splits["train"]
    # The published halves were drawn with numpy's legacy generator, so no newer one gives them.
    order = np.random.RandomState(HALVES_SEED).permutation(len(train))
    return train[order[: len(train) // 2]], train[order[len(train) // 2 :]]


def with_half(dataset: Dataset, half: Half) -> Dataset:
    """The data set with one of EDM's halves as its training molecules; validation and test molecules stay."""
    train = halves_of(dataset)[HALVES.index(half)]
    return replace(dataset, splits={**dataset.splits, "train": np.sort(train)})


def _above_free_atoms(dataset: Dataset, name: str) -> Float64[np.ndarray, " M"]:
    """A property, less that of the free atoms if it is one of QM9's energies or its heat capacity."""
    values = dataset.properties[name]
    if dataset.name != _HAVE_FREE_ATOMS or name not in _ENERGIES:
        return values
    of_atom = np.zeros(256)
    of_atom[list(_FREE_ATOMS)] = [row[_ENERGIES.index(name)] for row in _FREE_ATOMS.values()]
    return np.asarray(values - np.add.reduceat(of_atom[dataset.atomic_numbers], dataset.offsets[:-1]))
