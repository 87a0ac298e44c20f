"""The page in a headless browser: rows, filter, order, 3D model, trajectory, keyboard, and no request leaves it."""

import numpy as np
import pytest

import gaga
from gaga.chem.records import Record
from gaga.chem.writers import open_writer
from gaga.core.molecules import pack
from tests.page import browser as browsers

pytestmark = pytest.mark.skipif(browsers.found() is None, reason="needs chromium or chrome")

METHANE = (
    np.array([6, 1, 1, 1, 1], np.uint8),
    0.629 * np.array([[0, 0, 0], [1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]]),
)
WATER = (np.array([8, 1, 1], np.uint8), np.array([[0, 0, 0.119], [0, 0.763, -0.477], [0, -0.763, -0.477]]))
HOSTILE = "<img src=x onerror=\"document.title='hacked'\"></script><script>document.title='hacked'</script>"
ROWS = "[...document.querySelectorAll('#body tr[data-row]')]"
INK = """(() => { const c = document.getElementById('viewer');
const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
let sum = 0; for (let k = 3; k < d.length; k += 4) sum += d[k] > 0; return sum; })()"""
# Luminance and contrast by WCAG 2.1, of the text of each element against the first background behind it.
CONTRAST = """(() => { const lum = (c) => { const [r, g, b] = c.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
    if (!/, 0\\)$/.test(c) && c !== 'transparent') return c; } return 'rgb(255,255,255)'; };
  return [...document.querySelectorAll('body *')].filter((e) => e.offsetParent && !e.closest('script, svg, .skip')
    && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
    .map((e) => { const [a, b] = [lum(getComputedStyle(e).color), lum(behind(e))].sort((x, y) => y - x);
    return [(a + 0.05) / (b + 0.05), e.outerHTML.slice(0, 80)]; }).filter(([ratio]) => ratio < 4.5); })()"""
UNNAMED = """[...document.querySelectorAll('input, select, button, canvas, [role=img], table, summary')].filter((e) =>
  !e.hidden && !(e.labels && e.labels.length) && !e.getAttribute('aria-label') && !e.getAttribute('aria-labelledby')
  && !e.textContent.trim()).map((e) => e.outerHTML.slice(0, 80))"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """One browser for all tests."""
    with browsers.browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """A page of water, methane and something that is not valid, with hostile names; the first has a trajectory."""
    folder = tmp_path_factory.mktemp("few")
    fluorines = Record(np.full(3, 9, np.uint8), np.random.default_rng(0).normal(size=(3, 3)), "fluorines")
    with open_writer(folder / "mols.sdf") as writer:
        for record in (Record(*WATER, HOSTILE, {HOSTILE[:20]: HOSTILE}), Record(*METHANE, "methane"), fluorines):
            writer.write(record)
    with open_writer(folder / "mols_trajectory_0.xyz") as writer:
        for k in range(4):
            writer.write(Record(WATER[0], WATER[1] * (4 - k), f"frame {k}"))
    return gaga.view(folder / "mols.sdf").path


def test_table_model_trajectory_keyboard_and_names(page, few):
    page.open(few)
    assert page.run(f"{ROWS}.length") == 3
    assert page.run(f"{ROWS}.every((row) => row.querySelector('svg').childNodes.length)")
    assert page.run("document.getElementById('shown-name').textContent") == HOSTILE
    assert page.run(INK) > 500
    assert page.run("document.getElementById('frame-text').textContent") == "4 of 4"
    page.run("document.getElementById('play').click()")
    page.wait("document.getElementById('frame-text').textContent === '2 of 4'")
    page.wait("document.getElementById('play').textContent === 'Play'")
    page.run("document.querySelector('#body tr[tabindex=\"0\"]').focus()")
    page.press("ArrowDown")
    assert page.run("document.getElementById('shown-name').textContent") == "methane"
    assert page.run("document.activeElement.getAttribute('aria-rowindex')") == "3"
    page.run("document.getElementById('viewer').focus()")
    before = page.run("document.getElementById('viewer').toDataURL()")
    page.press("ArrowLeft")
    assert page.run("document.getElementById('viewer').toDataURL()") != before
    assert page.run("document.title") == "mols.sdf: 3 molecules"
    assert page.run("document.images.length + document.querySelectorAll('body script').length") == 2
    assert (page.complaints, page.requests) == ([], [few.as_uri()])


def test_filter_and_order(page, few):
    page.open(few)
    typed = "(words) => { document.getElementById('words').value = words; filter(); return table.order; }"
    assert page.run(f"({typed})('atoms>3')") == [1]
    assert page.run(f"({typed})('METHANE')") == [1]
    assert page.run(f"({typed})('connected=no')") == [2]
    assert page.run(f"({typed})('nothing of that')") == []
    assert page.run("document.getElementById('count').textContent") == "0 of 3 molecules"
    assert page.run(f"({typed})('')") == [0, 1, 2]
    assert page.run("table.sortBy('atoms', false), table.order") == [1, 0, 2]
    assert page.run("document.querySelector('th[data-key=atoms]').getAttribute('aria-sort')") == "descending"
    page.run("flags.connected = 'yes', filter()")
    assert page.run("table.order") == [1, 0]
    page.run("document.getElementById('all').click()")
    assert page.run("document.querySelectorAll('#head th').length") == page.run("DATA.columns.length + 1")
    assert page.complaints == []


@pytest.mark.parametrize("width", [1280, 390])
def test_it_can_be_read_at_any_width(page, few, width):
    page.open(few, width, 844)
    assert page.run("document.documentElement.scrollWidth") <= width
    spare = "(box => box.clientWidth - box.scrollWidth)(document.getElementById('rows'))"
    assert width > 500 or page.run(spare) == 0  # on a phone nothing is beside the screen
    assert page.run(CONTRAST) == []
    assert page.run(UNNAMED) == []
    assert page.run("document.documentElement.lang") == "en"


def test_many_molecules_open_at_once(page, tmp_path):
    molecules = pack([WATER, METHANE] * 5000)
    found = gaga.view(molecules.take(np.arange(400)), out=tmp_path / "many.html", dataset="none")
    # The same molecules again and again, as judging ten thousand takes long.
    page.open(_repeated(found.path, 25))
    assert page.run("N") == 10_000
    assert page.run("performance.timing.loadEventEnd - performance.timing.navigationStart") < 10_000
    assert page.run(f"{ROWS}.length") < 40
    page.run("document.getElementById('rows').scrollTop = 1e9")
    page.wait(f"{ROWS}.some((row) => row.getAttribute('aria-rowindex') === '10001')")


def _repeated(path, times):
    """A page with all of its molecules this many times."""
    from base64 import b64decode, b64encode
    from json import dumps, loads

    before, data, after = path.read_text(encoding="utf-8").replace(
        'id="data">', 'id="data">\0').replace("</script>\n<script>", "\0</script>\n<script>").split("\0")  # fmt: skip
    found = loads(data)
    for group in (found["molecules"], found["molecules"]["positions"], found["drawings"]):
        for name, text in group.items():
            if isinstance(text, str):
                group[name] = b64encode(b64decode(text) * times).decode()
    for column in found["columns"]:
        column["values"] *= times
    path.write_text(before + dumps(found) + after, encoding="utf-8")
    return path
