"""Options of a computation, each declared once: default, range and help stand on the dataclass that owns them.

The command line, its help, the checks and the docstring in Python are made from that declaration.
"""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from gaga.core.errors import InvalidInput

C = TypeVar("C", bound="Config")
_WIDTH = 112  # of a docstring's lines


@dataclass(frozen=True, kw_only=True)
class Option:
    """What is known of an option besides its type and default.

    Attributes:
        help: one or more whole sentences.
        metavar: what stands for a value in a usage line.
        above, below, at_least, at_most: the ends of its range, excluded and included.
        choices: the values that there are; none if empty.
        section: heading under which help lists it.
    """

    help: str
    metavar: str = ""
    above: float | None = None
    below: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    choices: tuple[str, ...] = ()
    section: str = ""

    @property
    def range(self) -> str:
        """The range in words, such as "above 0 and below 1"; empty if there is none."""
        ends = (("above", self.above), ("at least", self.at_least), ("below", self.below), ("at most", self.at_most))
        return " and ".join(f"{words} {end:g}" for words, end in ends if end is not None)

    def accepts(self, value: Any) -> bool:
        """Whether a value, or every one of several, is in the range and among the choices."""
        if isinstance(value, tuple):
            return all(self.accepts(part) for part in value)
        if self.choices:
            return value in self.choices
        return not self.range or (
            (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
            and (self.at_least is None or value >= self.at_least)
            and (self.at_most is None or value <= self.at_most)
        )


def option(default: Any, help: str, **about: Any) -> Any:
    """A field of a `Config`: its default, its help, and the other attributes of `Option`."""
    return field(default=default, metadata={"option": Option(help=help, **about)})


class Config:
    """Base of frozen dataclasses whose fields are options.

    Raises:
        InvalidInput: a value is out of its range or not among its choices.
    """

    def __init_subclass__(cls) -> None:
        declared = {name: found for name, value in vars(cls).items() if (found := _declared(value)) is not None}
        lines = [f"{name}: {_sentence(about)}" for name, about in declared.items()]
        wrapped = "\n".join(
            textwrap.fill(line, _WIDTH, initial_indent=" " * 8, subsequent_indent=" " * 12) for line in lines
        )
        raises = "\n\n    Raises:\n        InvalidInput: a value is out of its range or not among its choices."
        cls.__doc__ = f"{(cls.__doc__ or '').rstrip()}\n\n    Attributes:\n{wrapped}{raises}\n    "

    def __post_init__(self) -> None:
        for name, about in options_of(type(self)).items():
            value = getattr(self, name)
            if isinstance(value, int) and not is_64_bit(value):
                raise InvalidInput(f"{name} must fit into 64 bits", received=value)
            if value is None or about.accepts(value):
                continue
            if about.choices:
                known = ", ".join(about.choices)
                raise InvalidInput(f"unknown {name.replace('_', ' ')}", received=value, remedy=f"use one of {known}")
            raise InvalidInput(f"{name} must be {about.range}", received=value)


def is_64_bit(value: int) -> bool:
    """Whether numpy, torch and the system take this whole number."""
    return -(1 << 63) <= value < 1 << 63


def options_of(config: type) -> dict[str, Option]:
    """The options of a config class by the name of their field, in order."""
    return {f.name: f.metadata["option"] for f in fields(config) if "option" in f.metadata}


def split_off(config: type[C], options: Mapping[str, Any]) -> tuple[C, dict[str, Any]]:
    """A config made of those of the `options` that are its fields, and the others."""
    mine = options_of(config)
    own = {name: value for name, value in options.items() if name in mine}
    return config(**own), {name: value for name, value in options.items() if name not in mine}


def _declared(value: Any) -> Option | None:
    found = getattr(value, "metadata", {}).get("option") if type(value).__name__ == "Field" else None
    return found if isinstance(found, Option) else None


def _sentence(about: Option) -> str:
    more = (
        f" One of {', '.join(about.choices)}."
        if about.choices
        else f" {about.range.capitalize()}."
        if about.range
        else ""
    )
    return about.help + more
