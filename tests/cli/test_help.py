"""Every command explains itself with an example, and no option comes or goes unnoticed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gaga.cli import commands

FROZEN = Path(__file__).with_name("options.txt")


def leaves() -> Iterator[tuple[str, Any]]:
    """(words, command) of every command that does something."""
    for name in commands.COMMANDS:
        command = commands.load(name)
        if hasattr(command, "commands"):
            yield from ((f"{name} {inner}", leaf) for inner, leaf in command.commands.items())
        else:
            yield name, command


def option_lines() -> list[str]:
    """A line for each parameter of each command: its spellings, default, environment variable."""
    lines = []
    for words, command in leaves():
        for parameter in command.params:
            spelled = (
                "/".join([*parameter.opts, *parameter.secondary_opts])
                if parameter.param_type_name == "option"
                else parameter.metavar
            )
            default = "" if parameter.default is None or parameter.default is False else f" = {parameter.default}"
            variable = f" [{parameter.envvar}]" if parameter.envvar else ""
            lines.append(f"{words}: {spelled}{default}{variable}")
    return lines


LEAVES = [words for words, _ in leaves()]
GROUPS = sorted({words.split()[0] for words in LEAVES if " " in words})


@pytest.mark.parametrize("words", [*LEAVES, *GROUPS])
def test_help_has_an_example_that_starts_with_the_command(gaga, words):
    ran = gaga(*words.split(), "--help")
    assert (ran.code, ran.err) == (0, "")
    example = ran.out.split("Examples:\n")[1].splitlines()[0].strip()
    assert example.startswith(f"gaga {words}")


@pytest.mark.parametrize("words", LEAVES)
def test_commands_of_examples_exist_with_their_options(gaga, words):
    known = {name: {spelling for p in leaf.params for spelling in p.opts} for name, leaf in leaves()}
    text = gaga(*words.split(), "--help").out.split("Examples:\n")[1]
    for line in text.splitlines():
        typed = line.split()[1:]
        name = next(name for name in known if typed[: len(name.split())] == name.split())
        assert {word for word in typed if word.startswith("-") and word != "-"} <= known[name], line


@pytest.mark.parametrize("words", LEAVES)
def test_every_command_has_json(words):
    assert "--json" in {spelling for p in dict(leaves())[words].params for spelling in p.opts}


def test_the_table_of_commands_says_what_the_commands_say():
    for name, entry in commands.COMMANDS.items():
        assert entry.help.endswith(".")
        assert len(entry.help) < 110, name


def test_options_are_the_frozen_ones():
    """To change them: python tests/cli/test_help.py > tests/cli/options.txt, and tell users in CHANGELOG.md."""
    assert option_lines() == FROZEN.read_text(encoding="utf-8").splitlines()


if __name__ == "__main__":
    print(*option_lines(), sep="\n")
