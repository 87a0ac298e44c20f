"""Commands whose options are the fields of a config dataclass: signature, help and ranges are made from it."""

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, fields
from functools import wraps
from types import UnionType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer

from gaga.cli.errors import with_options
from gaga.core.config import Config, Option, options_of


def takes(
    config: type[Config],
    *,
    parsers: Mapping[str, Callable[[str], Any]] | None = None,
    spelled: Mapping[str, str | tuple[str, ...]] | None = None,
    defaults: Collection[str] = (),
    show_defaults: bool = True,
    without: Collection[str] = (),
    among: Mapping[str, str] | None = None,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Put the options of `config` in the place of a command's parameter `given`.

    The command receives `given`, a mapping of the options that were typed; `config(**given)` has the others at their
    defaults.

    Args:
        config: the dataclass that owns the options.
        parsers: for options that are written as text, such as lists: what makes a value of it.
        spelled: options whose name on the command line is not that of their field.
        defaults: fields that `given` always has, typed or not.
        show_defaults: whether help shows the dataclass's defaults; not if others may be in their place.
        without: fields that the command line does not have, or declares itself.
        among: parameters of the command that are listed among the options, by the option that comes after them.
    """
    parsers, spelled, among = parsers or {}, spelled or {}, among or {}
    names = [name for name in options_of(config) if name not in without]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        before = inspect.signature(command, eval_str=True)
        parameters: list[inspect.Parameter] = []
        for parameter in before.parameters.values():
            if parameter.name == "given":
                for name in names:
                    listed = [before.parameters[own] for own, after in among.items() if after == name]
                    parameters += [own.replace(kind=inspect.Parameter.KEYWORD_ONLY) for own in listed]
                    parameters.append(
                        _parameter(
                            config, name, parsers, spelled.get(name), has_default=name in defaults, shows=show_defaults
                        )
                    )
            elif parameter.name not in among:
                parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

        @wraps(command)
        def run(**typed: Any) -> None:
            chosen = {name: value for name in names if (value := typed.pop(name)) is not None}
            given = {
                name: parsers[name](value) if name in parsers else tuple(value) if isinstance(value, list) else value
                for name, value in chosen.items()
            }
            command(**typed, given=given)

        run.__signature__ = before.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def _parameter(
    config: type[Config],
    name: str,
    parsers: Mapping[str, Callable[[str], Any]],
    flags: str | tuple[str, ...] | None,
    *,
    has_default: bool,
    shows: bool,
) -> inspect.Parameter:
    about = options_of(config)[name]
    kind = str if name in parsers else _plain(get_type_hints(config)[name])
    default = next(f.default for f in fields(config) if f.name == name)  # type: ignore[arg-type]
    shown = (
        ""
        if default in (None, MISSING, ()) or default is False or name in parsers or has_default or not shows
        else f"  [default: {_shown(default)}]"
    )
    made = typer.Option(
        *((flags,) if isinstance(flags, str) else flags or (f"--{name.replace('_', '-')}",)),
        metavar=about.metavar or "|".join(about.choices) or None,
        help=f"{with_options(about.help)}{shown}",
        rich_help_panel=about.section or None,
        show_default=has_default,
        callback=None if name in parsers else _checked(about),
        **_ends(about, kind),
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default if has_default else None,
        annotation=Annotated[kind if has_default else kind | None, made],
    )


def _plain(kind: Any) -> Any:
    """The type of an option that may be None, is one of several texts, or may be repeated."""
    if get_origin(kind) is Literal:
        return str
    if get_origin(kind) is tuple and get_args(kind)[-1] is Ellipsis:
        return list[get_args(kind)[0]]  # type: ignore[misc]
    if isinstance(kind, UnionType):
        return next(_plain(part) for part in get_args(kind) if part is not type(None))
    return kind


def _ends(about: Option, kind: Any) -> dict[str, Any]:
    """The included ends of a range of whole numbers, which Typer shows and checks."""
    return {"min": about.at_least, "max": about.at_most} if kind in (int, list[int]) else {}


def _shown(default: object) -> str:
    if isinstance(default, tuple):
        return " ".join(map(_shown, default))
    return f"{default:g}" if isinstance(default, float) else str(default)


def _checked(about: Option) -> Callable[[Any], Any]:
    """A callback that lets through what the option accepts; of choices, in any case of letters."""

    def check(value: Any) -> Any:
        if isinstance(value, list):
            return [check(part) for part in value]
        value = value.lower() if about.choices and value is not None else value
        if value is None or about.accepts(value):
            return value
        expected = f"one of {', '.join(about.choices)}" if about.choices else about.range
        raise typer.BadParameter(f"{_shown(value)} is not {expected}.")

    return check
