"""SDF: both versions of the layout in and out, read back by rdkit; careless files are read, broken ones named."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from gaga.chem.records import Record
from gaga.chem.sdf import NO_TERMINATOR, format_record, parse_record, split_records


def record_of(n_atoms: int, scale: float = 5.0, **members) -> Record:
    rng = np.random.default_rng(n_atoms)
    numbers = rng.choice([1, 6, 7, 17], size=n_atoms).astype(np.uint8)
    return Record(numbers, rng.uniform(-scale, scale, size=(n_atoms, 3)), **members)


def lines_of(text: str) -> list[str]:
    ((_, lines),) = split_records(text.splitlines(keepends=True))
    return lines


@pytest.fixture(scope="module")
def aspirin() -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles("CC(=O)Oc1ccccc1C(=O)O"))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    mol.SetProp("_Name", "aspirin")
    return mol


def record_from(mol: Chem.Mol, **members) -> Record:
    numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()], dtype=np.uint8)
    return Record(numbers, mol.GetConformer().GetPositions(), **members)


@pytest.mark.parametrize("v3000", [False, True])
def test_what_rdkit_writes_is_read(aspirin, v3000):
    raw = parse_record(Chem.MolToMolBlock(aspirin, forceV3000=v3000).splitlines())
    assert list(raw.symbols) == [atom.GetSymbol() for atom in aspirin.GetAtoms()]
    assert np.allclose(raw.coordinates, aspirin.GetConformer().GetPositions(), atol=6e-5)
    assert raw.name == "aspirin"
    assert raw.declared_3d


@pytest.mark.parametrize(
    ("n_atoms", "scale", "version"),
    [(1, 5, "V2000"), (29, 5, "V2000"), (999, 99, "V2000"), (1000, 99, "V3000"), (5, 123456, "V3000")],
)
def test_atoms_without_bonds_are_read_back_by_rdkit_and_by_us(n_atoms, scale, version):
    record = record_of(n_atoms, scale, name="mol 1", properties={"seed": 7, "valid": False, "energy": -1.5})
    text = format_record(record)
    assert version in text.splitlines()[3]
    supplier = Chem.SDMolSupplier()
    supplier.SetData(text, sanitize=False, removeHs=False, strictParsing=True)
    (mol,) = supplier
    assert [atom.GetAtomicNum() for atom in mol.GetAtoms()] == record.atomic_numbers.tolist()
    assert np.allclose(mol.GetConformer().GetPositions(), record.positions, atol=6e-5)
    assert mol.GetConformer().Is3D()
    assert mol.GetPropsAsDict() == {"seed": 7, "valid": "false", "energy": -1.5, "bonds": "not perceived"}
    raw = parse_record(lines_of(text))
    assert np.allclose(raw.coordinates, record.positions, atol=6e-5)
    assert raw.name == "mol 1"
    assert raw.properties == {"seed": "7", "valid": "false", "energy": "-1.5", "bonds": "not perceived"}


def test_bonds_are_written_where_there_are_any(aspirin):
    text = format_record(record_from(aspirin, name="mol 3", properties={"SMILES": "x"}), aspirin)
    supplier = Chem.SDMolSupplier()
    supplier.SetData(text, removeHs=False)
    (mol,) = supplier
    assert Chem.MolToSmiles(mol) == Chem.MolToSmiles(aspirin)
    assert mol.GetProp("_Name") == "mol 3"
    assert mol.GetPropsAsDict() == {"SMILES": "x"}


def test_text_that_would_break_the_layout_is_tamed():
    record = record_of(3, name="two\nlines", properties={"a<b>\n": "one\n\n$$$$\ntwo"})
    raw = parse_record(lines_of(format_record(record)))
    assert raw.name == "two lines"
    assert raw.properties["a(b)"] == "one $$$$ two"


def test_a_drawing_is_not_declared_3d():
    mol = Chem.MolFromSmiles("CCO")
    AllChem.Compute2DCoords(mol)
    assert not parse_record(Chem.MolToMolBlock(mol).splitlines()).declared_3d


CARELESS = """name
made by hand

2 0
 1.0 2.0 3.0 C
