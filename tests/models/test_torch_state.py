import io
import pickle
import zipfile
from collections import OrderedDict

import pytest
import torch

from gaga.core.errors import InvalidInput
from gaga.models.torch_state import read_state_dict
from tests.models.hostile import hostile_pickles

STATE = OrderedDict(
    a=torch.arange(12.0).reshape(3, 4), turned=torch.arange(6.0).reshape(2, 3).T, number=torch.tensor(2.5),
    empty=torch.zeros(0, 3), long=torch.tensor([1, 2]), double=torch.tensor([0.1], dtype=torch.float64),
    half=torch.tensor([0.5], dtype=torch.float16),
)  # fmt: skip


def saved(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def changed(data, change, **how):
    """The zip file with its members passed through `change(name, content)`."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", **how) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return out.getvalue()


@pytest.mark.parametrize("state", [STATE, dict(STATE), torch.nn.Linear(3, 2).state_dict()])
def test_reads_what_torch_reads(state, tmp_path):
    (tmp_path / "w").write_bytes(saved(state))
    read = read_state_dict(tmp_path / "w")
    assert read.keys() == state.keys()
    for name, tensor in torch.load(tmp_path / "w", weights_only=True).items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)


def test_views_into_one_storage(tmp_path):
    whole = torch.arange(10.0)
    (tmp_path / "w").write_bytes(saved({"a": whole[2:5], "b": whole[::3]}))
    read = read_state_dict(tmp_path / "w")
    assert read["a"].tolist() == [2, 3, 4]
    assert read["b"].tolist() == [0, 3, 6, 9]


LIES = {
    "a longer storage": (b"K\x0ct", b"K\xfft"),  # 12 elements
    "a larger shape": (b"K\x03K\x04\x86", b"K\x7fK\x7f\x86"),
    "a stride beyond the end": (b"K\x04K\x01\x86", b"K\xffK\x01\x86"),
    "a stride that repeats": (b"K\x03K\x04\x86", b"K\x0cK\x0c\x86"),
    "another type": (b"torch\nFloatStorage", b"torch\nLongStorage"),
    "an unknown type": (b"torch\nFloatStorage", b"torch\nQuietStorage"),
    "another storage": (b"X\x01\0\0\x000", b"X\x01\0\0\x009"),
    "a path": (b"X\x01\0\0\x000", b"X\x07\0\0\x00../../x"),
}


@pytest.mark.parametrize("lie", LIES)
def test_lying_sizes_are_refused(lie, tmp_path):
    old, new = LIES[lie]
    data = saved({"a": STATE["a"]})

    def change(name, content):
        return content.replace(old, new) if name.endswith("data.pkl") else content

    altered = changed(data, change)
    assert old in zipfile.ZipFile(io.BytesIO(data)).read("archive/data.pkl")
    (tmp_path / "w").write_bytes(altered)
    with pytest.raises(InvalidInput):
        read_state_dict(tmp_path / "w")
    (tmp_path / "w").write_bytes(changed(data, lambda _, content: content))
    assert torch.equal(read_state_dict(tmp_path / "w")["a"], STATE["a"])


def test_compressed_short_and_big_endian_storages_are_refused(tmp_path):
    data = saved({"a": torch.zeros(100_000)})
    for altered in (
        changed(data, lambda _, content: content, compression=zipfile.ZIP_DEFLATED),
        changed(data, lambda name, content: content[:-4] if "/data/" in name else content),
        changed(data, lambda name, content: b"big" if name.endswith("byteorder") else content),
        data[:-30],
        data.replace(b"\0" * 64, b"\1" * 64, 1),
        b"PK\x05\x06" + bytes(18),
        b"",
    ):
        (tmp_path / "w").write_bytes(altered)
        with pytest.raises(InvalidInput):
            read_state_dict(tmp_path / "w")


def test_no_pickle_inside_is_executed(tmp_path):
    data = saved({"a": torch.zeros(1)})
    for name, program in hostile_pickles(tmp_path / "trap"):
        altered = changed(data, lambda n, content, p=program: p if n.endswith("data.pkl") else content)
        for content in (altered, program, pickle.dumps({"a": 1}) + program):
            (tmp_path / "w").write_bytes(content)
            with pytest.raises(InvalidInput):
                read_state_dict(tmp_path / "w")
        assert not (tmp_path / "trap").exists(), name
