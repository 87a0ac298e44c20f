"""The Lewis structure of least charge, for bonds that are known.

Each atom is in one of the states of the table of valences, and the cheapest structure is found exactly, by dynamic
programming over the atoms: their bonds to later atoms are all that the best structure of the later ones depends on.
RDKit's search over valences takes what it finds first, which depends on the order of the atoms, and gives up on several
nitro groups, on azides of aromatic rings, on iodine with three bonds and on elements without an entry in its table.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from jaxtyping import Int64, Integer

from gaga.chem.elements import symbol_of
from gaga.chem.valences import lewis_states

MAX_STEPS = 30_000
"""Partial structures looked at for one molecule. Real ones need hundreds; garbage has exponentially many."""

_MAX_EXTRA = 2  # order of a triple bond beyond one

# The cost of a structure by its number of charges, a sum over its atoms. A complete octet wins over a carbocation;
# then the lower valence of an element (sulfur 2 before 4 before 6), then charges in pairs of neighbours (diazo groups,
# ylides) and on the elements where chemists draw them, then on atoms with few bonds to heavy atoms.
_NO_OCTET, _EXPANDED, _ALONE, _ELEMENT = 3_000, 200, 20, 10
_CROWD = 5  # for an anion next to a cation that has one: nitrophenolates have a nitro group
_CUMULATED = 30  # for a cation with several bonds beyond single ones: pyrimidinium rings have none
_OUTSIDE = 4  # for a cation that is in no ring: aminopyridinium has its charge in the ring
_NEGATIVE = {"O": 0, "F": 0, "Cl": 0, "Br": 0, "I": 0, "S": 1, "Se": 1, "N": 2}
_POSITIVE = {"N": 0, "P": 0, "S": 1, "O": 2}
_AMIDE = 5  # N- with two bonds: worse than two charges alone, as sydnones have theirs on oxygen
_OTHER_ELEMENT = 12  # a carbanion too: 3-oxidopyridinium and tetrazolides have their charge elsewhere

_State = tuple[int, int, int]
"""Of an atom: formal charge, sum of the orders of its bonds beyond one each, cost."""

_Slot = tuple[int, int, int]
"""Of an atom with later neighbours: orders beyond one that are left for them, charge, and what of it is not paired with
a neighbour's opposite charge."""

_Key = tuple[int, int, tuple[_Slot, ...]]
"""Of a structure of the first atoms: number of charges, their sum, and the atoms with later neighbours."""


@dataclass(frozen=True, eq=False)
class Lewis:
    """A Lewis structure: the order of each of K bonds and the formal charge of each of N atoms."""

    orders: Int64[np.ndarray, " K"]
    charges: Int64[np.ndarray, " N"]


@dataclass(frozen=True, eq=False)
class _Turn:
    """What is known of one atom before the search. Slots are the earlier atoms with later neighbours, then this one.

    Attributes:
        atom: its number.
        states: what it can be.
        bonded: slots of its earlier neighbours; `earlier` their numbers.
        most: orders beyond one that each of these bonds can have.
        needs: orders beyond one that each of these neighbours' later ones can give it.
        later: the same of this atom.
        stay, go: slots of atoms with and without neighbours behind this one.
        least: charges that the atoms behind this one have at least.
        lowest, highest: the total charge that those can have.
    """

    atom: int
    states: list[_State]
    bonded: list[int]
    earlier: list[int]
    most: list[int]
    needs: list[int]
    later: int
    stay: list[int]
    go: list[int]
    least: int
    lowest: int
    highest: int


@dataclass(frozen=True, eq=False, slots=True)
class _Partial:
    """The cheapest structure with some key: its cost, the one before, and the last atom's charge and orders."""

    cost: int
    before: "_Partial | None" = None
    charge: int = 0
    extra: tuple[int, ...] = ()


