"""The arrows between modules: no circle, imports inside functions counted, and no option named in the library."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import numpy as np
import pytest

from gaga.noise import make_schedule

ROOT = Path(__file__).parents[1]
OPTION = re.compile(r"(?<![\w-])--[a-z{]")
# Programs with options of their own, and commands that are typed as a whole.
FOREIGN = re.compile(r"^--[\w-]+(=\d+)?$|torchrun --nproc|gaga [a-z-]+ ")


def modules() -> dict[str, ast.Module]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted((ROOT / "gaga").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found[name] = ast.parse(path.read_text())
    return found


def imports(name: str, tree: ast.AST, known: set[str]) -> Iterator[str]:
    """The package's modules that a module imports when it runs, wherever in it."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        named: set[str] = set()
        if isinstance(child, ast.ImportFrom) and child.module:
            within = {f"{child.module}.{alias.name}" for alias in child.names}
            named = within & known or {child.module}
        elif isinstance(child, ast.Import):
            named = {alias.name for alias in child.names}
        yield from (named & known) - {name}
        yield from imports(name, child, known)


def circle(edges: dict[str, set[str]]) -> list[str]:
    """Modules that import one another, or lie between two such: what is left when ends and beginnings are removed."""
    left = dict(edges)
    for _ in edges:
        imported = set().union(*left.values())
        left = {name: targets for name, targets in left.items() if targets & left.keys() and name in imported}
    return sorted(left)


def strings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of each string that is no docstring; an f-string is one text."""
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Expr):
            skipped.add(id(node.value))
        elif isinstance(node, ast.JoinedStr):
            skipped.update(id(part) for part in node.values)
            yield (
                node.lineno,
                "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values),
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def test_no_circle():
    trees = modules()
    assert not circle({name: set(imports(name, tree, set(trees))) for name, tree in trees.items()})


def test_a_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b", "e"}, "d": set(), "e": set()}) == ["b", "c"]


def test_the_library_speaks_of_arguments():
    found = [
        f"{name}:{line}: {text}"
        for name, tree in modules().items()
        if not name.startswith("gaga.cli")
        for line, text in strings(tree)
        if OPTION.search(text) and not FOREIGN.search(text)
    ]
    assert not found


def test_an_option_is_found():
    source = '"""Doc."""\ndef f(x):\n    """Doc --x."""\n    raise E(f"use --{x}, or --store")'
    (found,) = [text for _, text in strings(ast.parse(source))]
    assert OPTION.search(found)
    assert not FOREIGN.search(found)


def test_shapes_are_checked_as_the_code_runs():
    with pytest.raises(jaxtyping.TypeCheckError):
        make_schedule().gamma_at(np.zeros((2, 2)))
