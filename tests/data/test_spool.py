import numpy as np
import pytest

from gaga.base.errors import Conflict, InvalidInput
from gaga.data.spool import Spool, Spooled, spool_path

RUN = {"n": 3, "seed": 1}


def molecule(i, n=4):
    rng = np.random.default_rng(i)
    return Spooled(7, i, rng.integers(1, 9, n).astype(np.uint8), rng.normal(size=(n, 3)).astype(np.float32), i % 2 == 0)


def same(a, b):
    return (a.seed, a.index, a.finite) == (b.seed, b.index, b.finite) and np.array_equal(
        a.positions, b.positions
    ) and np.array_equal(a.atomic_numbers, b.atomic_numbers)  # fmt: skip


def test_molecules_come_back_after_any_cut(tmp_path):
    path = tmp_path / "spool"
    with Spool(path, RUN) as spool:
        for i in range(3):
            spool.add(molecule(i, n=i + 1))
    data = path.read_bytes()
    first = data.index(b"\n") + 1
    ends = [first]
    for n in (1, 2, 3):
        ends.append(ends[-1] + 17 + 13 * n)
    assert ends[-1] == len(data)
    for cut in range(first, len(data) + 1):
        path.write_bytes(data[:cut])
        with Spool(path, RUN) as spool:
            whole = sum(end <= cut for end in ends[1:])
            assert len(spool.molecules) == whole
            assert all(same(m, molecule(i, n=i + 1)) for i, m in enumerate(spool.molecules))
            for i in range(whole, 3):
                spool.add(molecule(i, n=i + 1))
        assert path.read_bytes() == data


def test_another_run_is_refused_and_rubbish_too(tmp_path):
    path = tmp_path / "spool"
    with Spool(path, RUN):
        pass
    with pytest.raises(Conflict, match="another seed"):
        Spool(path, RUN | {"seed": 2})
    path.write_bytes(b"\xffnothing\n")
    with pytest.raises(InvalidInput, match="not an unfinished run"):
        Spool(path, RUN)


def test_it_is_removed_at_the_end(tmp_path):
    path = spool_path(tmp_path / "mols.sdf")
    with Spool(path, RUN) as spool:
        spool.add(molecule(0))
        spool.remove()
    assert not path.exists()
