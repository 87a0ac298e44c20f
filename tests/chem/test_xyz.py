"""XYZ: plain and extended frames, and frames that are damaged."""

from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from gaga.chem.records import Record, Skipped, checked
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


CASES = Path("tests/cases")
QM9 = sorted((CASES / "qm9_publisher").glob("*.xyz"))


def test_a_frame_that_is_cut_swallows_no_other():
    cut = "5\nacid\nO 0 0 0\nH 0 0 1\n"  # two of five atoms
    assert [len(frame) for frame in frames(cut + WATER)] == [4, 5]


@pytest.mark.parametrize("count", ["1_0", "٣", "３", "3.0", "-3"])
def test_other_numbers_are_no_numbers_of_atoms(count):
    ((first, *_),) = frames(count + WATER[1:])
    assert first.strip() == count
    with pytest.raises(ValueError):
        parse_frame([count, *WATER.splitlines()[1:]])


@pytest.mark.parametrize(
    ("line", "symbol", "position"),
    [
        ("O 0.0D+00 -7.5d-01 1", "O", [0, -0.75, 1]),
        ("C\t-0.1 \t 1.2 -1.2345*^-6 -0.1234", "C", [-0.1, 1.2, -1.2345e-6]),
        ("O, 0.0, 0.0, 0.1173", "O", [0, 0, 0.1173]),
        ("H, 0.0,-0.7572,-0.4692", "H", [0, -0.7572, -0.4692]),
        ("8 1 2 3", "8", [1, 2, 3]),
        ("O 1 2 3 a,b", "O", [1, 2, 3]),
    ],
)
def test_habits_of_writing_an_atom(line, symbol, position):
    raw = parse_frame(["1", "", line])
    assert (list(raw.symbols), raw.coordinates) == ([symbol], [position])


@pytest.mark.parametrize("line", ["O 0,1 0,75 0,46", "O 1_0 2 3", "O ١ 2 3", "O 0x1 2 3", "O 1 2", "O,1,2"])
def test_what_is_no_atom(line):
    with pytest.raises(ValueError):
        parse_frame(["1", "", line])


def test_odd_elements():
    found = []
    for _, lines in split_frames((CASES / "odd_elements.xyz").read_text().splitlines(keepends=True)):
        record = checked(parse_frame(lines), "")
        found.append(record.reason if isinstance(record, Skipped) else record.atomic_numbers.tolist())
    water = [8, 1, 1]
    assert found == [
        water, water, water, water, water, "dummy or ghost atom", [*water, 11], "dummy or ghost atom",
        [26, *[6] * 5, *[8] * 5], [2], "no 3D coordinates", [6, 1, 1], water, water, water * 3, water, water,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("comment", "properties"),
    [
        ("        -20.12340000", {"energy": "-20.12340000"}),  # CREST, GOAT
        ("-20.1 !CONF1", {"energy": "-20.1"}),
        (" energy: -20.123 gnorm: 0.001 xtb: 6.5.1 (abc)", {"energy": "-20.123"}),  # xtb
        (" i =       12, time =        6.000, E =       -17.164", {"energy": "-17.164"}),  # CP2K
        ("Coordinates from ORCA-job x E -76.3", {"energy": "-76.3"}),
        ("E=-5.3 tag=w", {"E": "-5.3", "tag": "w"}),
        ("charge=-1 gap=2", {"charge": "-1", "gap": "2"}),
        ("Charge: 1, energy = -3.5", {"charge": "1", "energy": "-3.5"}),
        ("-20", {}), ("12", {}), ("1.2.3", {}), ("C4H10O", {}), ("2024-01-02 10:11:12", {}), ("-20_1.5", {}),
    ],
)  # fmt: skip
def test_energy_and_charge_of_a_comment(comment, properties):
    assert parse_frame(["1", comment, "C 0 0 0"]).properties == properties


def test_frames_of_the_publisher_of_qm9():
    text = "".join(path.read_text() for path in QM9)
    found = [parse_frame(frame) for frame in frames(text)]
    assert [(raw.name, len(raw.symbols), raw.properties["SMILES"]) for raw in found] == [
        ("gdb 1", 9, "CCO"), ("gdb 2", 12, "c1ccccc1"), ("gdb 5", 6, "CC#N"),
    ]  # fmt: skip
    names = ["A", "B", "C", "mu", "alpha", "homo", "lumo", "gap", "r2", "zpve", "U0", "U", "H", "G", "Cv"]
    assert list(found[0].properties) == [*names, "SMILES", "SMILES_relaxed"]
    assert [float(found[0].properties[name]) for name in names] == list(range(1, 16))
    assert found[1].coordinates[0] == [0.124841325, 1.3892045021, -1.2345e-06]


def test_a_frame_of_qm9_without_its_footer():
    lines = QM9[0].read_text().splitlines()
    found = frames("\n".join([*lines[:11], *lines[:12]]) + "\n")
    assert [len(parse_frame(frame).symbols) for frame in found] == [9, 9]
    mathematica = "\n".join(lines).replace("\t6.0000", "\t-6.5*^-3", 1).splitlines()
    assert float(parse_frame(mathematica).properties["homo"]) == -0.0065
