"""Errors as the command line words them: wrong usage, and the library's arguments as options."""

import re
from typing import Any

import typer


def usage_error(message: str, ctx: Any = None) -> Exception:
    """Wrong usage of the command line, which exits with 2; `message` is shown as it is."""
    error: Exception = UsageError(message, ctx)
    return error


# typer shows click's usage errors but, depending on its release, not under one importable name.
UsageError: Any = typer.BadParameter.__base__


# A library error names arguments, as `resume=True`, `device=cpu` or `store`. A command in backticks has spaces.
_ARGUMENT = re.compile(r"`([a-z][a-z0-9_]*)(?:=([^`]*))?`")
# Options that are not spelled as their argument.
_SPELLED = {
    "learning_rate": "--lr",
    "n_layers": "--layers",
    "source": "--from",
    "centred_features=False": "--uncentred-features",
}


def with_options(text: str) -> str:
    """The text with each argument in backticks as the option that a user types: `resume=True` becomes --resume."""

    def option(match: re.Match[str]) -> str:
        name, value = match[1], match[2]
        if (flag := _SPELLED.get(f"{name}={value}")) is not None:
            return flag
        spelled = _SPELLED.get(name, f"--{name.replace('_', '-')}")
        return spelled if value in (None, "True") else f"{spelled} {value}"

    return _ARGUMENT.sub(option, text)
