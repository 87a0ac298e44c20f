"""What an HDF5 file says of its sizes, held against the file before anything is read into memory."""

from collections.abc import Iterator
from typing import Any

import h5py

_DEFLATE, _SHUFFLE, _FLETCHER32 = h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32
_MOST = 1100  # deflate gives 1,032 bytes for one at most
_REFERENCE = 16  # bytes of an array for each text, which lies elsewhere in the file


def refuse_lies(group: h5py.Group) -> None:
    """Stop at a group that is larger in memory than its bytes on the disk can be, or that leads out of its file.

    Raises:
        ValueError: an array is declared larger than what is stored of it allows, or is compressed in another way
            than gaga's; a link leads to another file or place; or an object is in two places.
    """
    stored = sum(_stored(item) for item in _arrays(group, set()))
    if stored > group.file.id.get_filesize():
        raise ValueError("its arrays are larger than the file")


def _arrays(group: h5py.Group, seen: set[int]) -> Iterator[h5py.Dataset]:
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{name} leads to another place")
        item = group[name]
        address = h5py.h5o.get_info(item.id).addr
        if address in seen:
            raise ValueError(f"{name} is in two places")
        seen.add(address)
        if isinstance(item, h5py.Group):
            yield from _arrays(item, seen)
        elif isinstance(item, h5py.Dataset):
            yield item
        else:
            raise ValueError(f"{name} is neither a group nor an array")


def _stored(item: h5py.Dataset) -> int:
    """Bytes of an array on the disk, which must be as many as its shape needs."""
    plan = item.id.get_create_plist()
    if plan.get_external_count() or item.is_virtual:
        raise ValueError(f"{item.name} lies in another file")
    filters = [plan.get_filter(i)[0] for i in range(plan.get_nfilters())]
    if len(filters) != len(set(filters)) or not {*filters} <= {_DEFLATE, _SHUFFLE, _FLETCHER32}:
        raise ValueError(f"{item.name} is compressed in another way than gaga's arrays")
    stored = int(item.id.get_storage_size())
    if _bytes_in_memory(item) > (_MOST if _DEFLATE in filters else 1) * stored:
        raise ValueError(f"{item.name} is declared as {list(item.shape)}, but holds {stored:,} bytes")
    return stored


def _bytes_in_memory(item: Any) -> int:
    if item.shape is None:
        return 0
    text = item.dtype.kind == "O"
    if text and h5py.check_string_dtype(item.dtype) is None:
        raise ValueError(f"{item.name} holds neither numbers nor text")
    return int(item.size) * (_REFERENCE if text else item.dtype.itemsize)