-1000.0000-1000.0000-1000.0000 Cl
M  END
"""


def test_careless_columns_are_read():
    raw = parse_record(CARELESS.splitlines())
    assert list(raw.symbols) == ["C", "Cl"]
    assert raw.coordinates[1] == [-1000.0, -1000.0, -1000.0]


def test_continued_lines_of_v3000_are_joined():
    block = format_record(record_of(2, 123456)).replace(" 0\nM  V30 END ATOM", " -\nM  V30 0\nM  V30 END ATOM")
    assert len(parse_record(lines_of(block)).symbols) == 2


def test_records_are_split_at_their_terminators():
    assert list(split_records(["a\n", "$$$$\n", "b\n", "$$$$\n", "\n"])) == [(1, ["a"]), (3, ["b"])]
    assert list(split_records(["a\n", "$$$$\n", "b\n"])) == [(1, ["a"]), (3, ["b"])]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\nb\nc\n",
        CARELESS.replace("2 0", "9 0"),
        CARELESS.replace("3.0 C", ""),
        CARELESS.replace("2 0", "x"),
        "a\n\n\n  0  0  0     0  0            999 V3000\nM  END\n",
    ],
)
def test_broken_records_raise(text):
    with pytest.raises(ValueError):
        parse_record(text.splitlines())


def test_a_v3000_record_cut_short_raises():
    lines = format_record(record_of(5, 123456)).splitlines()
    with pytest.raises(ValueError):
        parse_record(lines[:8])
    del lines[7]
    with pytest.raises(ValueError, match="counts"):
        parse_record(lines)


CASES = Path("tests/cases")
BLOCK = CARELESS.replace("2 0\n", "  2  0  0     0  0            999 V2000\n")
V3000 = format_record(record_of(3, 123456, name="name")).partition("$$$$")[0]
CUT = "\n".join(BLOCK.splitlines()[:5]) + "\n"  # in the middle of its atoms
MOLECULE_AS_VALUE = f"{BLOCK}> <reactant>\n{BLOCK}\n> <x>\n1\n\n"


def numbers_of_atoms(text: str) -> tuple[list[int], int]:
    """Atoms of each record, 0 for one that is unreadable; and how many lacked their terminator."""
    notes: Counter[str] = Counter()
    found = []
    for _, lines in split_records(text.splitlines(keepends=True), notes):
        try:
            found.append(len(parse_record(lines).symbols))
        except (ValueError, IndexError):
            found.append(0)
    return found, notes[NO_TERMINATOR]


@pytest.mark.parametrize(
    ("text", "atoms", "lost"),
    [
        (BLOCK * 3, [2, 2, 2], 3),  # cat *.mol
        (BLOCK + "\n\n" + BLOCK, [2, 2], 2),
        (CARELESS * 2, [2, 2], 2),  # whose counts lines do not say which version they are
        (V3000 * 2 + BLOCK, [3, 3, 2], 3),
        (V3000 + "$$$$\n" + BLOCK + "$$$$\n", [3, 2], 0),
        (BLOCK + "$$$$\n" + BLOCK, [2, 2], 1),  # the last one
        (BLOCK + "> <a>\n1\n\n" + BLOCK + "$$$$\n", [2, 2], 1),
        (BLOCK + "> <a>\n1\n" + BLOCK + "$$$$\n", [2, 2], 1),  # not even a blank line
        (BLOCK + "> <a>\n\n" + BLOCK.replace("name", "") + "$$$$\n", [2, 2], 1),
        (CUT + BLOCK + "$$$$\n", [0, 2], 1),
        (BLOCK + CUT + BLOCK + "$$$$\n", [2, 0, 2], 2),
        (BLOCK + BLOCK.partition("\n")[2] + "$$$$\n", [2, 2], 1),  # the second without its title
        ("\n\n" + BLOCK + "$$$$\n\n" + BLOCK + "$$$$\n", [2, 2], 0),
        (MOLECULE_AS_VALUE + "$$$$\n" + BLOCK + "$$$$\n", [2, 2], 0),
        (MOLECULE_AS_VALUE + BLOCK + "$$$$\n", [2, 2], 1),
    ],
)  # fmt: skip
def test_a_record_without_its_terminator_swallows_no_other(text, atoms, lost):
    assert numbers_of_atoms(text) == (atoms, lost)


def test_records_begin_where_their_title_is():
    text = BLOCK + "\n" + BLOCK + "$$$$\n" + CUT + BLOCK
    assert [begins for begins, _ in split_records(text.splitlines(keepends=True))] == [1, 9, 17, 22]


def test_one_lost_end_of_fifteen():
    text = (CASES / "lost_one_end.sdf").read_text()
    whole, lost = numbers_of_atoms(text)
    assert whole == [9, 12, 8, 10, 6, 10, 18, 10, 9, 10, 11, 8, 10, 5, 9]
    assert lost == 1
    assert numbers_of_atoms(text.replace("$$$$\n", "")) == (whole, 15)


def test_data_items_end_where_the_next_one_begins():
    text = (CASES / "data_blocks.sdf").read_text()
    found = [parse_record(lines).properties for _, lines in split_records(text.splitlines(keepends=True))]
    assert [float(properties["energy"]) for properties in found] == [-1.5, -2.5, -3.5, -4.5, -5.5, -6.5, -7.5]
    assert [float(properties["gap"]) for properties in found] == [0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85]
    assert found[5]["note"] == "price >$$$$ high"
    assert found[6]["DT12"] == "foo"


@pytest.mark.parametrize(
    ("items", "properties"),
    [
        ("> <a>\n1\n> <b>\n2\n", {"a": "1", "b": "2"}),
        ("> <a>\n> 5\n>90 % yield\n\n> <b>\n2\n", {"a": "> 5\n>90 % yield", "b": "2"}),
        ("> <a>\nx <5\n\n>  <b>  (12)\n2\n\n", {"a": "x <5", "b": "2"}),
        ("> <>\nx\n\n> <b>\n2", {"b": "2"}),
        ("> <a>\n> <b>\n2", {"a": "", "b": "2"}),
        ("> 25 <a> DT12\n1\n   \n> (X-1) <b>\n2\n", {"a": "1", "b": "2"}),
    ],
)
def test_data_items(items, properties):
    assert parse_record((BLOCK + items).splitlines()).properties == properties


@pytest.mark.parametrize(
    ("old", "new"), [("  2  0", "1_2  0"), ("  2  0", " ٢  0"), ("1.0 2.0", "1_0 2.0"), ("1.0 2.0", "١ 2.0")]
)
def test_numbers_that_are_text_make_a_record_unreadable(old, new):
    assert numbers_of_atoms(BLOCK.replace(old, new))[0] == [0]
