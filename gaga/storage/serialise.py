"""Frozen dataclasses -> trees of plain values, and back by their type: what the result store keeps.

A tree is a dictionary from member names to None, bool, int, float, str, numpy arrays, arrays in pieces, or trees.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import PurePath
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
from jaxtyping import AbstractArray, AnnotationError
from numpy.typing import NDArray

from gaga.core.errors import InvalidInput
from gaga.storage.blocks import LONG_TEXTS, Blocks, Held, as_bytes

T = TypeVar("T")
Tree = dict[str, Any]

_ARRAY_KINDS = "biufSU"
_WIDEST = 8  # bytes; longer floats differ between machines
# A tuple of one of these becomes one array, and a scalar of these types has no need of one.
_DTYPES: dict[type, Any] = {bool: np.bool_, int: np.int64, float: np.float64, str: np.str_}


def to_tree(record: Any) -> Tree:
    """The fields of a dataclass as a tree; nested dataclasses, mappings and mixed tuples become nested trees.

    Raises:
        TypeError: a field holds something that has no place in a tree.
        InvalidInput: a mapping's key is not a usable name.
    """
    return {f.name: _to_node(getattr(record, f.name), f.name) for f in fields(record)}


def _to_node(value: Any, where: str) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, np.ndarray):
        return _to_array(value, where)
    if isinstance(value, Blocks):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return to_tree(value)
    if isinstance(value, Mapping):
        return {_member(key): _to_node(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, tuple | list):
        return _to_sequence(value, where)
    raise TypeError(f"{where}: a {type(value).__name__} cannot be stored")


def _to_array(array: NDArray[Any], where: str) -> Any:
    if array.dtype.kind == "O" and all(isinstance(item, str) for item in array.flat):
        array = array.astype(np.str_)
    dtype = array.dtype
    if dtype.kind not in _ARRAY_KINDS or (dtype.kind in "iuf" and dtype.itemsize > _WIDEST):
        raise TypeError(f"{where}: an array of {dtype} cannot be stored")
    if array.ndim == 0 and (dtype.kind == "U" or dtype.type in _DTYPES.values()):
        return array.item()
    return array.astype(dtype.newbyteorder("="), copy=False)


def _to_sequence(values: Sequence[Any], where: str) -> Any:
    """One array if the elements are of one type, else a tree with members 0, 1, 2, ..."""
    items = [v.item() if isinstance(v, np.generic) else v for v in values]
    types = {type(item) for item in items} or {float}
    if len(types) == 1 and types <= _DTYPES.keys():
        if types == {str} and len(items) > LONG_TEXTS:
            return Held(items)
        return np.array(items, dtype=_DTYPES[types.pop()])
    return {str(i): _to_node(item, f"{where}.{i}") for i, item in enumerate(items)}


def _member(key: Any) -> str:
    if not isinstance(key, str) or key in ("", ".", "..") or "/" in key or not key.isprintable():
        raise InvalidInput("the keys of a stored mapping are printable names without /", received=repr(key))
    return key


def from_tree(tree: Tree, as_type: type[T]) -> T:
    """The dataclass whose fields `tree` holds; its annotations say how each is read.

    A field that has a default, as one that an earlier version did not write, may be missing.

    Raises:
        InvalidInput: the members of the tree are not the fields of the type, or are of another type or shape.
    """
    name, hints = as_type.__name__, get_type_hints(as_type)
    members = {f.name: f.default is MISSING for f in fields(as_type) if f.init}  # type: ignore[arg-type]
    needed = {member for member, is_needed in members.items() if is_needed}
    if odd := sorted((needed - set(tree)) | (set(tree) - set(members))):
        raise InvalidInput(f"what is stored is not a {name} of this version of gaga: {', '.join(odd)} differ")
    return as_type(**{m: _from_node(tree[m], hints[m], f"{name}.{m}") for m in members if m in tree})


def _from_node(node: Any, hint: Any, where: str) -> Any:
    origin = _origin(hint)
    if hint in (Any, object):
        return node
    if origin in (Union, UnionType):
        return _from_union(node, get_args(hint), where)
    if origin is Literal:
        return node if node in get_args(hint) else _misfit(node, hint, where)
    if origin is tuple:
        return _from_sequence(node, get_args(hint), where)
    if not isinstance(origin, type):
        raise TypeError(f"{where}: fields of type {hint} cannot be read")
    if issubclass(origin, AbstractArray | np.ndarray):
        return _from_array(node, origin, where)
    if issubclass(origin, Blocks):
        return _to_blocks(node, hint, where)
    if is_dataclass(origin):
        return from_tree(node, origin) if isinstance(node, dict) else _misfit(node, hint, where)
    if issubclass(origin, Mapping):
        return _from_mapping(node, get_args(hint), where)
    return _from_scalar(node, origin, where)


def _origin(hint: Any) -> Any:
    """What a hint is of, type aliases seen through: numpy's NDArray is one from Python 3.12 and numpy 2.5 on."""
    origin = get_origin(hint) or hint
    alias = getattr(origin, "__value__", None)
    return origin if alias is None else _origin(alias)


def _from_union(node: Any, choices: tuple[Any, ...], where: str) -> Any:
    if node is None and NoneType in choices:
        return None
    for choice in choices:
        try:
            return _from_node(node, choice, where)
        except InvalidInput:
            continue
    return _misfit(node, Union[choices], where)  # noqa: UP007 - built from a tuple


