import errno
import io

import h5py
import numpy as np
import pytest

from gaga.storage.new_hdf5 import _PatientFile, new_hdf5


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
