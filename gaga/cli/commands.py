"""The table of commands, and the group that imports a command's module only when that command is typed."""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from gaga.cli.errors import UsageError, usage_error
from gaga.core.config import is_64_bit

ARGUMENTS, OTHER_OPTIONS = "Arguments", "Options"
HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of `gaga --help`: the module whose `app` is the command, its help in a line, its panel.

    `ranks` says that several processes may share the work (torchrun).
    """

    module: str
    help: str
    panel: str
    ranks: bool = False


START, PIPELINE, MODEL = "Start here", "Find T*", "Train and sample"
RESULTS, SETUP = "Molecules and results", "Data and this machine"

COMMANDS: dict[str, Entry] = {
    "quickstart": Entry(
        module="gaga.cli.quickstart",
        help="The whole way on the real QM9 in minutes: statistics, T*, molecules, their quality.",
        panel=START,
    ),
    "variance": Entry(
        module="gaga.cli.variance",
        help="Variance of the data in every convention, by block and by number of atoms.",
        panel=PIPELINE,
    ),
    "gaussianity": Entry(
        module="gaga.cli.gaussianity",
        help="Noise molecules step by step and test how Gaussian they have become.",
        panel=PIPELINE,
    ),
    "tstar": Entry(
        module="gaga.cli.tstar",
        help="T*, the step from which noised molecules are Gaussian enough.",
        panel=PIPELINE,
    ),
    "price": Entry(
        module="gaga.cli.price",
        help="What starting at T* costs, in nats per molecule, from the data alone; T* at a price.",
        panel=PIPELINE,
    ),
    "modalities": Entry(
        module="gaga.cli.modalities",
        help="Do molecules become Gaussian before images? QM9 and images compared in ways that are fair.",
        panel=PIPELINE,
    ),
    "train": Entry(
        module="gaga.cli.train",
        help="Train the network on steps 0 to T*; interruptible, resumable.",
        panel=MODEL,
        ranks=True,
    ),
    "train-property": Entry(
        module="gaga.cli.train_property",
        help="Train a predictor of a property, by which gaga evaluate judges molecules.",
        panel=MODEL,
    ),
    "sample": Entry(
        module="gaga.cli.sample",
        help="Draw molecules from a model into an SDF, XYZ or SMILES file.",
        panel=MODEL,
        ranks=True,
    ),
    "truncation": Entry(
        module="gaga.cli.truncation",
        help="What starting at T* costs, in nats per molecule, from a trained model's own errors.",
        panel=MODEL,
    ),
    "evaluate": Entry(
        module="gaga.cli.evaluate",
        help="Stability, validity, uniqueness, novelty and geometry of molecules, and of real data.",
        panel=RESULTS,
    ),
    "view": Entry(
        module="gaga.cli.view",
        help="Show molecules: one page with table, drawings and 3D models for any browser, or a PNG or SVG.",
        panel=RESULTS,
    ),
    "store": Entry(
        module="gaga.cli.store",
        help="List, show, export or delete stored results.",
        panel=RESULTS,
    ),
    "data": Entry(
        module="gaga.cli.data",
        help="List, prepare or describe data sets.",
        panel=SETUP,
    ),
    "import-edm": Entry(
        module="gaga.cli.import_edm",
        help="Turn a folder of EDM's code into a gaga checkpoint, without executing its pickle.",
        panel=SETUP,
    ),
    "benchmark": Entry(
        module="gaga.cli.benchmark",
        help="How fast training, the network and sampling are here, kernel by kernel, and whether all are right.",
        panel=SETUP,
    ),
    "doctor": Entry(
        module="gaga.cli.doctor",
        help="Check device, versions, store, cache and data sets; say how to mend what is missing.",
        panel=SETUP,
    ),
}


def load(name: str) -> Any:
    """The command of this name, its module imported."""
    return typer.main.get_command(import_module(COMMANDS[name].module).app)


class LazyGroup(TyperGroup):
    """The root group: its help is made of the table, and only a command that runs is imported."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A stand-in that knows its help and no more."""
        return TyperCommand(cmd_name, help=COMMANDS[cmd_name].help) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The real command for the words typed."""
        if not args[0].startswith("-") and args[0] not in COMMANDS and not ctx.resilient_parsing:
            raise unknown_command(args[0], COMMANDS, ctx)
        name, stand_in, rest = super().resolve_command(ctx, args)
        if stand_in and not ctx.resilient_parsing and not COMMANDS[args[0]].ranks:
            from gaga.cli.torchrun import refuse_several_processes

            refuse_several_processes(args[0])
        return name, stand_in and load(args[0]), rest

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """No words at all ask for help."""
        return super().parse_args(ctx, args or ["--help"])

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """One section for each panel of the table."""
        longest = max(map(len, COMMANDS))
        for panel in dict.fromkeys(entry.panel for entry in COMMANDS.values()):
            rows = [(n.ljust(longest), e.help) for n, e in COMMANDS.items() if e.panel == panel]
            with formatter.section(panel):
                formatter.write_dl(rows)


class SubGroup(TyperGroup):
    """A command with commands of its own, such as `gaga store`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """No words at all ask for help."""
        return super().parse_args(ctx, args or ["--help"])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command for the words typed."""
        if not args[0].startswith("-") and args[0] not in self.commands and not ctx.resilient_parsing:
            raise unknown_command(args[0], self.commands, ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Each command with the whole first sentence of its help."""
        rows = [(name, command.get_short_help_str(limit=200)) for name, command in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class Command(TyperCommand):
    """A command whose help groups options by their `rich_help_panel`, and whose whole numbers fit into 64 bits."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The words typed; an option of the published code is answered by its name here."""
        try:
            return super().parse_args(ctx, args)
        except UsageError as error:
            from gaga.cli.paper_flags import called_here

            flag = getattr(error, "option_name", None)
            if flag is None or (here := called_here(ctx.info_name, flag)) is None:
                raise
            raise usage_error(f"no such option: {flag}; here it is {here} (docs/FROM_THE_PAPER.md)", ctx) from error

    def invoke(self, ctx: Any) -> Any:
        """Run the command, unless a number is larger than any library takes."""
        for parameter in self.get_params(ctx):
            given = ctx.params.get(parameter.name)
            for value in given if isinstance(given, list | tuple) else [given]:
                if isinstance(value, int) and not is_64_bit(value):
                    raise usage_error(f"invalid value for {parameter.opts[0]}: {value} is beyond 64 bits", ctx)
        return super().invoke(ctx)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments, the command's own options, then one section for each panel."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                sections.setdefault(_panel(parameter), []).append(record)
        first = [title for title in (ARGUMENTS, OTHER_OPTIONS) if title in sections]
        for title in dict.fromkeys([*first, *sections]):
            with formatter.section(title):
                formatter.write_dl(sections[title])


def _panel(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return ARGUMENTS
    return getattr(parameter, "rich_help_panel", None) or OTHER_OPTIONS


def unknown_command(typed: str, known: Iterable[str], ctx: Any) -> Exception:
    """The usage error for a word that is no command, with the nearest that are."""
    from difflib import get_close_matches

    near = get_close_matches(typed, list(known), cutoff=0.5)
    choice = f"did you mean {' or '.join(near)}?" if near else f"choose from {', '.join(known)}"
    return usage_error(f"no such command: {typed}; {choice}", ctx)


def examples(*lines: str) -> str:
    """The end of a command's help: what to type, kept line by line."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def new_app(*, group: bool = False) -> typer.Typer:
    """An app of one command, or with `group` of several, as every command module holds one."""
    return typer.Typer(
        cls=SubGroup if group else None,
        context_settings=HELP_OPTIONS,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