def lewis_structure(
    atomic_numbers: Integer[np.ndarray, " N"], pairs: Int64[np.ndarray, "K 2"], *, charge: int = 0
) -> Lewis | None:
    """The structure of fewest formal charges with all valences in the table; None if there is none.

    Which of several structures of the same cost it is (Kekulé structures of one ring, say) depends on the order of
    the atoms.

    Args:
        atomic_numbers: [N].
        pairs: the bonded atoms, each pair once.
        charge: total charge of the molecule.
    """
    numbers, bonds = atomic_numbers.tolist(), pairs.tolist()
    neighbours: list[list[int]] = [[] for _ in numbers]
    for a, b in bonds:
        neighbours[a].append(b)
        neighbours[b].append(a)
    core = _core(neighbours)
    states = [
        list(_states(number, len(near), sum(numbers[b] > 1 for b in near), atom in core, charge != 0))
        for atom, (number, near) in enumerate(zip(numbers, neighbours, strict=True))
    ]
    _drop_impossible(states, neighbours)
    if not all(states):
        return None  # an atom has a number of bonds that its element cannot have
    if (charge + sum(len(near) + own[0][0] + own[0][1] for near, own in zip(neighbours, states, strict=True))) % 2:
        return None  # the number of electrons is odd
    turns = _turns(states, neighbours)
    found = _search(turns, charge)
    if found is None:
        return None
    charges = np.zeros(len(numbers), dtype=np.int64)
    extra: dict[frozenset[int], int] = {}
    for turn in reversed(turns):
        charges[turn.atom] = found.charge
        extra |= {frozenset((turn.atom, b)): order for b, order in zip(turn.earlier, found.extra, strict=True)}
        found = found.before or found
    return Lewis(np.array([1 + extra.get(frozenset(pair), 0) for pair in bonds], dtype=np.int64), charges)


