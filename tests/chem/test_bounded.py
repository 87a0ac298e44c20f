"""Molecule files that are meant to fill the memory, and large ones that are not."""

import gzip
import tracemalloc

import pytest

from gaga.chem import bounded
from gaga.chem.io import Record, read_molecules
from gaga.core.errors import InvalidInput

WATER = "3\nwater\nO 0 0 0.1\nH 0 0.7 0.6\nH 0 -0.7 0.6\n"


@pytest.fixture
def small_limits(monkeypatch):
    monkeypatch.setattr(bounded, "FREE", 1 << 16)
    monkeypatch.setattr(bounded, "MAX_LINE", 1 << 12)
    monkeypatch.setattr(bounded, "MAX_RECORD", 1 << 15)


@pytest.mark.parametrize("suffix", [".sdf", ".xyz"])
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(("content", "why"), [("x" * 9000, "a line of over"), ("C 0 0 0\n" * 9000, "a record of over")])
def test_lines_and_records_without_an_end(suffix, zipped, content, why, small_limits, tmp_path):
    path = tmp_path / f"m{suffix}{'.gz' if zipped else ''}"
    data = ("999999\n" + content).encode()
    path.write_bytes(gzip.compress(data) if zipped else data)
    with pytest.raises(InvalidInput, match=why):
        list(read_molecules(path))


def test_a_gzip_bomb_is_refused_and_gunzip_is_the_way_round(small_limits, tmp_path):
    content = ("3\n\n" + "C 0 0 0\nO 0 0 1\nH 1 0 0\n") * 4_000
    bomb, plain = tmp_path / "m.xyz.gz", tmp_path / "m.xyz"
    bomb.write_bytes(gzip.compress(content.encode()))
    plain.write_text(content)
    with pytest.raises(InvalidInput, match="gunzip"):
        list(read_molecules(bomb))
    assert sum(isinstance(molecule, Record) for molecule in read_molecules(plain)) == 4_000


@pytest.mark.parametrize("line", [b"\n", b"x" * 1000 + b"\n"])
def test_a_bomb_takes_little_memory(line, tmp_path):
    bomb = tmp_path / "m.sdf.gz"
    with gzip.open(bomb, "wb", compresslevel=1) as file:
        for _ in range(80):
            file.write(line * (1_000_000 // len(line)))
    tracemalloc.start()
    with pytest.raises(InvalidInput, match="a record of over"):
        list(read_molecules(bomb))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50e6


def test_honest_files_are_far_from_the_limits(tmp_path):
    path = tmp_path / "m.xyz.gz"
    path.write_bytes(gzip.compress((WATER * 20_000).encode()))  # one molecule, a megabyte of it
    assert len(list(read_molecules(path))) == 20_000
