"""The Lewis structure of least charge, for bonds that are known.

Orders and charges are the solution of a small integer program, in which each atom is in one of the states of the table
of valences. It is exact: what RDKit's search over valences finds first depends on the order of the atoms, and it gives
up on several nitro groups, on azides of aromatic rings, on iodine with three bonds and on elements without an entry in
its table (aluminium, mercury).
"""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64, Int64, Integer

from gaga.base.quiet import no_output
from gaga.chem.elements import symbol_of
from gaga.chem.valences import lewis_states

if TYPE_CHECKING:
    from scipy.sparse import csr_array

MAX_NODES = 1000
"""Nodes of the search for one molecule; real ones need a few, and the limit is the same on every machine."""

_MAX_ORDER = 3

# The cost of a structure, a sum over its atoms. A neutral structure wins over a charged one, and a complete octet over
# a carbocation; of two structures with as many charges wins that whose atoms have the lower valence of their element
# (sulfur 2 before 4 before 6), then that with its charges in pairs of neighbours (diazo groups, ylides) and on the
# elements where chemists draw them, then that with them on atoms of few bonds to heavy atoms.
_CHARGE, _NO_OCTET, _EXPANDED, _ALONE, _ELEMENT, _DEGREE = 10_000, 3_000, 200, 20, 10, 1
_NEGATIVE = {"O": 0, "F": 0, "Cl": 0, "Br": 0, "I": 0, "S": 1, "Se": 1, "N": 2}
_POSITIVE = {"N": 0, "P": 0, "S": 1, "O": 2}
_OTHER_ELEMENT = 7  # carbanions: more than two charges alone, so that an enolate wins over a ylide in a ring


@dataclass(frozen=True, eq=False)
class Lewis:
    """A Lewis structure: the order of each of K bonds and the formal charge of each of N atoms."""

    orders: Int64[np.ndarray, " K"]
    charges: Int64[np.ndarray, " N"]


@dataclass(frozen=True, eq=False)
class _States:
    """The states of all atoms one after another: whose each is, its charge, the orders beyond single bonds, the cost."""

    atoms: Int64[np.ndarray, " S"]
    charges: Int64[np.ndarray, " S"]
    spare: Int64[np.ndarray, " S"]
    costs: Int64[np.ndarray, " S"]


def lewis_structure(
    atomic_numbers: Integer[np.ndarray, " N"], pairs: Int64[np.ndarray, "K 2"], *, charge: int = 0
) -> Lewis | None:
    """The structure of fewest formal charges with all valences in the table; None if there is none.

    Which of several structures of the same cost it is (Kekulé structures of one ring, say) depends on the order of
    atoms and pairs.

    Args:
        atomic_numbers: [N].
        pairs: the bonded atoms, each pair once.
        charge: total charge of the molecule.
    """
    degrees = np.bincount(pairs.ravel(), minlength=len(atomic_numbers))
    states, largest = _states(atomic_numbers, pairs, degrees, charge)
    if len(np.unique(states.atoms)) < len(atomic_numbers):
        return None  # some atom has more bonds than its element can, or fewer
    multiple = np.flatnonzero(largest)
    solution = _solve(pairs, multiple, largest[multiple], len(atomic_numbers), states, charge)
    if solution is None:
        return None
    found = np.rint(solution).astype(np.int64)
    orders = np.ones(len(pairs), dtype=np.int64)
    orders[multiple] += found[: len(multiple)]
    return Lewis(orders=orders, charges=states.charges[found[len(multiple) :][: len(states.atoms)] == 1])


def _states(
    atomic_numbers: Integer[np.ndarray, " N"],
    pairs: Int64[np.ndarray, "K 2"],
    degrees: Int64[np.ndarray, " N"],
    charge: int,
) -> tuple[_States, Int64[np.ndarray, " K"]]:
    """The states that each atom can be in beside its neighbours, and the most that each bond's order is beyond one."""
    table = lewis_states(ion=charge != 0)
    heavy = np.bincount(pairs[(atomic_numbers[pairs] > 1).all(axis=1)].ravel(), minlength=len(atomic_numbers))
    found = np.array(
        [
            (atom, q, valence - degree, _cost(number, q, valence, bonds_to_heavy))
            for atom, (number, degree, bonds_to_heavy) in enumerate(
                zip(atomic_numbers.tolist(), degrees.tolist(), heavy.tolist(), strict=True)
            )
            for q, valence in table.get(number, ())
            if valence >= degree
        ],
        dtype=np.int64,
    ).reshape(-1, 4)
    while True:  # a state goes if the neighbours cannot give it its orders; most atoms are left with one
        most = np.zeros(len(atomic_numbers), dtype=np.int64)
        np.maximum.at(most, found[:, 0], found[:, 2])
        largest = np.minimum(most[pairs].min(axis=1, initial=_MAX_ORDER), _MAX_ORDER - 1)
        offered = np.bincount(pairs.ravel(), np.repeat(largest, 2), minlength=len(atomic_numbers))
        kept = found[:, 2] <= offered[found[:, 0]]
        if kept.all():
            return _States(*found.T), largest
        found = found[kept]


