"""Bond orders and formal charges of least charge, for bonds that are known.

What RDKit's search over valences does not find: it gives up on several nitro groups, on azides of aromatic rings, on
iodine with three bonds and on elements without an entry in its table (aluminium, mercury). Here orders and charges are
the solution of a small integer program, in which each atom is in one of the states of the table of valences.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64, Int64, Integer

from gaga.base.quiet import no_output
from gaga.chem.valences import lewis_states

if TYPE_CHECKING:
    from scipy.sparse import csr_array

MAX_NODES = 1000
"""Nodes of the search for one molecule; real ones need a few, and the limit is the same on every machine."""

_MAX_ORDER = 3
_MULTIPLE = 0.01  # of two structures with as many charges, that with fewer multiple bonds,
_INNER = 0.001  # and then that with its charges at the ends of chains


@dataclass(frozen=True, eq=False)
class Lewis:
    """A Lewis structure: the order of each of K bonds and the formal charge of each of N atoms."""

    orders: Int64[np.ndarray, " K"]
    charges: Int64[np.ndarray, " N"]


@dataclass(frozen=True, eq=False)
class _States:
    """The states of all atoms one after another: whose each is, its charge, and the orders beyond single bonds."""

    atoms: Int64[np.ndarray, " S"]
    charges: Int64[np.ndarray, " S"]
    spare: Int64[np.ndarray, " S"]


def lewis_structure(atomic_numbers: Integer[np.ndarray, " N"], pairs: Int64[np.ndarray, "K 2"]) -> Lewis | None:
    """The uncharged structure of fewest formal charges with all valences in the table; None where there is none.

    A charged atom has a neighbour of the opposite charge, as in nitro groups, azides, N-oxides and ylides: charges far
    apart would make a salt of any two slips.

    Args:
        atomic_numbers: [N].
        pairs: the bonded atoms, each pair once.
    """
    degrees = np.bincount(pairs.ravel(), minlength=len(atomic_numbers))
    states = _states(atomic_numbers, degrees)
    if len(np.unique(states.atoms)) < len(atomic_numbers):
        return None  # some atom has more bonds than its element can
    solution = _solve(pairs, degrees, states)
    if solution is None:
        return None
    extra, chosen = np.split(np.rint(solution).astype(np.int64), [len(pairs)])
    return Lewis(orders=1 + extra, charges=states.charges[chosen == 1])


def _states(atomic_numbers: Integer[np.ndarray, " N"], degrees: Int64[np.ndarray, " N"]) -> _States:
    table = lewis_states()
    found = [
        (atom, charge, valence - degree)
        for atom, (number, degree) in enumerate(zip(atomic_numbers.tolist(), degrees.tolist(), strict=True))
        for charge, valence in table.get(number, ())
        if valence >= degree
    ]
    return _States(*np.array(found, dtype=np.int64).reshape(-1, 3).T)


def _solve(
    pairs: Int64[np.ndarray, "K 2"], degrees: Int64[np.ndarray, " N"], states: _States
) -> Float64[np.ndarray, " K_plus_S"] | None:
    """Orders beyond one of K bonds, then 1 for each chosen of S states."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    n_atoms, n_bonds, n_states = len(degrees), len(pairs), len(states.atoms)
    totals = np.concatenate([np.zeros(n_atoms), np.ones(n_atoms), [0]])
    charged = np.abs(states.charges) * (1 + _INNER * degrees[states.atoms])
    constraints = [
        LinearConstraint(_balances(pairs, n_atoms, states), totals, totals),
        LinearConstraint(_lonely_charges(pairs, n_atoms, states), -np.inf, 0),
    ]
    with no_output():  # HiGHS prints of some repairs of its own, whatever it is told
        found = milp(
            np.concatenate([np.full(n_bonds, _MULTIPLE), charged]),
            integrality=np.ones(n_bonds + n_states),
            bounds=Bounds(0, np.concatenate([np.full(n_bonds, _MAX_ORDER - 1), np.ones(n_states)])),
            constraints=constraints,
            options={"node_limit": MAX_NODES, "mip_rel_gap": 0},
        )
    solution: Float64[np.ndarray, " K_plus_S"] | None = found.x if found.status == 0 else None
    return solution


def _balances(pairs: Int64[np.ndarray, "K 2"], n_atoms: int, states: _States) -> "csr_array":
    """Rows [2 N + 1]: orders at each atom are what its state needs; it has one state; the charges' sum."""
    n_bonds, n_states = len(pairs), len(states.atoms)
    bonds, places = np.arange(n_bonds), n_bonds + np.arange(n_states)
    return _matrix(
        2 * n_atoms + 1,
        n_bonds + n_states,
        (pairs[:, 0], bonds, np.ones(n_bonds)),
        (pairs[:, 1], bonds, np.ones(n_bonds)),
        (states.atoms, places, -states.spare),
        (n_atoms + states.atoms, places, np.ones(n_states)),
        (np.full(n_states, 2 * n_atoms), places, states.charges),
    )


def _lonely_charges(pairs: Int64[np.ndarray, "K 2"], n_atoms: int, states: _States) -> "csr_array":
    """Rows [2 N], at most 0: an atom's charge of one sign less its neighbours' charges of the other."""
    n_bonds = len(pairs)
    both = np.concatenate([pairs, pairs[:, ::-1]])
    parts = []
    for row, sign in ((0, 1), (n_atoms, -1)):
        own = np.flatnonzero(states.charges * sign > 0)
        opposite = np.flatnonzero(states.charges * sign < 0)
        # Each opposite state of the second atom of a pair stands in the row of the first.
        pair, state = np.nonzero(both[:, 1, None] == states.atoms[opposite][None])
        parts.append((row + states.atoms[own], n_bonds + own, np.ones(len(own))))
        parts.append((row + both[pair, 0], n_bonds + opposite[state], -np.ones(len(pair))))
    return _matrix(2 * n_atoms, n_bonds + len(states.atoms), *parts)


def _matrix(n_rows: int, n_columns: int, *parts: tuple[Any, Any, Any]) -> "csr_array":
    """The sparse matrix of (rows, columns, values)."""
    from scipy.sparse import csr_array

    rows, columns, values = (np.concatenate(column) for column in zip(*parts, strict=True))
    return csr_array((values.astype(np.float64), (rows, columns)), shape=(n_rows, n_columns))
