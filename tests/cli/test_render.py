"""Tables for people, JSON for programs."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from gaga.cli.render import Output, Table, format_table, plain, text
from gaga.core.text import counted, human_bytes


@dataclass(frozen=True)
class Pair:
    first: object
    second: object


def test_plain_is_what_json_has():
    value = Pair(
        np.float32(1.5),
        {"a": np.array([[1, 2]]), "b": (np.nan, np.inf, 2.0), "c": Path("x/y"), 3: np.bool_(True)},
    )
    assert plain(value) == {
        "first": 1.5,
        "second": {"a": [[1, 2]], "b": [None, None, 2.0], "c": str(Path("x/y")), "3": True},
    }
    json.dumps(plain(value), allow_nan=False)
    assert plain(np.array(["Å"])) == ["Å"]
    assert plain(b"abc") == "abc"


def test_tables_align_and_never_cut():
    table = Table(
        columns=("name", "value", "n"),
        rows=[("a" * 90, 1.23456, np.int64(5)), ("b", None, 1000), ("c", float("nan"), 20)],
        title="Title",
    )
    lines = format_table(table).splitlines()
    assert lines[0] == "Title"
    assert lines[3] == f"{'a' * 90}  1.235     5"
    assert lines[4] == f"b{' ' * 89}      –  1000"
    assert lines[5].endswith("–    20")


def test_a_table_without_rows_is_its_heading():
    assert format_table(Table(columns=("a", "bc"), rows=[])).splitlines() == ["a  bc", "─  ──", ""]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(True, "yes"), (np.float32(0.5), "0.5"), (3, "3"), (None, "–"), (1e-9, "1e-09"), ("x", "x")],
)
def test_cells(value, shown):
    assert text(value) == shown


@pytest.mark.parametrize(("count", "shown"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (3 * 10**9, "3.0 GB")])
def test_bytes(count, shown):
    assert human_bytes(count) == shown


def test_counted():
    assert [counted(n, "record") for n in (0, 1, 2000)] == ["0 records", "1 record", "2,000 records"]


def test_json_is_alone_on_stdout(capsys):
    output = Output(json=True)
    output.note("a note")
    with output.progress("work") as progress:
        progress(1, 2)
    output.show({"a": np.nan}, "a sentence")
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"a": None}
    assert captured.err == "a note\n"


def test_people_read_tables_and_sentences(capsys):
    Output().show({"a": 1}, Table(columns=("x",), rows=[(1,)]), "a sentence")
    assert capsys.readouterr().out == "x\n─\n1\n\na sentence\n"


def test_one_process_speaks_for_all(capsys):
    silent = Output(silent=True)
    silent.note("a note")
    silent.show({"a": 1}, "a line")
    with silent.progress("steps") as progress:
        progress(1, 2)
    assert capsys.readouterr() == ("", "")


def test_text_of_strangers_does_not_steer_the_terminal(capsys):
    hostile = "\x1b[2Jx\r\u202e\ny"
    table = Table(columns=("a", hostile), rows=[(hostile, 1)], title=hostile)
    Output().show({}, table, f"two\nlines {hostile}")
    Output().note(hostile)
    shown = capsys.readouterr()
    assert "two\nlines" in shown.out
    assert not set("\x1b\r\u202e") & set(shown.out + shown.err)
    assert shown.err.count("\n") == 1
