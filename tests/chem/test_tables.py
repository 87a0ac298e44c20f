"""Tables of SMILES: headings, delimiters, names, and rows that are broken."""

import gzip
from pathlib import Path

import pytest

from gaga.chem.io import has_smiles_only, read_smiles
from gaga.chem.records import UNREADABLE, Skipped
from gaga.chem.tables import NO_SMILES, SmilesRow
from gaga.core.errors import InvalidInput, NotFound


@pytest.fixture
def read(tmp_path):
    """Write a file of that name and read its rows."""

    def rows(name: str, content: str | bytes, **options) -> list[SmilesRow | Skipped]:
        data = content if isinstance(content, bytes) else content.encode()
        path = tmp_path / name
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return list(read_smiles(path, **options))

    return rows


def smiles(rows: list[SmilesRow | Skipped]) -> list[str]:
    return [row.smiles if isinstance(row, SmilesRow) else row.reason for row in rows]


@pytest.mark.parametrize("name", ["m.csv", "m.CSV.gz"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("heading", ["smiles", "SMILES", "canonical_smiles", "Canonical SMILES", '"Smiles"'])
def test_the_column_is_found_whatever_separates_it(read, name, delimiter, heading):
    content = (
        f"id{delimiter}{heading}{delimiter}logP\r\na1{delimiter}CCO{delimiter}1.5\r\n\r\na2{delimiter}C{delimiter}\r\n"
    )
    rows = read(name, content)
    assert [(r.smiles, r.name, dict(r.properties)) for r in rows] == [
        ("CCO", "a1", {"id": "a1", "logP": "1.5"}),
        ("C", "a2", {"id": "a2"}),
    ]


def test_a_column_can_be_named_and_smiles_is_preferred(read):
    content = "canonical_smiles,drug,smiles\nC,CC,CCC\n"
    assert smiles(read("m.csv", content)) == ["CCC"]
    assert smiles(read("m.csv", content, column="Drug")) == ["CC"]
    with pytest.raises(InvalidInput, match=r"no column parent .*canonical_smiles, drug, smiles.*`smiles_column`"):
        read("m.csv", content, column="parent")


@pytest.mark.parametrize("content", ["CCO,1\nC,2\n", "a\tb\n1\t2\n", '"', "\x00\n", "\n\n"])
def test_no_column_of_smiles(read, content):
    with pytest.raises(InvalidInput, match="no column of SMILES"):
        read("m.csv", content)


def test_broken_rows_are_counted_and_the_others_are_read(read):
    rows = read("m.csv", 'smiles,x\nCCO,1\nCC\nC,1,2\n,3\n"C,C",4\nCCC,5\n')
    assert smiles(rows) == ["CCO", UNREADABLE, UNREADABLE, NO_SMILES, "C,C", "CCC"]
    assert (rows[1].where, rows[1].line) == ("m.csv, row 2 (line 3)", 3)


def test_a_quote_without_an_end_does_not_swallow_the_memory(read):
    rows = read("m.csv", 'smiles,x\nC,1\n"CC,1\n' + "CCC,2\n" * 30_000)
    assert smiles(rows[:2]) == ["C", UNREADABLE]
    assert smiles(rows[-1:]) == ["CCC"]
    assert len(rows) > 8_000


def test_smi(read):
    content = b"smiles name\nCCO ethanol, pure\n# a comment\n\nC\tmethane\nCC\n  O  water \nN s\xe4ure\n"
    rows = read("m.smi", content)
    assert [(row.smiles, row.name) for row in rows] == [
        ("CCO", "ethanol, pure"), ("C", "methane"), ("CC", ""), ("O", "water"), ("N", "säure"),
    ]  # fmt: skip
    assert rows[0].where == "m.smi, line 2"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_encodings(read, encoding):
    rows = read("m.csv", "SMILES,säure\nC,1\n".encode(encoding))
    assert dict(rows[0].properties) == {"säure": "1"}


@pytest.mark.parametrize("name", ["m.csv.gz", "m.smi.gz"])
def test_what_is_no_whole_gzip_file(tmp_path, name):
    whole = gzip.compress(b"smiles\n" + b"\n".join(b"C" * (i % 40 + 1) for i in range(5000)))
    (tmp_path / name).write_bytes(whole[:-200])
    with pytest.raises(InvalidInput, match="cut short or damaged after"):
        list(read_smiles(tmp_path / name))


@pytest.mark.parametrize("name", ["m.csv.gz", "m.smi.gz"])
def test_gzip_bombs_and_lines_without_end(tmp_path, name):
    with gzip.open(tmp_path / name, "wb") as file:
        file.write(b"smiles\n")
        for _ in range(800):
            file.write(b"C" * 100_000 + b"\n")
    with pytest.raises(InvalidInput, match="times its size"):
        for _ in read_smiles(tmp_path / name):
            pass
    (tmp_path / name).write_bytes(gzip.compress(b"smiles\n" + b"C" * (1 << 21)))
    with pytest.raises(InvalidInput, match="a line of over"):
        list(read_smiles(tmp_path / name))


def test_missing_and_empty(tmp_path):
    with pytest.raises(NotFound):
        read_smiles(tmp_path / "none.csv")
    (tmp_path / "m.smi").touch()
    with pytest.raises(InvalidInput, match="empty"):
        read_smiles(tmp_path / "m.smi")


def test_which_files_have_smiles_alone(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    named = ["m.csv", "m.SMI", "m.smi.gz", "m.tsv", "m.smiles", "m.sdf", "m.xyz.gz", "csv", "folder.csv"]
    assert [name for name in named if has_smiles_only(tmp_path / name)] == named[:5]
    assert not has_smiles_only(Path("smi"))


@pytest.mark.parametrize("name", ["m.tsv", "m.txt", "m.tsv.gz", "m.txt.gz"])
def test_tables_of_other_names(read, name):
    rows = read(name, "id\tsmiles\tlogP\na1\tCCO\t1.5\n")
    assert [(r.smiles, r.name, r.properties["logP"]) for r in rows] == [("CCO", "a1", "1.5")]
    assert smiles(read(name, "id\tparent\nx\tCC\n", column="parent")) == ["CC"]


@pytest.mark.parametrize("name", ["m.smiles", "m.txt", "m.smiles.gz"])
@pytest.mark.parametrize("content", ["CCO ethanol\nC\tmethane\n", "smiles name\nCCO ethanol\nC methane\n", "CCO\nC\n"])
def test_lists_of_other_names(read, name, content, tmp_path):
    assert smiles(read(name, content)) == ["CCO", "C"]
    assert has_smiles_only(tmp_path / name)


def test_what_excel_writes_above_the_headings(read):
    rows = read("m.csv", "sep=;\r\nsmiles;x\r\nCCO;1\r\nC\r\n")
    assert smiles(rows) == ["CCO", UNREADABLE]
    assert rows[1].where == "m.csv, row 2 (line 4)"
