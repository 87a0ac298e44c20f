"""A command's options are made from a config dataclass."""

from dataclasses import dataclass
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from gaga.cli.builder import takes
from gaga.core.config import Config, option


@dataclass(frozen=True, kw_only=True)
class Soup(Config):
    """How to cook."""

    litres: float = option(1.5, "Water.", metavar="L", above=0)
    servings: int = option(4, "Plates.", at_least=1)
    herb: str = option("thyme", "What it tastes of.", choices=("thyme", "basil"))
    extras: tuple[str, ...] = option((), "More, as a list.")
    spices: tuple[str, ...] = option((), "May be repeated.", choices=("salt", "pepper"))
    minutes: tuple[int, ...] = option((5,), "Of each course.", at_least=1)
    hidden: int = option(3, "Not on the command line.")


def _list(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def app_of(seen: list[dict[str, Any]]) -> typer.Typer:
    app = typer.Typer(rich_markup_mode=None)

    @app.command()
    @takes(
        Soup,
        parsers={"extras": lambda text: tuple(text.split(","))},
        spelled={"litres": "--water"},
        without=("hidden",),
    )
    def cook(name: str = "soup", *, given: dict[str, Any], loud: bool = False) -> None:
        """Cook."""
        seen.append({"name": name, "loud": loud, **given})

    return app


def test_only_what_was_typed_is_given():
    seen: list[dict[str, Any]] = []
    typed = ["--water", "2", "--herb", "BASIL", "--extras", "salt,oil", "--loud"]
    assert CliRunner().invoke(app_of(seen), typed).exit_code == 0
    assert seen == [{"name": "soup", "loud": True, "litres": 2.0, "herb": "basil", "extras": ("salt", "oil")}]
    assert Soup(**{k: v for k, v in seen[0].items() if k not in ("name", "loud")}).servings == 4


def test_an_option_of_several_values_is_repeated():
    seen: list[dict[str, Any]] = []
    typed = ["--spices", "SALT", "--spices", "pepper", "--minutes", "3"]
    assert CliRunner().invoke(app_of(seen), typed).exit_code == 0
    assert seen == [{"name": "soup", "loud": False, "spices": ("salt", "pepper"), "minutes": (3,)}]


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["--spices", "salt", "--spices", "tar"], "tar is not one of salt, pepper"),
        (["--minutes", "3", "--minutes", "0"], "--minutes"),
        (["--water", "0"], "0 is not above 0"),
        (["--servings", "0"], "--servings"),
        (["--herb", "tar"], "tar is not one of thyme, basil"),
        (["--hidden", "1"], "No such option"),
    ],
)
def test_what_cannot_be_is_wrong_usage(typed, words):
    ran = CliRunner().invoke(app_of([]), typed)
    assert ran.exit_code == 2
    assert words in " ".join(ran.output.split())


def test_help_has_order_defaults_and_metavars():
    shown = CliRunner().invoke(app_of([]), ["--help"]).output
    assert "--water L" in shown
    assert "Water.  [default: 1.5]" in shown
    assert "thyme|basil" in shown
    assert "Of each course.  [default: 5]" in shown
    assert "[default: ]" not in shown
    assert shown.index("--name") < shown.index("--water") < shown.index("--loud")
