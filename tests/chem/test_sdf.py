"""SDF: both versions of the layout in and out, read back by rdkit; careless files are read, broken ones named."""

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from gaga.chem.records import Record
from gaga.chem.sdf import format_record, parse_record, split_records


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
