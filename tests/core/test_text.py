import math

import pytest

from gaga.core.errors import InvalidInput
from gaga.core.text import checked_name, decimal, printable, whole


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


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12), (" 12 ", 12), ("-1.5", -1.5), ("+.5", 0.5), ("3.", 3), ("1e5", 1e5), ("1E-3", 1e-3),
        ("1d5", 1e5), ("1.173D-01", 0.1173), ("-7.5d+02", -750), ("1.2*^-6", 1.2e-6), ("-1.*^3", -1000),
        ("inf", math.inf), ("-Infinity", -math.inf),
    ],
)  # fmt: skip
def test_numbers(text, value):
    assert decimal(text) == value


def test_not_a_number_is_read():
    assert math.isnan(decimal("nan"))


@pytest.mark.parametrize(
    "text",
    [
        "1_2",
        "0_1",
        "١٢",
        "１２",
        "²",
        "0x10",
        "1,5",
        "",
        " ",
        "1 2",
        "d5",
        "1d",
        "1e5d3",
        "1.5D-0_1",
        "*^3",
        "--1",
        "five",
    ],
)
def test_text(text):
    for read in (decimal, whole):
        with pytest.raises(ValueError):
            read(text)


@pytest.mark.parametrize(("text", "value"), [("12", 12), (" 7\n", 7), ("-3", -3), ("+3", 3), ("007", 7)])
def test_whole_numbers(text, value):
    assert whole(text) == value


@pytest.mark.parametrize("text", ["1.0", "1e5", "inf", "9" * 5000])
def test_other_numbers_are_not_whole(text):
    with pytest.raises(ValueError):
        whole(text)
