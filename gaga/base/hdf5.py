"""Trees of plain values as HDF5 groups, and back (docs/FORMAT.md)."""

import re
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np

from gaga.base.records import Tree

_COMPRESS_FROM = 4096  # bytes; below it the index of chunks costs more than compression saves
_TEXT = h5py.string_dtype("utf-8")


def write_tree(group: h5py.Group, tree: Tree, metadata: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the members of `tree` into an empty group, with their attributes `metadata` by path."""
    group.attrs.create("members", list(tree), shape=(len(tree),), dtype=_TEXT)
    for name, node in tree.items():
        if isinstance(node, dict):
            inner = {path.removeprefix(f"{name}/"): m for path, m in metadata.items() if path.startswith(f"{name}/")}
            write_tree(group.create_group(name), node, inner)
        else:
            _write_leaf(group, name, node)
        for key, value in metadata.get(name, {}).items():
            _write_attribute(group[name], key, value)


def _write_leaf(group: h5py.Group, name: str, leaf: Any) -> None:
    if leaf is None:
        group.create_dataset(name, data=h5py.Empty("f8"))
    elif not isinstance(leaf, np.ndarray):
        group.create_dataset(name, data=leaf, dtype=_TEXT if isinstance(leaf, str) else None)
    elif leaf.dtype.kind == "U":
        group.create_dataset(name, data=leaf.astype(object), dtype=_TEXT)
    elif leaf.nbytes >= _COMPRESS_FROM:
        group.create_dataset(name, data=leaf, chunks=True, compression="gzip", shuffle=True)
    else:
        group.create_dataset(name, data=leaf)


def _write_attribute(item: Any, key: str, value: Any) -> None:
    """An attribute: text, numbers, or for a tuple such as `dims` an array of text."""
    if isinstance(value, tuple | list):
        item.attrs.create(key, list(value), shape=(len(value),), dtype=_TEXT)
    else:
        item.attrs[key] = value


def read_tree(group: h5py.Group) -> Tree:
    """The tree that `write_tree` wrote, its members in their order.

    Raises:
        KeyError: a member is missing.
        OSError: the file is damaged.
    """
    return {name: _read_node(group[name]) for name in group.attrs["members"]}


def _read_node(item: Any) -> Any:
    if isinstance(item, h5py.Group):
        return read_tree(item)
    if item.shape is None:
        return None
    value = item.asstr()[()] if h5py.check_string_dtype(item.dtype) and item.dtype.kind == "O" else item[()]
    if isinstance(value, np.ndarray):
        return value.astype(np.str_) if value.dtype.kind == "O" else value
    return value.item() if isinstance(value, np.bool_ | np.int64 | np.float64) else _scalar(value)


def _scalar(value: Any) -> Any:
    """Text as it is; a number of another width stays an array without axes, to keep its type."""
    return value if isinstance(value, str) else np.asarray(value)


def reason(error: Exception) -> str:
    """The part of an HDF5 error that says something: the system's message, else what stands in brackets."""
    text = " ".join(str(error).split())
    found = re.search(r"error message = '([^']*)'", text) or re.search(r"\(([^()]*)\)$", text)
    return found[1] if found else text
