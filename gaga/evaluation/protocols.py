"""What a protocol says of one molecule: edm, to compare with papers; strict, to know."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from gaga.chem.classes import MoleculeClasses, classes_of_molecule
from gaga.chem.geometry import NO_BONDS, Bonds, bonds_of_molecule, bonds_of_orders
from gaga.core.errors import InvalidInput
from gaga.evaluation.config import PROTOCOLS

MAX_PERCEIVED = 256
"""Larger molecules have no classes by edm, which has no limit of time: perceiving bonds may take long."""


class Judgement(NamedTuple):
    """The verdict on one molecule, with the bonds that it rests on; `Verdicts` says what the fields are.

    `classes` are None unless the strict protocol calls the molecule valid.
    """

    n_stable_atoms: int
    stable: bool
    valid: bool
    connected: bool
    smiles: str
    reason: str
    bonds: Bonds
    classes: MoleculeClasses | None = None
    stereo: str = ""


def check_protocol(protocol: str) -> None:
    """Raise if there is no protocol of that name.

    Raises:
        InvalidInput: it is not one of PROTOCOLS.
    """
    if protocol not in PROTOCOLS:
        raise InvalidInput("unknown protocol", received=protocol, remedy=f"use {' or '.join(PROTOCOLS)}")


def judge_molecule(
    protocol: str, numbers: UInt8[np.ndarray, " N"], positions: Float32[np.ndarray, "N 3"], charge: int
) -> Judgement:
    """The verdict on a molecule of this total charge; positions in Å."""
    return _JUDGES[protocol](numbers, positions, charge)


def failure(reason: str) -> Judgement:
    """The verdict on a molecule that was not judged."""
    return Judgement(0, False, False, False, "", reason, NO_BONDS)


def _judge_edm(numbers: UInt8[np.ndarray, " N"], positions: Float32[np.ndarray, "N 3"], charge: int) -> Judgement:
    """EDM's verdict, which does not depend on the charge; classes do."""
    from gaga.chem.edm import edm_bond_orders, edm_smiles, edm_stability

    if not len(numbers) or not np.isfinite(positions).all():
        return failure("positions are not finite" if len(numbers) else "no atoms")
    orders = edm_bond_orders(numbers, positions)
    n_stable, stable = edm_stability(numbers, positions, orders=orders)
    smiles = edm_smiles(numbers, positions, orders=orders)
    reason = "" if stable else "an atom with a wrong number of bonds"
    if smiles is None:
        reason = "RDKit does not sanitise it"
    classes = None
    if 2 * n_stable >= len(numbers) <= MAX_PERCEIVED:  # others are seldom molecules, and perceiving those takes long
        classes = _perceived_classes(numbers, positions, charge)
    connected, bonds = _in_one_piece(orders > 0), bonds_of_orders(orders)
    return Judgement(n_stable, stable, smiles is not None, connected, smiles or "", reason, bonds, classes)


def _perceived_classes(
    numbers: UInt8[np.ndarray, " N"], positions: Float32[np.ndarray, "N 3"], charge: int
) -> MoleculeClasses | None:
    from gaga.chem.bonds import perceive
    from gaga.chem.strict import is_valid

    molecule = perceive(numbers, positions, charge=charge)
    if molecule is None or not is_valid(molecule):
        return None
    return classes_of_molecule(molecule)


def _judge_strict(numbers: UInt8[np.ndarray, " N"], positions: Float32[np.ndarray, "N 3"], charge: int) -> Judgement:
    from gaga.chem.bonds import perceive
    from gaga.chem.strict import judge_perceived, judge_unperceived, stereo_smiles

    molecule, classes, stereo = perceive(numbers, positions, charge=charge), None, ""
    if molecule is None:
        v, bonds = judge_unperceived(numbers, positions), NO_BONDS
    else:
        v, bonds = judge_perceived(molecule), bonds_of_molecule(molecule)
        if v.valid:
            stereo, classes = stereo_smiles(molecule), classes_of_molecule(molecule, bonds)
    return Judgement(v.n_stable_atoms, v.stable, v.valid, v.connected, v.smiles or "", v.reason, bonds, classes, stereo)


_JUDGES: dict[str, Callable[..., Judgement]] = {"edm": _judge_edm, "strict": _judge_strict}


def _in_one_piece(bonded: Bool[np.ndarray, "N N"]) -> bool:
    """Whether every atom is reached from the first; of few atoms in a tenth of the time of SciPy's."""
    reached = np.zeros(len(bonded), dtype=bool)
    newest = reached.copy()
    newest[0] = True
    while newest.any():
        reached |= newest
        newest = bonded[newest].any(axis=0) & ~reached
    return bool(reached.all())
