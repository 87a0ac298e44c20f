import pytest

from gaga.core.errors import InvalidInput
from gaga.core.text import checked_name, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Å 分子 👩‍🔬", "Å 分子 👩‍🔬"),
        ("\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x9b31m\u2028", "\\x9b31m\\u2028"),
        ("txt.\u202egpj", "txt.\\u202egpj"),
        ("\udcff", "\\udcff"),
    ],
)
def test_nothing_steers_a_terminal(text, shown):
    assert printable(text) == shown
    assert printable("a\nb\x1b", lines=True) == "a\nb\\x1b"


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "..", ".", "", " ", "a\x1b[0m", "a\nb", "\udcff"])
def test_names_that_lead_elsewhere_are_refused(name):
    with pytest.raises(InvalidInput, match="a name has no /"):
        checked_name(name)
