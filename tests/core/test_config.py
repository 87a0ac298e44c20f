"""A config's options are declared once: ranges are checked, and the docstring says them."""

from dataclasses import dataclass

import pytest

from gaga.core.config import Config, Option, option, options_of
from gaga.core.errors import InvalidInput


@dataclass(frozen=True, kw_only=True)
class Soup(Config):
    """How to cook."""

    litres: float = option(1.5, "Water.", above=0, at_most=5)
    spices: tuple[str, ...] = option(("salt",), "What goes in.", choices=("salt", "thyme"))
    minutes: int | None = option(None, "Time.", at_least=1)
    note: str = "not an option"


def test_defaults_are_accepted_and_none_is_not_given():
    assert Soup() == Soup(litres=1.5, minutes=None)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"litres": 0.0}, "litres must be above 0 and at most 5"),
        ({"litres": 5.1}, "litres must be"),
        ({"litres": float("nan")}, "litres must be"),
        ({"minutes": 0}, "minutes must be at least 1"),
        ({"minutes": 10**20}, "minutes must fit into 64 bits"),
        ({"spices": ("salt", "tar")}, "unknown spices.*Use one of salt, thyme"),
    ],
)
def test_what_is_out_of_range_is_one_line(given, words):
    with pytest.raises(InvalidInput, match=words):
        Soup(**given)


@pytest.mark.parametrize(("end", "inside", "outside"), [
    ("above", 1.1, 1), ("below", 0.9, 1), ("at_least", 1, 0.9), ("at_most", 1, 1.1)])  # fmt: skip
def test_ends_are_included_or_not(end, inside, outside):
    about = Option(help="", **{end: 1})
    assert about.accepts(inside)
    assert not about.accepts(outside)


def test_the_docstring_has_every_option():
    assert list(options_of(Soup)) == ["litres", "spices", "minutes"]
    lines = " ".join(Soup.__doc__.split())
    assert "litres: Water. Above 0 and at most 5." in lines
    assert "spices: What goes in. One of salt, thyme." in lines
