import io
import json
import os

import numpy as np
import pytest

from gaga.core.errors import Conflict, InvalidInput, Unavailable
from gaga.models.sampling.molecules import JudgedMolecule
from gaga.models.sampling.unfinished import Keys, UnfinishedSamples, unfinished_files, unfinished_path

RUN = {"n": 3, "seed": 1}
KEYS = Keys(7, 3)
HEAD = 4 + 8 + 4 + 3 + 4 + 4 + 4


def molecule(i, n=4, seed=7):
    rng = np.random.default_rng(i)
    valid = (True, False, None)[i % 3]
    return JudgedMolecule(
        seed=seed, index=i, atomic_numbers=rng.integers(1, 9, n).astype(np.uint8),
        positions=rng.normal(size=(n, 3)).astype(np.float32), finite=i % 2 == 0, stable=i % 2 == 1, n_stable_atoms=i,
        valid=valid, smiles="CÅ" if valid else "", text=b"record\n" * i,
    )  # fmt: skip


def same(a, b):
    arrays = ("positions", "atomic_numbers")
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in arrays) and all(
        getattr(a, name) == getattr(b, name) for name in vars(a) if name not in arrays
    )


@pytest.fixture
def out(tmp_path):
    return tmp_path / "mols.sdf"


def test_molecules_come_back_after_any_cut(out):
    path = unfinished_path(out)
    with UnfinishedSamples(out, RUN, KEYS) as spool:
        for i in range(3):
            spool.add([molecule(i, n=i + 1)])
    data = path.read_bytes()
    ends = [data.index(b"\n") + 1]
    for i, smiles in ((0, 3), (1, 0), (2, 0)):
        ends.append(ends[-1] + HEAD + 13 * (i + 1) + smiles + 7 * i)
    assert ends[-1] == len(data)
    for cut in range(ends[0], len(data) + 1):
        path.write_bytes(data[:cut])
        with UnfinishedSamples(out, RUN, KEYS) as spool:
            whole = sum(end <= cut for end in ends[1:])
            assert len(spool) == whole
            assert spool.done(7).tolist() == [i < whole for i in range(3)]
            assert all(same(spool[i], molecule(i, n=i + 1)) for i in range(whole))
            spool.add([molecule(i, n=i + 1) for i in range(whole, 3)])
            assert all(same(spool[i], molecule(i, n=i + 1)) for i in range(3))
        assert path.read_bytes() == data


def test_a_file_that_was_hardly_begun_is_begun_again(out):
    for begun in (b"", json.dumps(RUN).encode()[:5]):
        unfinished_path(out).write_bytes(begun)
        unfinished_path(out, 4).write_bytes(begun)
        with UnfinishedSamples(out, RUN, KEYS) as spool:
            assert len(spool) == 0
            spool.add([molecule(1)])
        with UnfinishedSamples(out, RUN, KEYS) as spool:
            assert spool.done(7).tolist() == [False, True, False]
            spool.remove()


def test_molecules_are_in_the_order_of_their_keys_whoever_drew_them(out):
    keys = Keys(7, 2, 2)
    with UnfinishedSamples(out, RUN, keys) as first, UnfinishedSamples(out, RUN, keys, rank=1) as second:
        second.add([molecule(1, seed=8), molecule(0)])
        first.add([molecule(0, seed=8)])
        assert (len(first), 0 in first, 2 in first) == (1, False, True)
        first.take_over()
        second.add([molecule(1)])
        first.take_over()
        assert len(first) == 4
        found = [first[place] for place in range(4)]
        assert [(m.seed, m.index) for m in found] == [(7, 0), (7, 1), (8, 0), (8, 1)]
        assert all(same(m, molecule(m.index, seed=m.seed)) for m in found)
    assert {path.name for path in unfinished_files(out)} == {".mols.sdf.unfinished", ".mols.sdf.unfinished.r1"}
    with UnfinishedSamples(out, RUN, keys, rank=5) as later:
        assert later.done(7).all()
        assert later.done(8).all()
        later.remove()
    assert unfinished_files(out) == []


def test_another_run_is_refused_and_rubbish_too(out):
    with UnfinishedSamples(out, RUN, KEYS):
        pass
    with pytest.raises(Conflict, match="another seed"):
        UnfinishedSamples(out, RUN | {"seed": 2}, KEYS)
    with pytest.raises(Conflict, match="another seed"):
        UnfinishedSamples(out, RUN | {"seed": 2}, KEYS, rank=1)
    unfinished_path(out, 1).unlink()
    unfinished_path(out).write_bytes(b"\xffnothing\n")
    with pytest.raises(InvalidInput, match="not an unfinished run"):
        UnfinishedSamples(out, RUN, KEYS)


def test_molecules_of_no_run_are_refused(out):
    with UnfinishedSamples(out, RUN, Keys(7, 30)) as spool:
        spool.add([molecule(20)])
    with pytest.raises(InvalidInput, match="damaged"):
        UnfinishedSamples(out, RUN, KEYS)


def test_a_disk_that_is_full_is_one_line(out, monkeypatch):
    with UnfinishedSamples(out, RUN, KEYS) as spool:
        spool._files[0].close()
        monkeypatch.setattr(spool._files[0], "_file", _Full(os.devnull))
        with pytest.raises(Unavailable, match=r"cannot write .*No space"):
            spool.add([molecule(0)])


class _Full(io.FileIO):
    def seek(self, *_):
        raise OSError(28, "No space left on device")


def test_other_files_are_not_touched(out):
    others = [out.with_name(name) for name in (".mols.sdf.unfinished.rx", ".mols.sdf.unfinished.lock", ".mols.sdfx")]
    for path in others:
        path.write_text("mine")
    with UnfinishedSamples(out, RUN, KEYS) as spool:
        spool.add([molecule(0)])
        spool.remove()
    assert all(path.read_text() == "mine" for path in others)
    assert not unfinished_path(out).exists()