@cache
def _cost(number: int, charge: int, valence: int, bonds_to_heavy: int) -> int:
    """What a state adds to the cost of a structure."""
    lowest = min(v for q, v in lewis_states(ion=True)[number] if q == charge)
    expanded = _EXPANDED * ((valence - lowest) // 2)
    if not charge:
        return expanded
    symbol = symbol_of(number)
    place = (_NEGATIVE if charge < 0 else _POSITIVE).get(symbol, _OTHER_ELEMENT)
    no_octet = _NO_OCTET if symbol == "C" and charge > 0 else 0
    return abs(charge) * _CHARGE + no_octet + expanded + place * _ELEMENT + bonds_to_heavy * _DEGREE


def _solve(
    pairs: Int64[np.ndarray, "K 2"],
    multiple: Int64[np.ndarray, " L"],
    largest: Int64[np.ndarray, " L"],
    n_atoms: int,
    states: _States,
    charge: int,
) -> Float64[np.ndarray, " V"] | None:
    """Orders beyond one of L bonds, then 1 for each chosen of S states, then 1 for each charge alone."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    n_bonds, n_states = len(multiple), len(states.atoms)
    alone, n_alone = _charges_alone(pairs, n_bonds, n_atoms, states)
    totals = np.concatenate([np.zeros(n_atoms), np.ones(n_atoms), [charge]])
    balances = _balances(pairs[multiple], n_atoms, states, n_alone)
    constraints = [LinearConstraint(balances, totals, totals)]
    if n_alone:
        constraints.append(LinearConstraint(alone, -np.inf, 0))
    with no_output():  # HiGHS prints of some repairs of its own, whatever it is told
        found = milp(
            np.concatenate([np.zeros(n_bonds), states.costs, np.full(n_alone, _ALONE)]),
            integrality=np.ones(n_bonds + n_states + n_alone),
            bounds=Bounds(0, np.concatenate([largest, np.ones(n_states + n_alone)])),
            constraints=constraints,
            options={"node_limit": MAX_NODES, "mip_rel_gap": 0},
        )
    solution: Float64[np.ndarray, " V"] | None = found.x if found.status == 0 else None
    return solution


def _balances(pairs: Int64[np.ndarray, "L 2"], n_atoms: int, states: _States, n_alone: int) -> "csr_array":
    """Rows [2 N + 1]: orders at each atom are what its state needs; it has one state; the charges' sum."""
    n_bonds, n_states = len(pairs), len(states.atoms)
    bonds, places = np.arange(n_bonds), n_bonds + np.arange(n_states)
    return _matrix(
        2 * n_atoms + 1,
        n_bonds + n_states + n_alone,
        (pairs[:, 0], bonds, np.ones(n_bonds)),
        (pairs[:, 1], bonds, np.ones(n_bonds)),
        (states.atoms, places, -states.spare),
        (n_atoms + states.atoms, places, np.ones(n_states)),
        (np.full(n_states, 2 * n_atoms), places, states.charges),
    )


def _charges_alone(
    pairs: Int64[np.ndarray, "K 2"], n_bonds: int, n_atoms: int, states: _States
) -> "tuple[csr_array, int]":
    """Rows, at most 0, and their number: an atom's charge of one sign less its neighbours' of the other, less 1 if it
    is alone. One row for each atom and sign that it can have."""
    both = np.concatenate([pairs, pairs[:, ::-1]])
    signs = np.sign(states.charges)
    rows, row_of = np.unique(n_atoms * (signs[signs != 0] < 0) + states.atoms[signs != 0], return_inverse=True)
    first = n_bonds + len(states.atoms)
    own = n_bonds + np.flatnonzero(signs)
    parts = [
        (row_of, own, np.ones(len(own))),
        (np.arange(len(rows)), first + np.arange(len(rows)), -np.ones(len(rows))),
    ]
    for row, key in enumerate(rows.tolist()):
        sign, atom = (-1 if key >= n_atoms else 1), key % n_atoms
        opposite = np.flatnonzero((signs == -sign) & np.isin(states.atoms, both[both[:, 0] == atom, 1]))
        parts.append((np.full(len(opposite), row), n_bonds + opposite, -np.ones(len(opposite))))
    return _matrix(len(rows), first + len(rows), *parts), len(rows)


def _matrix(n_rows: int, n_columns: int, *parts: tuple[Any, Any, Any]) -> "csr_array":
    """The sparse matrix of (rows, columns, values)."""
    from scipy.sparse import csr_array

    rows, columns, values = (np.concatenate(column) for column in zip(*parts, strict=True))
    return csr_array((values.astype(np.float64), (rows, columns)), shape=(n_rows, n_columns))
