"""Results in pieces: stored as whole ones are, read a piece at a time, never in memory."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import pytest
from jaxtyping import Bool, Float32

from gaga.core.errors import InvalidInput, NotFound
from gaga.storage.blocks import TEXT, Blocks, Column
from gaga.storage.store import Store


@dataclass(frozen=True)
class Pieces:
    """As `Whole`, in pieces."""

    positions: Blocks = field(metadata={"unit": "Å", "dims": ("atom", "axis")})
    smiles: Blocks
    valid: Blocks
    n: int


@dataclass(frozen=True)
class Whole:
    positions: Float32[np.ndarray, "A 3"] = field(metadata={"unit": "Å", "dims": ("atom", "axis")})
    smiles: tuple[str, ...]
    valid: Bool[np.ndarray, " M"]
    n: int


@contextmanager
def in_pieces(folder: Path, atoms: int) -> Iterator[tuple[Pieces, Whole]]:
    rng = np.random.default_rng(0)
    positions = rng.normal(size=(atoms, 3)).astype(np.float32)
    smiles = tuple("CÅ"[: k % 3] * (k % 5) for k in range(atoms // 10))
    whole = Whole(positions, smiles, np.zeros(0, bool), 7)
    with Column(folder, np.float32, (3,)) as rows, Column(folder, TEXT) as texts, Column(folder, np.bool_) as none:
        for first in range(0, atoms, 999):
            rows.append(positions[first : first + 999])
        for text in smiles:
            texts.append(np.array([text]))
        yield Pieces(rows, texts, none, 7), whole


@pytest.mark.parametrize("atoms", [10, 90_000])
def test_arrays_in_pieces_are_stored_as_whole_ones(tmp_path: Path, atoms: int) -> None:
    store = Store(tmp_path / "s.h5")
    with in_pieces(tmp_path, atoms) as (pieces, whole):
        one, other = store.put("k", "pieces", pieces, config={}), store.put("k", "whole", whole, config={})
    assert (one.digest, one.nbytes) == (other.digest, other.nbytes)
    for name in ("pieces", "whole"):
        back = store.get("k", name, Whole)
        np.testing.assert_array_equal(back.positions, whole.positions)
        assert (back.smiles, back.valid.tolist(), back.n) == (whole.smiles, [], 7)
    with h5py.File(store.path) as file:
        mine, theirs = file["k/pieces"], file["k/whole"]
        assert list(mine.attrs["members"]) == list(theirs.attrs["members"])
        for name in mine:
            assert (mine[name].dtype, mine[name].compression) == (theirs[name].dtype, theirs[name].compression)
        assert dict(mine["positions"].attrs)["unit"] == "Å"


def test_arrays_are_read_in_pieces(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.h5")
    with in_pieces(tmp_path, 90_000) as (pieces, whole):
        store.put("k", "x", pieces, config={})
        store.put("k", "y", whole, config={})
    for name in "xy":
        with store.opened("k", name) as tree:
            assert tree["n"] == 7
            assert [len(piece) for piece in tree["smiles"]] == [4096, 4096, 808]
            assert len(list(tree["positions"])) > 1
            np.testing.assert_array_equal(np.concatenate(list(tree["positions"])), whole.positions)
            assert tuple(np.concatenate(list(tree["smiles"])).tolist()) == whole.smiles
            assert list(tree["valid"]) == []
    with h5py.File(store.path, "r+") as file:
        file["k/x/positions"][17] = 8
    with pytest.raises(InvalidInput, match="k/x has changed"), store.opened("k", "x"):
        pass
    with pytest.raises(NotFound), store.opened("k", "z"):
        pass


_LARGE = """
import resource, sys
from pathlib import Path
import numpy as np
from dataclasses import dataclass
from gaga.storage.blocks import Blocks, Column
from gaga.storage.store import Store
@dataclass(frozen=True)
class Large:
    values: Blocks
def put(name, pieces):
    values = Column(Path(sys.argv[1]).parent, np.float32)
    for _ in range(pieces):
        values.append(np.random.default_rng(0).normal(size=250_000).astype(np.float32))
    Store(sys.argv[1]).put("k", name, Large(values), config={})
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
small = put("small", 1)
large = put("large", 80)
again = put("third", 1)
print((max(large, again) - small) / 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory in kB")
def test_a_large_result_is_never_in_memory(tmp_path: Path) -> None:
    """80 MB of values, and a file of as many that the next `put` copies."""
    command = [sys.executable, "-c", _LARGE, str(tmp_path / "s.h5")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert float(done.stdout) < 40, done.stderr
