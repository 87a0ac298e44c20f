"""HDF5 files that declare more than they hold, or that lead elsewhere; and a full disk at any write."""

import errno
import io
import shutil

import h5py
import numpy as np
import pytest

from gaga.core.errors import InvalidInput
from gaga.data.prepared import read_prepared
from gaga.storage.hdf5 import _PatientFile, check_sizes, new_hdf5
from gaga.storage.store import SHIPPED_STORE, Store

TRILLION = (10**12,)


def fill_value(file, path):
    file.create_dataset("x", TRILLION, "f4", chunks=(1 << 20,))


def fill_value_compressed(file, path):
    file.create_dataset("x", TRILLION, "f4", chunks=(1 << 20,), compression="gzip")[:10] = 1


def contiguous_and_late(file, path):
    file.create_dataset("x", TRILLION, "f4")


def gzipped_twice(file, path):
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk((1 << 20,))
    plan.set_deflate(9)
    plan.set_deflate(9)
    space = h5py.h5s.create_simple((1 << 20,))
    h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_FLOAT, space, plan)
    file["x"][:] = 0


def another_filter(file, path):
    file.create_dataset("x", data=np.zeros(10_000), compression="lzf")


def another_file(file, path):
    file.create_dataset("x", (100,), "u1", external=[("/etc/passwd", 0, 100)])


def virtual(file, path):
    layout = h5py.VirtualLayout((100,), "u1")
    layout[:] = h5py.VirtualSource("other.h5", "x", (100,))
    file.create_virtual_dataset("x", layout)


def external_link(file, path):
    file["x"] = h5py.ExternalLink("/etc/x.h5", "/")


def soft_link_to_itself(file, path):
    file["x"] = h5py.SoftLink("/x")


def group_in_itself(file, path):
    file["x"] = file["/"]


def array_in_two_places(file, path):
    file["x"] = np.zeros(10)
    file["y"] = file["x"]


def array_of_arrays(file, path):
    file.create_dataset("x", (3,), h5py.vlen_dtype(np.int32))


BOMBS = [
    fill_value, fill_value_compressed, contiguous_and_late, gzipped_twice, another_filter, another_file, virtual,
    external_link, soft_link_to_itself, group_in_itself, array_in_two_places, array_of_arrays,
]  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
def test_sizes_that_lie_are_refused(bomb, tmp_path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        bomb(file, path)
    assert path.stat().st_size < 50_000
    with h5py.File(path) as file, pytest.raises(ValueError):
        check_sizes(file)


@pytest.mark.parametrize("bomb", BOMBS)
def test_as_a_result_or_a_data_set_it_is_one_line(bomb, tmp_path):
    store, data = tmp_path / "s.h5", tmp_path / "d.h5"
    shutil.copy(SHIPPED_STORE, store)
    with h5py.File(store, "r+") as file:
        kind = next(iter(file))
        name = next(iter(file[kind]))
        if bomb is group_in_itself:
            file[kind][name]["x"] = file[kind][name]
        else:
            bomb(file[kind][name], store)
        file[kind][name].attrs["members"] = list(file[kind][name])
    with pytest.raises(InvalidInput, match="damaged"):
        Store(store, shipped=False).arrays(kind, name)
    with pytest.raises(InvalidInput, match="damaged"), Store(store, shipped=False).opened(kind, name):
        pass
    with h5py.File(data, "w") as file:
        file.attrs.update(format="gaga-dataset", version=1)
        bomb(file, data)
    with pytest.raises(InvalidInput, match="cannot be read as a prepared"):
        read_prepared(data)


def test_all_that_gaga_writes_passes():
    with h5py.File(SHIPPED_STORE) as file:
        check_sizes(file)


def test_a_file_like_any_other(tmp_path):
    values = np.random.default_rng(0).normal(size=(3000, 5))
    with new_hdf5(tmp_path / "a.h5") as (file, proceed):
        file.create_dataset("group/values", data=values, chunks=(100, 5), compression="gzip")
        proceed()
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file["group/values"][()], values)


class _Full(io.BytesIO):
    """A file on a disk with room for so many bytes."""

    def __init__(self, room):
        super().__init__()
        self.room = room

    def write(self, content):
        if self.tell() + len(content) > self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(content)


def test_what_could_not_be_written_is_read_back_all_the_same():
    file = _PatientFile(_Full(10))
    file.write(b"0123456789")
    file.seek(8)
    file.write(b"abcd")
    file.seek(6)
    file.write(b"xyz")
    assert file.seek(0, 2) == 12
    file.truncate(20)
    file.seek(5)
    assert file.read(10) == b"5xyzbcd\0\0\0"
    assert file.tell() == 15
    with pytest.raises(OSError, match="No space left"):
        file.proceed()


@pytest.mark.parametrize("room", range(0, 60_000, 1500))
def test_hdf5_never_sees_a_failure_wherever_it_comes(room):
    """HDF5 ends the process where a write fails twice; whatever fails here, it closes its file in peace."""
    patient = _PatientFile(_Full(room))
    with h5py.File(patient, "w") as file:
        for k in range(5):
            values = np.random.default_rng(k).normal(size=1200)
            file.create_dataset(f"{k}/numbers", data=values, chunks=(100,), compression="gzip")
            file.create_dataset(f"{k}/texts", data=np.array(["text"] * 100, dtype=object), dtype=h5py.string_dtype())
            file.flush()
            np.testing.assert_array_equal(file[f"{k}/numbers"][()], values)
    with pytest.raises(OSError, match="No space left"):
        patient.proceed()
