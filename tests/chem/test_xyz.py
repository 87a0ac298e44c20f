"""XYZ: plain and extended frames, and frames that are damaged."""

import numpy as np
import pytest
from rdkit import Chem

from gaga.chem.records import Record
from gaga.chem.xyz import format_frame, parse_frame, split_frames

WATER = "3\nwater\nO 0 0 0.1\nH 0 0.7 0.6\nH 0 -0.7 0.6\n"


def frames(text: str) -> list[list[str]]:
    return [frame for _, frame in split_frames(text.splitlines(keepends=True))]


def test_a_plain_frame():
    (frame,) = frames(WATER)
    raw = parse_frame(frame)
    assert list(raw.symbols) == ["O", "H", "H"]
    assert raw.coordinates[0] == [0, 0, 0.1]
    assert raw.name == "water"


def test_many_frames_with_blank_lines_between():
    assert len(frames(WATER + "\n\n" + WATER + WATER)) == 3


def test_round_trip_keeps_name_and_properties():
    rng = np.random.default_rng(0)
    record = Record(
        np.array([6, 1, 17], dtype=np.uint8),
        rng.normal(size=(3, 3)),
        name="mol 1",
        properties={"seed": 3, "SMILES": "C(=O)Cl", "valid": True, "two words": 'say "x"'},
    )
    text = format_frame(record)
    raw = parse_frame(text.splitlines())
    assert raw.name == "mol 1"
    assert raw.properties == {"seed": "3", "SMILES": "C(=O)Cl", "valid": "true", "two_words": "say 'x'"}
    assert np.allclose(raw.coordinates, record.positions, atol=1e-8)
    assert [atom.GetSymbol() for atom in Chem.MolFromXYZBlock(text).GetAtoms()] == ["C", "H", "Cl"]


def test_the_columns_of_an_extended_frame_are_found():
    frame = ["1", 'Properties=id:I:1:pos:R:3:species:S:1 Lattice="1 0 0" pbc=F', "7 1 2 3 N"]
    raw = parse_frame(frame)
    assert (list(raw.symbols), raw.coordinates) == (["N"], [[1, 2, 3]])
    assert raw.properties == {"Lattice": "1 0 0", "pbc": "F"}


@pytest.mark.parametrize(
    "frame",
    [
        ["2", "", "C 0 0 0"],
        ["1", "", "C 0 0"],
        ["1", "", "C 0 0 x"],
        ["x", "", ""],
        ["1", "Properties=mass:R:1", "1 2 3 4"],
    ],
)
def test_damaged_frames_raise(frame):
    with pytest.raises(ValueError):
        parse_frame(frame)


def test_after_damage_the_next_frame_is_found():
    found = frames(WATER + "lost\nlines\n" + WATER)
    assert [len(frame) for frame in found] == [5, 2, 5]
    assert [len(frame) for frame in frames(WATER + WATER[:-20])] == [5, 4]
