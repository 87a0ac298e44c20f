"""Files whose names are not UTF-8, or begin with ~, are files like others, wherever a command names them."""

import os
import sys
from pathlib import Path

import pytest

from gaga.core.text import legible
from gaga.runs.once import slug
from gaga.storage.files import expanded, with_utf8_name

LATIN = "mol\udce9cule"  # as Python has the bytes of "molécule" in Latin-1
SMALL = ("--preset", "tiny", "--hidden", "8", "--layers", "1", "--batch-size", "8", "--stability-samples", "2",
         "--steps", "3", "--max-t", "60", "--threads", "1")  # fmt: skip
linux = pytest.mark.skipif(sys.platform != "linux", reason="a file system whose names are any bytes")


@linux
def test_names_in_latin_1_are_read_written_and_found_again(gaga, xyz, tmp_path):
    for words in (
        ("data", "prepare", xyz, "--out", f"{LATIN}.h5"),
        ("data", "info", f"{LATIN}.h5"),
        ("variance", "--dataset", f"{LATIN}.h5", "--store", f"{LATIN}_store.h5", "--name", LATIN),
        ("store", "show", "variance/molécule", "--store", f"{LATIN}_store.h5"),
        ("store", "export", f"variance/{LATIN}", "--store", f"{LATIN}_store.h5", "--out", f"{LATIN}.json"),
        ("train", "--dataset", f"{LATIN}.h5", *SMALL, "--runs", f"runs_{LATIN}", "--name", "run"),
        ("train", "--dataset", f"{LATIN}.h5", *SMALL, "--runs", f"runs_{LATIN}", "--name", "run"),
        ("store", "show", "train/run"),
        ("sample", "--n", "2", "--steps", "2", "--checkpoint", f"runs_{LATIN}/run", "--out", f"{LATIN}.sdf"),
        ("store", "show", "sample/molécule"),
        ("evaluate", f"{LATIN}.sdf", "--protocol", "edm", "--reference", "none"),
        ("doctor", "--store", f"{LATIN}_store.h5", "--cache", f"cache_{LATIN}"),
    ):
        ran = gaga(*words)
        assert ran.code == 0, (words, ran.err)
    assert b"mol\xe9cule.sdf" in os.listdir(os.fsencode(tmp_path))
    for words in (("data", "info", f"{LATIN}2.sdf"), ("sample", "--checkpoint", LATIN, "--out", "x.xyz")):
        ran = gaga(*words)
        assert ran.code == 1
        assert "mol\\udce9cule" in ran.err


def test_names_that_begin_with_a_tilde_are_files(gaga, xyz, tmp_path):
    assert gaga("data", "prepare", xyz, "--out", "~b.h5").code == 0
    assert gaga("data", "info", "~b.h5").code == 0
    assert gaga("variance", "--dataset", "~b.h5", "--store", "~s.h5").code == 0
    ran = gaga("sample", "--n", "1", "--steps", "2", "--checkpoint", "qm9_small", "--out", "~new.xyz")
    assert ran.code == 0, ran.err
    assert {"~s.h5", "~b.h5", "~new.xyz"} <= {path.name for path in tmp_path.iterdir()}
    for words in (("data", "info", "~none.h5"), ("sample", "--checkpoint", "~none", "--out", "x.xyz"),
                  ("import-edm", "~none", "--out", "~n.safetensors"),
                  ("data", "prepare", "geom", "--from", "~none", "--out", "g.h5")):  # fmt: skip
        ran = gaga(*words)
        assert (ran.code, ran.err.count("\n"), "~none" in ran.err) == (1, 1, True)


def test_a_tilde_is_the_home_folder_unless_a_file_has_that_name(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert expanded("~/a.sdf") == tmp_path / "a.sdf"
    assert expanded("~nobody_of_this_name/a.sdf") == Path("~nobody_of_this_name/a.sdf")
    (tmp_path / "~root").write_text("mine")
    assert expanded("~root") == Path("~root")


@linux
def test_a_library_that_only_takes_utf8_opens_the_file_all_the_same(tmp_path):
    for name in ("plain", "mol\u00e9cule", LATIN):
        path = tmp_path / name
        path.write_text(name.encode("utf-8", "replace").decode())
        with with_utf8_name(path) as utf8:
            utf8.encode()
            assert Path(utf8).read_bytes() == path.read_bytes()


def test_a_name_in_latin_1_is_that_of_a_result_in_letters():
    assert slug(LATIN) == legible(LATIN) == "molécule"
    assert legible("mol\u00e9cule Å") == "mol\u00e9cule Å"
