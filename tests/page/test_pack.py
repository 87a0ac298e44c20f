"""What is packed for a page can be unpacked, and no text of a file leaves its place."""

import json
from base64 import b64decode
from html.parser import HTMLParser

import numpy as np

from gaga.core.molecules import pack
from gaga.page.build import as_json, build
from gaga.page.pack import packed, packed_depictions, packed_molecules

HOSTILE = "</script><script>alert(1)</script><!--&amp;\u2028{{code}}<img src=x onerror=alert(1)>"


def unpacked(text, dtype):
    return np.frombuffer(b64decode(text), dtype)


def test_molecules_come_back():
    rng = np.random.default_rng(0)
    molecules = pack([([6, 1, 1], rng.normal(size=(3, 3)) + 50), ([], np.zeros((0, 3))), ([8], np.ones((1, 3)))])
    found = packed_molecules(molecules)
    assert unpacked(found["sizes"], "<u2").tolist() == [3, 0, 1]
    assert unpacked(found["numbers"], "<u1").tolist() == [6, 1, 1, 8]
    units = unpacked(found["positions"]["units"], "<i2").reshape(-1, 3) * found["positions"]["unit"]
    first = molecules.positions[:3].astype(float)
    np.testing.assert_allclose(units[:3], first - first.mean(axis=0), atol=6e-4)
    np.testing.assert_allclose(units[3], 0, atol=1e-9)


def test_large_and_broken_positions_are_packed_too():
    wide = packed_molecules(pack([([1, 1], [[-1e5, 0, 0], [1e5, 0, 0]])]))
    units = unpacked(wide["positions"]["units"], "<i2").reshape(-1, 3) * wide["positions"]["unit"]
    np.testing.assert_allclose(units[:, 0], [-1e5, 1e5], rtol=1e-3)
    broken = packed_molecules(pack([([1], [[np.nan, np.inf, 0]])]))
    assert not unpacked(broken["positions"]["units"], "<i2").any()


def test_numbers_beyond_a_type_are_its_largest():
    assert unpacked(packed(np.array([-5, 70_000]), "<u2"), "<u2").tolist() == [0, 65535]


def test_no_drawings_are_packed():
    assert packed_depictions([None, None])["atoms"] == ""


class _Elements(HTMLParser):
    def __init__(self):
        super().__init__()
        self.starts, self.data, self.title, self._in = [], "", "", ""

    def handle_starttag(self, tag, attrs):
        self.starts.append(tag)
        self._in = dict(attrs).get("id", tag)

    def handle_endtag(self, tag):
        self._in = ""

    def handle_data(self, data):
        self.data += data if self._in == "data" else ""
        self.title += data if self._in == "title" else ""


def test_hostile_text_stays_text():
    page = _Elements()
    page.feed(build(HOSTILE, {"title": HOSTILE}))
    plain = _Elements()
    plain.feed(build("", {}))
    assert page.starts == plain.starts
    assert json.loads(page.data) == {"title": HOSTILE}
    assert page.title.strip() == HOSTILE
    assert page.starts.count("script") == 2


def test_json_within_a_script_has_no_markup():
    text = as_json({"x": HOSTILE})
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == {"x": HOSTILE}


def test_the_page_names_no_address_and_may_load_nothing():
    page = build("molecules", {})
    assert "default-src 'none'" in page
    assert page.replace("http://www.w3.org/2000/svg", "").count("http") == 1  # http-equiv
    assert '<html lang="en">' in page