@cache
def _states(number: int, n_bonds: int, bonds_to_heavy: int, in_core: bool, ion: bool) -> tuple[_State, ...]:
    """The states of an element with this number of bonds, in a ring or not."""
    table = lewis_states(ion=ion).get(number, ())
    found = []
    for charge, valence in table:
        cost = _EXPANDED * ((valence - min(v for q, v in table if q == charge)) // 2)
        if charge:
            symbol = symbol_of(number)
            place = (_NEGATIVE if charge < 0 else _POSITIVE).get(symbol, _OTHER_ELEMENT)
            place = _AMIDE if (symbol, charge) == ("N", -1) and n_bonds > 1 else place
            cost += _ELEMENT * place + bonds_to_heavy
            cost += _NO_OCTET if symbol == "C" and charge > 0 else 0
            cost += _CUMULATED if charge > 0 and valence > n_bonds + 1 else 0
            cost += _OUTSIDE if charge > 0 and not in_core else 0
        if valence >= n_bonds:
            found.append((charge, valence - n_bonds, cost))
    return tuple(found)


def _core(neighbours: list[list[int]]) -> set[int]:
    """The atoms of rings and of chains between them: what is left if ends of chains are taken away again and again."""
    degrees = [len(near) for near in neighbours]
    ends = [atom for atom, degree in enumerate(degrees) if degree < 2]
    core = set(range(len(degrees)))
    while ends:
        atom = ends.pop()
        core.discard(atom)
        for b in neighbours[atom]:
            degrees[b] -= 1
            if degrees[b] == 1 and b in core:
                ends.append(b)
    return core


def _drop_impossible(states: list[list[_State]], neighbours: list[list[int]]) -> None:
    """Drop states whose orders the neighbours cannot give. Most atoms are left with one."""
    most = [max((extra for _, extra, _ in own), default=0) for own in states]
    waiting = [atom for atom, largest in enumerate(most) if largest]
    while waiting:
        atom = waiting.pop()
        offered = sum(min(most[b], _MAX_EXTRA) for b in neighbours[atom])
        if most[atom] > offered:
            states[atom] = [state for state in states[atom] if state[1] <= offered]
            most[atom] = max((extra for _, extra, _ in states[atom]), default=0)
            waiting += [b for b in neighbours[atom] if most[b]]


def _turns(states: list[list[_State]], neighbours: list[list[int]]) -> list[_Turn]:
    """The atoms that have a choice, bonds to give or a charge, in an order that keeps few slots."""
    chosen = {atom for atom, own in enumerate(states) if len(own) > 1 or own[0][0] or own[0][1]}
    near = {atom: [b for b in neighbours[atom] if b in chosen] for atom in sorted(chosen)}
    most = {atom: min(max(extra for _, extra, _ in states[atom]), _MAX_EXTRA) for atom in near}
    order = _order(near)
    place = {atom: i for i, atom in enumerate(order)}
    possible = [[q for q, _, _ in states[atom]] for atom in order]
    turns, slots = [], list[int]()
    for i, atom in enumerate(order):
        earlier = [b for b in near[atom] if place[b] < i]
        bonded = [slots.index(b) for b in earlier]
        later = {a: sum(min(most[a], most[b]) for b in near[a] if place[b] > i) for a in (atom, *earlier)}
        slots = [*slots, atom]
        stay = [slot for slot, a in enumerate(slots) if any(place[b] > i for b in near[a])]
        go = [slot for slot in range(len(slots)) if slot not in stay]
        rest = possible[i + 1 :]
        charges = (sum(min(map(abs, qs)) for qs in rest), sum(map(min, rest)), sum(map(max, rest)))
        most_orders = [min(most[atom], most[b]) for b in earlier]
        needs = [later[b] for b in earlier]
        turns.append(_Turn(atom, states[atom], bonded, earlier, most_orders, needs, later[atom], stay, go, *charges))
        slots = [slots[slot] for slot in stay]
    return turns


def _order(near: dict[int, list[int]]) -> list[int]:
    """The atoms so that few of them have later neighbours at any time: next is one that closes the most."""
    order: list[int] = []
    missing = {atom: len(neighbours) for atom, neighbours in near.items()}
    placed: set[int] = set()
    while len(order) < len(near):
        border = {b for a in placed if missing[a] for b in near[a]} - placed
        growth = {
            atom: (missing[atom] > 0) - sum(missing[b] == 1 for b in near[atom] if b in placed)
            for atom in sorted(border or near.keys() - placed)
        }
        atom = min(growth, key=growth.__getitem__)
        order.append(atom)
        placed.add(atom)
        for b in near[atom]:
            missing[b] -= 1
    return order


def _search(turns: list[_Turn], charge: int) -> _Partial | None:
    """The cheapest structure of the fewest charges; None without one, or after MAX_STEPS."""
    least = sum(min(abs(q) for q, _, _ in turn.states) for turn in turns)
    most = sum(max(abs(q) for q, _, _ in turn.states) for turn in turns)
    n_steps = 0
    for n_charges in range(max(abs(charge), least), most + 1):
        level: dict[_Key, _Partial] = {(0, 0, ()): _Partial(0)}
        for turn in turns:
            following: dict[_Key, _Partial] = {}
            for key, partial in level.items():
                for new, added in _additions(turn, key, partial, n_charges, charge):
                    n_steps += 1
                    if new not in following or added.cost < following[new].cost:
                        following[new] = added
            if n_steps > MAX_STEPS:
                return None
            level = following
        if (n_charges, charge, ()) in level:
            return level[n_charges, charge, ()]
    return None


def _additions(
    turn: _Turn, key: _Key, partial: _Partial, n_charges: int, in_all: int
) -> Iterator[tuple[_Key, _Partial]]:
    """The structures with one more atom that can have these charges in the end, and the total charge."""
    n, total, slots = key
    near = [slots[slot] for slot in turn.bonded]
    orders = [
        range(max(0, left - need), min(most, left) + 1)
        for (left, _, _), most, need in zip(near, turn.most, turn.needs, strict=True)
    ]
    for charge, spare, cost in turn.states:
        missing = in_all - total - charge
        if n_charges - n - abs(charge) < max(turn.least, abs(missing)) or not turn.lowest <= missing <= turn.highest:
            continue
        free, their_free, crowd = _paired(charge, near)
        for extra in product(*orders):
            left = spare - sum(extra)
            if not 0 <= left <= turn.later:
                continue
            new = [*slots, (left, charge, free)]
            for slot, old, order, its_free in zip(turn.bonded, near, extra, their_free, strict=True):
                new[slot] = (old[0] - order, old[1], its_free)
            alone = sum(abs(new[slot][2]) for slot in turn.go)
            kept = tuple([new[slot] for slot in turn.stay])
            yield (
                (n + abs(charge), total + charge, kept),
                _Partial(partial.cost + cost + _ALONE * alone + _CROWD * crowd, partial, charge, extra),
            )


def _paired(charge: int, near: list[_Slot]) -> tuple[int, list[int], int]:
    """What is not paired of an atom's charge, and of its neighbours'; how many neighbours' opposite charges pair with
    none."""
    free, left, crowd = charge, [], 0
    for _, its_charge, its_free in near:
        pairs = min(abs(free), abs(its_free)) if charge * its_charge < 0 else 0
        crowd += charge * its_charge < 0 and not pairs
        free -= pairs if charge > 0 else -pairs
        left.append(its_free - (pairs if its_free > 0 else -pairs))
    return free, left, crowd
