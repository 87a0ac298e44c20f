"""Pickles of plain values, read without executing them: no class is looked up and no function is called.

A pickle is a program for a stack machine (Python's `pickletools` documents its opcodes). This one knows those opcodes
that make numbers, text, lists, tuples and dictionaries. If the program asks for an object, the request itself is
what comes back, a `Built`, and only for the globals that the caller names.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gaga.core.errors import InvalidInput

MAX_DEPTH = 16
MAX_STEPS = 1 << 22  # opcodes, each of which may take some hundred bytes of memory
_MARK = object()


class Refused(InvalidInput):
    """A pickle that asks for what it has no need of."""


class Global(NamedTuple):
    """A name that a pickle asks for."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


PERSISTENT = Global("", "persistent id")


@dataclass(eq=False)
class Built:
    """An object that a pickle asks for, as the request that it is.

    Attributes:
        of: its class, or the function that would make it.
        arguments: what that would be called with.
        items: what would be set in it.
        state: what would become its attributes.
    """

    of: Global
    arguments: tuple[Any, ...]
    items: dict[Any, Any] = field(default_factory=dict)
    state: Any = None


def read_plain(
    data: bytes, allowed: frozenset[Global], *, shared: frozenset[Global] = frozenset(), whose: str = "EDM model"
) -> Any:
    """The value of a pickle, of plain values and requests for `allowed` globals.

    Args:
        data: the pickle.
        allowed: what it may ask for.
        shared: those of them whose requests may be in several places; they hold nothing but scalars.
        whose: what asks for no other global, for complaints.

    Raises:
        Refused: it asks for anything else.
        InvalidInput: it is nested deeper than MAX_DEPTH, or is no pickle of plain values.
    """
    machine = _Machine(allowed, shared, whose)
    try:
        for step, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if step >= MAX_STEPS:
                raise ValueError(f"it has over {MAX_STEPS:,} steps")
            machine.step(opcode.name, argument)
        value = machine.pop()
        if machine.stack:
            raise ValueError("more than one value is left")
    except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(f"it is not a pickle of plain values: {_reason(error)}") from error
    _refuse_deep(value)
    return value


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class _Machine:
    """The stack, the memo, and what each opcode does to them."""

    def __init__(self, allowed: frozenset[Global], shared: frozenset[Global], whose: str) -> None:
        self.stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._allowed, self._shared, self._whose = allowed, shared, whose

    def step(self, name: str, argument: Any) -> None:
        """Obey one opcode."""
        if name in _VALUES:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in _WITH_ARGUMENT:
            _WITH_ARGUMENT[name](self, argument)
        elif name in _ALONE:
            _ALONE[name](self)
        elif name not in _NOTHING_TO_DO:
            raise ValueError(f"it uses the opcode {name}")

    def pop(self) -> Any:
        """The top of the stack, which is a value."""
        value = self.stack.pop()
        if value is _MARK:
            raise ValueError("a value is missing")
        return value

    def popped_to_mark(self) -> list[Any]:
        """What lies above the last mark, which goes too."""
        values = []
        while (value := self.stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    def remember(self, index: int) -> None:
        """Put the top of the stack into the memo."""
        self._memo[index] = self.stack[-1]

    def memoize(self) -> None:
        """Put the top of the stack into the memo, in its next place."""
        self.remember(len(self._memo))

    def recall(self, index: int) -> None:
        """A scalar or global from the memo; a container that is in two places could grow without bounds."""
        value = self._memo[int(index)]
        small = isinstance(value, Global) or (isinstance(value, Built) and value.of in self._shared) or value == ()
        if isinstance(value, list | tuple | dict | Built) and not small:
            raise ValueError("it holds the same container twice")
        self.stack.append(value)

    def find(self, name: Global) -> None:
        """A global, if it is allowed."""
        if name not in self._allowed:
            raise Refused(
                f"it asks for {name}, which no {self._whose} needs",
                remedy="the file may be hostile; it was not executed",
            )
        self.stack.append(name)

    def build(self) -> None:
        """Global and arguments -> the request."""
        arguments, of = self.pop(), self.pop()
        if not isinstance(of, Global) or not isinstance(arguments, tuple):
            raise ValueError("it calls what is not callable")
        self._check_scalars(of, arguments)
        self.stack.append(Built(of, arguments))

    def set_state(self) -> None:
        """Request and state -> the request with its state."""
        state, built = self.pop(), self.stack[-1]
        if not isinstance(built, Built):
            raise ValueError("it sets the state of a plain value")
        self._check_scalars(built.of, state if isinstance(state, tuple) else (state,))
        built.state = state

    def _check_scalars(self, of: Global, values: tuple[Any, ...]) -> None:
        """Stop if a request that may be in several places would hold a container, and so grow without bounds."""
        if of in self._shared and any(isinstance(value, list | tuple | dict | Built) for value in values):
            raise ValueError(f"{of} holds a container")

    def extend(self, values: list[Any]) -> None:
        """Add to the list on top of the stack."""
        target = self.stack[-1]
        if type(target) is not list:
            raise ValueError("it appends to what is no list")
        target.extend(values)

    def update(self, values: list[Any]) -> None:
        """Set items of the dictionary on top of the stack."""
        target = self.stack[-1]
        items = target.items if isinstance(target, Built) and target.of not in self._shared else target
        if type(items) is not dict or len(values) % 2:
            raise ValueError("it sets items of what is no dictionary")
        items.update(_pairs(values))


def _pairs(values: list[Any]) -> dict[Any, Any]:
    keys = values[::2]
    if not all(isinstance(key, str | int) for key in keys):
        raise ValueError("a key is neither text nor a number")
    return dict(zip(keys, values[1::2], strict=True))


def _tuple_of(machine: _Machine, n: int) -> None:
    values = [machine.pop() for _ in range(n)]
    machine.stack.append(tuple(values[::-1]))


def _stack_global(machine: _Machine) -> None:
    name, module = machine.pop(), machine.pop()
    if not isinstance(module, str) or not isinstance(name, str):
        raise ValueError("a global's name is no text")
    machine.find(Global(module, name))


def _set_item(machine: _Machine) -> None:
    value, key = machine.pop(), machine.pop()
    machine.update([key, value])


_VALUES = frozenset(
    {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
    | {"STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES"}
    | {"UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"}
)
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
    "MARK": lambda: _MARK,
}
_WITH_ARGUMENT: dict[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.remember),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.recall),
    "GLOBAL": lambda machine, argument: machine.find(Global(*argument.split(" ", 1))),
}
_ALONE: dict[str, Callable[[_Machine], None]] = {
    "MEMOIZE": _Machine.memoize,
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _Machine.build,
    "NEWOBJ": _Machine.build,
    "BUILD": _Machine.set_state,
    "BINPERSID": lambda machine: machine.stack.append(Built(PERSISTENT, (machine.pop(),))),
    "TUPLE": lambda machine: machine.stack.append(tuple(machine.popped_to_mark())),
    "LIST": lambda machine: machine.stack.append(machine.popped_to_mark()),
    "DICT": lambda machine: machine.stack.append(_pairs(machine.popped_to_mark())),
    "APPEND": lambda machine: machine.extend([machine.pop()]),
    "APPENDS": lambda machine: machine.extend(machine.popped_to_mark()),
    "SETITEM": _set_item,
    "SETITEMS": lambda machine: machine.update(machine.popped_to_mark()),
    **{f"TUPLE{n}": lambda machine, n=n: _tuple_of(machine, n) for n in (1, 2, 3)},  # type: ignore[misc]
}
_NOTHING_TO_DO = frozenset({"PROTO", "FRAME", "STOP"})


def _refuse_deep(value: Any) -> None:
    layer, depth = [value], 0
    while layer:
        depth += 1
        if depth > MAX_DEPTH:
            raise InvalidInput("it is not a pickle of plain values: it is nested too deeply", received=depth)
        layer = [part for node in layer for part in _parts(node)]


def _parts(node: Any) -> list[Any]:
    if isinstance(node, Built):
        return [node.arguments, node.items, node.state]
    if isinstance(node, dict):
        return list(node.values())
    return list(node) if isinstance(node, list | tuple) else []
