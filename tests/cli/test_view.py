"""`gaga view` as it is typed."""

from pathlib import Path


def test_it_writes_a_page_next_to_the_file(gaga, xyz, tmp_path):
    ran = gaga("view", "tiny.xyz", "--dataset", "none", "--first", 5)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("Wrote the first 5 molecules to ")
    assert "--first N" in ran.out
    assert Path(tmp_path / "tiny.html").is_file()
    again = gaga("view", "tiny.xyz")
    assert again.code == 1
    assert "--overwrite" in again.err


def test_json_and_a_picture(gaga, xyz):
    ran = gaga(
        "view", "tiny.xyz", "--out", "tiny.png", "--first", 4, "--highlight", "1-2", "--dataset", "none", "--json"
    )
    size = Path("tiny.png").stat().st_size
    assert ran.json == {
        "out": "tiny.png", "bytes": size, "molecules": 4, "more": True, "drawn": 4, "trajectories": 0,
    }  # fmt: skip


def test_wrong_words(gaga, xyz):
    assert gaga("view", "tiny.xyz", "--highlight", "a-b").code == 2
    assert gaga("view", "tiny.xyz", "--columns", "0").code == 2
    for words in (["missing.sdf"], ["tiny.xyz", "--out", "tiny.gif"], ["sample/none", "--out", "x.html"]):
        ran = gaga("view", *words)
        assert ran.code == 1
        assert len(ran.err.strip().splitlines()) == 1
