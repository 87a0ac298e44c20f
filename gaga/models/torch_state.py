"""State dicts that `torch.save` wrote, read without torch's unpickler (PyTorch 1.6 and later: a zip file).

`data.pkl` says how each tensor lies in a storage, `data/<key>` are the storages' bytes, little-endian. Nothing is
executed, nothing is unpacked onto the disk, and every size is checked against the bytes of the file.
`torch.load(weights_only=True)` (torch 2.13) executes nothing either, but accepts flipped bits, and compressed members,
which can fill the memory.
"""

import math
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gaga.core.errors import InvalidInput
from gaga.storage.pickles import PERSISTENT, Built, Global, read_plain

_REBUILD, _ORDERED = Global("torch._utils", "_rebuild_tensor_v2"), Global("collections", "OrderedDict")
_STORAGES = {
    Global("torch", f"{name}Storage"): np.dtype(dtype)
    for name, dtype in {"Float": "<f4", "Double": "<f8", "Half": "<f2", "Long": "<i8", "Int": "<i4"}.items()
}
_ALLOWED = frozenset({_REBUILD, _ORDERED, *_STORAGES})


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict by name.

    Raises:
        InvalidInput: the file is no such state dict, is damaged, holds anything else than tensors, or says of its
            sizes what is not so.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _tensors(_Archive(archive, path.stat().st_size))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, struct.error, zlib.error,
            ValueError, KeyError, TypeError) as error:  # fmt: skip
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InvalidInput(f"it is not a torch state dict of PyTorch 1.6 or later: {reason}") from error


class _Archive:
    """The members of a zip file whose sizes are those of the file: none is compressed, none overlaps another."""

    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        members = archive.infolist()
        if any(m.compress_type != zipfile.ZIP_STORED or m.compress_size != m.file_size for m in members):
            raise ValueError("a member is compressed")
        if sum(m.file_size for m in members) > size:
            raise ValueError("its members are larger than the file")
        (self._pickle,) = [m.filename for m in members if m.filename.rpartition("/")[2] == "data.pkl"]
        self._archive = archive

    def content(self, name: str) -> bytes:
        """A member's bytes, checksum verified."""
        return self._archive.read(self._pickle.removesuffix("data.pkl") + name)

    def little_endian(self) -> bool:
        """Whether the storages are; files from before PyTorch 2.1 do not say, and are."""
        name = self._pickle.removesuffix("data.pkl") + "byteorder"
        return name not in self._archive.namelist() or self._archive.read(name) == b"little"


def _tensors(archive: _Archive) -> dict[str, Tensor]:
    if not archive.little_endian():
        raise ValueError("its numbers are big-endian")
    value = read_plain(archive.content("data.pkl"), _ALLOWED)
    items = value.items if isinstance(value, Built) and value.of == _ORDERED else value
    if not isinstance(items, dict) or not all(isinstance(name, str) for name in items):
        raise ValueError("it holds no tensors by name")
    storages: dict[Any, np.ndarray] = {}
    return {name: _tensor(item, archive, storages) for name, item in items.items()}


def _tensor(item: Any, archive: _Archive, storages: dict[Any, np.ndarray]) -> Tensor:
    if not isinstance(item, Built) or item.of != _REBUILD:
        raise ValueError("it holds more than tensors")
    reference, offset, size, stride, *_ = item.arguments
    storage = _storage(reference, archive, storages)
    _check_within(offset, size, stride, len(storage))
    return torch.from_numpy(storage).as_strided(size, stride, offset).clone()


def _storage(reference: Any, archive: _Archive, storages: dict[Any, np.ndarray]) -> np.ndarray:
    if not isinstance(reference, Built) or reference.of != PERSISTENT:
        raise ValueError("a tensor has no storage")
    kind, of, key, _, length = reference.arguments[0]
    if kind != "storage" or not isinstance(of, Global) or of not in _STORAGES or not isinstance(key, str):
        raise ValueError("a tensor's storage is of an unknown kind")
    if (of, key) not in storages:
        storages[of, key] = np.frombuffer(archive.content(f"data/{key}"), _STORAGES[of]).copy()
    if length != len(storages[of, key]):
        raise ValueError("a storage is not as long as it says")
    return storages[of, key]


def _check_within(offset: Any, size: Any, stride: Any, length: int) -> None:
    """Stop at a tensor that is not wholly inside its storage, or that repeats parts of it."""
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or not all(type(n) is int and n >= 0 for n in numbers):
        raise ValueError("a tensor has an impossible shape")
    n_elements = math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if n_elements > length or offset > length or (n_elements and last >= length):
        raise ValueError("a tensor is larger than its storage")
