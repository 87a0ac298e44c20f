"""Molecules and their drawings as text for a page: whole numbers of two bytes or one, in base64.

`gaga/page/template/data.js` reads what is packed here; all numbers are little-endian.
"""

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from gaga.chem.connectivity import covalent_radius
from gaga.chem.drawing import Depiction
from gaga.chem.elements import symbol_of
from gaga.core.molecules import PackedMolecules

PLACE = 0.01
"""Å of one unit of a drawing's coordinates."""

_FINEST, _LARGEST = 0.001, 32000  # Å of one unit of positions, and the largest number of units
_OTHER = "#b0338c"
# Colours by the habit of Corey, Pauling and Koltun, dark enough on white.
_COLOURS = {
    1: "#d8d8d8", 5: "#d98c7a", 6: "#505050", 7: "#2f54d9", 8: "#d91a1a", 9: "#3f9e3f", 14: "#a08a5a", 15: "#d97a00",
    16: "#b59b00", 17: "#1f8f1f", 35: "#8f2f1f", 53: "#7a1f8f",
}  # fmt: skip


def packed(numbers: NDArray[Any], dtype: str) -> str:
    """Numbers as base64 of this type, such as "<u2"; larger ones than it holds are its largest."""
    limits = np.iinfo(dtype)
    return b64encode(np.clip(numbers, limits.min, limits.max).astype(dtype).tobytes()).decode("ascii")


def packed_positions(positions: Float[np.ndarray, "A 3"]) -> dict[str, Any]:
    """Positions in Å: `units` are whole numbers and `unit` is how many Å one is, 0.001 unless molecules are large."""
    finite = np.nan_to_num(positions.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    unit = max(_FINEST, float(np.abs(finite).max(initial=0.0)) / _LARGEST)
    return {"unit": unit, "units": packed(np.round(finite / unit), "<i2")}


def packed_molecules(molecules: PackedMolecules) -> dict[str, Any]:
    """Elements and positions of all molecules, each about its centre."""
    sizes = molecules.n_atoms
    finite = np.nan_to_num(np.asarray(molecules.positions, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    of = np.repeat(np.arange(len(sizes)), sizes)
    sums = np.stack([np.bincount(of, axis, len(sizes)) for axis in finite.T], axis=1)
    centres = sums / np.maximum(sizes, 1)[:, None]
    return {
        "sizes": packed(sizes, "<u2"),
        "numbers": packed(np.asarray(molecules.atomic_numbers), "<u1"),
        "positions": packed_positions(finite - centres[of]),
    }


def packed_depictions(depictions: Sequence[Depiction | None]) -> dict[str, Any]:
    """Drawings of molecules; of one that is not drawn, no atoms."""
    found = [depiction for depiction in depictions if depiction is not None]

    def joined(name: str, empty: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([empty, *(getattr(depiction, name) for depiction in found)])

    return {
        "atom_counts": packed(np.array([0 if d is None else len(d.atoms) for d in depictions]), "<u2"),
        "bond_counts": packed(np.array([0 if d is None else len(d.bonds) for d in depictions]), "<u2"),
        "perceived": packed(np.array([d is not None and d.perceived for d in depictions]), "<u1"),
        "atoms": packed(joined("atoms", np.zeros(0, np.int64)), "<u2"),
        "places": packed(np.round(joined("places", np.zeros((0, 2), np.float32)) / PLACE), "<i2"),
        "hydrogens": packed(joined("hydrogens", np.zeros(0, np.uint8)), "<u1"),
        "charges": packed(joined("charges", np.zeros(0, np.int8)), "<i1"),
        "bonds": packed(joined("bonds", np.zeros((0, 2), np.int64)), "<u2"),
        "orders": packed(joined("orders", np.zeros(0, np.uint8)), "<u1"),
        "place": PLACE,
    }


def elements_of(numbers: NDArray[Any]) -> dict[int, list[Any]]:
    """Symbol, covalent radius in Å and colour of each element that occurs."""
    return {
        number: [symbol_of(number), covalent_radius(number), _COLOURS.get(number, _OTHER)]
        for number in np.unique(numbers).tolist()
    }