def _from_sequence(node: Any, arguments: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    if isinstance(node, dict):
        items = [node[key] for key in sorted(node, key=int)]
    elif isinstance(node, np.ndarray) and node.ndim == 1:
        items = node.tolist()
    elif isinstance(node, list):  # of JSON
        items = node
    else:
        _misfit(node, tuple, where)
    if not arguments:
        return tuple(items)
    hints = [arguments[0]] * len(items) if arguments[-1] is Ellipsis else list(arguments)
    if len(hints) != len(items):
        _misfit(node, tuple, where)
    pairs = zip(items, hints, strict=True)
    return tuple(_from_node(item, hint, f"{where}.{i}") for i, (item, hint) in enumerate(pairs))


def _from_mapping(node: Any, arguments: tuple[Any, ...], where: str) -> dict[str, Any]:
    if not isinstance(node, dict):
        _misfit(node, dict, where)
    hint = arguments[1] if arguments else Any
    return {key: _from_node(item, hint, f"{where}.{key}") for key, item in node.items()}


def _from_array(node: Any, hint: type, where: str) -> Any:
    if node is None or isinstance(node, dict):
        _misfit(node, hint, where)
    array = np.asarray(node)
    try:
        fits = isinstance(array, hint)
    except AnnotationError:  # axes such as T+1 have no value outside the class's own check
        fits = True
    return array if fits else _misfit(node, hint, where)


def _to_blocks(node: Any, hint: type, where: str) -> Blocks:
    if isinstance(node, Blocks):
        return node
    if not isinstance(node, np.ndarray) or not node.ndim:
        _misfit(node, hint, where)
    return Held(node)


def _from_scalar(node: Any, hint: type, where: str) -> Any:
    if hint is float and isinstance(node, int) and not isinstance(node, bool):
        return float(node)
    if type(node) is hint or (hint is NoneType and node is None):
        return node
    return _misfit(node, hint, where)


def _misfit(node: Any, hint: Any, where: str) -> Any:
    got = f"{node.dtype} {list(node.shape)}" if isinstance(node, np.ndarray) else type(node).__name__
    raise InvalidInput(f"{where} should be {getattr(hint, '__name__', hint)}", received=got)


def flatten(tree: Tree, separator: str = ".") -> dict[str, Any]:
    """The leaves of a tree by path, such as "curves.block.distance"."""
    found: dict[str, Any] = {}
    for name, node in tree.items():
        if isinstance(node, dict):
            found |= {name + separator + path: leaf for path, leaf in flatten(node, separator).items()}
        else:
            found[name] = node
    return found


def field_metadata(value: Any, path: str = "") -> dict[str, Mapping[str, Any]]:
    """Metadata such as `field(metadata={"unit": "Å"})` of the fields that have some, by path with slashes."""
    found: dict[str, Mapping[str, Any]] = {}
    if is_dataclass(value):
        found |= {path + f.name: dict(f.metadata) for f in fields(value) if f.metadata}
    for name, member in _members(value):
        found |= field_metadata(member, f"{path}{name}/")
    return found


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    if is_dataclass(value):
        yield from ((f.name, getattr(value, f.name)) for f in fields(value))
    elif isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, tuple | list):
        yield from ((str(i), item) for i, item in enumerate(value))


def digest(tree: Tree) -> str:
    """SHA-256 (hexadecimal) over the leaves in order of their paths, whatever the file they lie in.

    Each leaf adds `path NUL type NUL shape NUL` and its elements, as docs/FORMAT.md spells out.
    """
    total = hashlib.sha256()
    for path, leaf in sorted(flatten(tree, "/").items()):
        kind, shape, payload = _canonical(leaf)
        total.update(f"{path}\0{kind}\0{','.join(map(str, shape))}\0".encode())
        for piece in payload:
            total.update(piece)
    return total.hexdigest()


def size_in_bytes(tree: Tree) -> int:
    """Bytes of all leaves in their canonical form."""
    return sum(len(piece) for leaf in flatten(tree, "/").values() for piece in _canonical(leaf)[2])


def _canonical(leaf: Any) -> tuple[str, tuple[int, ...], Iterator[bytes]]:
    """Type, shape, and the elements' canonical bytes in pieces."""
    if leaf is None:
        return "none", (), iter(())
    array = leaf if isinstance(leaf, Blocks) else np.asarray(leaf)
    kind = {"U": "str", "S": f"bytes{array.dtype.itemsize}"}.get(array.dtype.kind, array.dtype.name)
    pieces = array if isinstance(array, Blocks) else Held(array) if array.ndim else [array]
    return kind, array.shape, map(as_bytes, pieces)


def to_json(config: Mapping[str, Any]) -> str:
    """A configuration as JSON with sorted keys; dataclasses become objects, tuples lists, paths text.

    Raises:
        InvalidInput: a number is not finite.
        TypeError: a value has no JSON form.
    """
    try:
        text = json.dumps(dict(config), default=_jsonable, allow_nan=False, sort_keys=True, ensure_ascii=False)
        return text.encode("utf-8", "backslashreplace").decode()  # bytes of paths that are not UTF-8, as JSON has them
    except ValueError as error:
        raise InvalidInput("a configuration holds finite numbers, text, lists and tables only") from error


def _jsonable(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in fields(value)}
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"a {type(value).__name__} has no place in a configuration")
