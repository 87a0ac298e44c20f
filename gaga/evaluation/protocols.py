"""What a protocol says of one molecule: edm, to compare with papers; strict, to know."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from gaga.chem.geometry import Bonds, bonds_of_molecule, bonds_of_orders
from gaga.core.errors import InvalidInput
from gaga.evaluation.config import PROTOCOLS

_NO_BONDS = Bonds(np.zeros((0, 2), dtype=np.int64), np.zeros(0, dtype=np.int64))


class Judgement(NamedTuple):
    """The verdict on one molecule, with the bonds that it rests on; `Verdicts` says what the fields are."""

    n_stable_atoms: int
    stable: bool
    valid: bool
    connected: bool
    smiles: str
    reason: str
    bonds: Bonds


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
    return Judgement(0, False, False, False, "", reason, _NO_BONDS)


def _judge_edm(numbers: UInt8[np.ndarray, " N"], positions: Float32[np.ndarray, "N 3"], charge: int) -> Judgement:
    """EDM's verdict, which does not depend on the charge."""
    from gaga.chem.edm import edm_bond_orders, edm_smiles, edm_stability

    if not len(numbers) or not np.isfinite(positions).all():
        return failure("positions are not finite" if len(numbers) else "no atoms")
    n_stable, stable = edm_stability(numbers, positions)
    smiles = edm_smiles(numbers, positions)
    orders = edm_bond_orders(numbers, positions)
    reason = "" if stable else "an atom with a wrong number of bonds"
    if smiles is None:
        reason = "RDKit does not sanitise it"
    connected = _in_one_piece(orders)
    return Judgement(n_stable, stable, smiles is not None, connected, smiles or "", reason, bonds_of_orders(orders))


def _judge_strict(numbers: UInt8[np.ndarray, " N"], positions: Float32[np.ndarray, "N 3"], charge: int) -> Judgement:
    from gaga.chem.bonds import perceive
    from gaga.chem.strict import judge_perceived, judge_unperceived

    molecule = perceive(numbers, positions, charge=charge)
    if molecule is None:
        v, bonds = judge_unperceived(numbers, positions), _NO_BONDS
    else:
        v, bonds = judge_perceived(molecule), bonds_of_molecule(molecule)
    return Judgement(v.n_stable_atoms, v.stable, v.valid, v.connected, v.smiles or "", v.reason, bonds)


_JUDGES: dict[str, Callable[..., Judgement]] = {"edm": _judge_edm, "strict": _judge_strict}


def _in_one_piece(orders: Int64[np.ndarray, "N N"]) -> bool:
    from scipy.sparse.csgraph import connected_components

    return bool(connected_components(orders, directed=False, return_labels=False) == 1)
