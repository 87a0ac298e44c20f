"""Rules of the house that no linter knows: files are written whole, and nothing that is read is executed.

An exemption says why in its line: `# not atomic: <why>`.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOM = Path(__file__).parents[1] / "gaga"
EXEMPT = "# not atomic: "

_WRITERS = {
    "write_text", "write_bytes", "savefig", "save", "savez", "savez_compressed", "savetxt", "save_file", "tofile",
    "mkstemp", "TemporaryFile", "NamedTemporaryFile", "copy", "copyfile", "copy2", "copytree", "move", "extractall",
    "ZipFile", "to_csv",
}  # fmt: skip
_MODULES = {"np", "numpy", "torch", "shutil", "tempfile", "plt", "zipfile"}  # whose `save`, `copy`, ... write files
_AMBIGUOUS = {"save", "copy", "move"}  # methods of other things too
_READ_ONLY = {"r", "r|", "rb", "rt", "r|*", "r:*", "r:bz2", "r:gz"}


def writes(source: str) -> Iterator[tuple[int, str]]:
    """Line and name of each call that may write a file outside the block of an `atomic_write` or `new_hdf5`."""
    yield from _writes(ast.parse(source), inside=False)


def _writes(node: ast.AST, *, inside: bool) -> Iterator[tuple[int, str]]:
    if isinstance(node, ast.Call) and not inside and (name := _writer(node)):
        yield node.lineno, name
    inside = inside or (isinstance(node, ast.With) and any(_is_atomic(item.context_expr) for item in node.items))
    for child in ast.iter_child_nodes(node):
        yield from _writes(child, inside=inside)


def _is_atomic(expression: ast.expr) -> bool:
    return isinstance(expression, ast.Call) and _name(expression) == "atomic_write"


def _writer(call: ast.Call) -> str:
    """The name of a function that may write a file, called so; else empty."""
    name, owner = _name(call), _owner(call)
    if name in ("open", "File", "ZipFile") or (name == "GzipFile" and owner == "gzip"):
        return "" if _mode(call, name, owner) in _READ_ONLY else name
    return name if name in _WRITERS and (name not in _AMBIGUOUS or owner in _MODULES) else ""


def _mode(call: ast.Call, name: str, owner: str) -> str:
    """The mode of a file that is opened; `?` where it is computed."""
    if name == "GzipFile":
        return "r" if not any(word.arg == "mode" for word in call.keywords) else "?"
    if owner == "os":
        return "r" if "O_RDONLY" in ast.dump(call) else "?"
    named = [word.value for word in call.keywords if word.arg == "mode"]
    place = 0 if name == "open" and isinstance(call.func, ast.Attribute) and owner not in ("gzip", "tarfile") else 1
    given = named or list(call.args[place : place + 1])
    if not given:
        return "r"
    return str(given[0].value) if isinstance(given[0], ast.Constant) else "?"


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _owner(call: ast.Call) -> str:
    """The name that stands before the dot, if it is one name."""
    return getattr(call.func.value, "id", "") if isinstance(call.func, ast.Attribute) else ""


def files() -> list[Path]:
    """Every module of the package."""
    return sorted(ROOM.rglob("*.py"))


def test_files_are_written_whole_or_say_why_not():
    found = []
    for path in files():
        lines = path.read_text(encoding="utf-8").splitlines()
        found += [
            f"{path.relative_to(ROOM)}:{number}: {name}"
            for number, name in writes("\n".join(lines))
            if not _reason(lines, number)
        ]
    assert not found, "written without atomic_write, and without saying why:\n" + "\n".join(found)


def _reason(lines: list[str], number: int) -> str:
    """What follows `# not atomic: ` in a line or the one above."""
    near = [line.partition(EXEMPT)[2].strip() for line in lines[max(0, number - 2) : number]]
    return next((reason for reason in near if reason), "")


@pytest.mark.parametrize(
    "line",
    [
        "open(path, 'w')", "open(path, mode='ab')", "path.open('x')", "path.open(mode)", "path.write_text(text)",
        "path.write_bytes(data)", "np.save(path, a)", "np.savez_compressed(path, a=a)", "torch.save(a, path)",
        "h5py.File(path, 'a')", "h5py.File(path, 'w')", "save_file(tensors, path)", "figure.savefig(path)",
        "gzip.open(path, 'wt')", "shutil.copy(a, b)", "tempfile.mkstemp()", "zipfile.ZipFile(path, 'w')",
        "os.open(path, os.O_RDWR | os.O_CREAT)", "archive.extractall(folder)",
    ],
)  # fmt: skip
def test_a_write_is_noticed(line):
    assert list(writes(f"def f():\n    {line}\n"))
    assert not list(writes(f"with atomic_write(path) as partial, other:\n    {line}\n"))


@pytest.mark.parametrize(
    "line",
    [
        "open(path)", "path.open('rb')", "h5py.File(path, 'r', locking=False)", "tensor.copy()", "state.save(path)",
        "path.read_text()", "gzip.open(path, 'rt')", "text.replace('a', 'b')", "tarfile.open(path, 'r|*')",
    ],
)  # fmt: skip
def test_what_reads_is_no_write(line):
    assert not list(writes(line))


def loads(source: str) -> Iterator[tuple[int, str]]:
    """Line and name of each call that may execute what it reads."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            words = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
            owner, name = _owner(node), _name(node)
            if owner == "torch" and name == "load" and words.get("weights_only") is not True:
                yield node.lineno, "torch.load without weights_only=True"
            if owner in ("np", "numpy") and name in ("load", "fromfile") and words.get("allow_pickle", False):
                yield node.lineno, "np.load with allow_pickle"
            if owner in ("pickle", "joblib", "dill", "cloudpickle", "marshal", "shelve") and name in ("load", "loads"):
                yield node.lineno, f"{owner}.{name}"


def test_nothing_that_is_read_is_executed():
    found = [
        f"{path.relative_to(ROOM)}:{number}: {name}"
        for path in files()
        for number, name in loads(path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(p)", "torch.load(p, weights_only=False)", "np.load(p, allow_pickle=True)", "pickle.load(f)",
        "pickle.loads(b)", "joblib.load(p)",
    ],
)  # fmt: skip
def test_an_unsafe_load_is_noticed(line):
    assert list(loads(line))


@pytest.mark.parametrize("line", ["torch.load(p, weights_only=True)", "np.load(p)", "json.load(f)"])
def test_a_safe_load_is_none(line):
    assert not list(loads(line))


@pytest.mark.parametrize("code", ["BLE001", "S101", "S102", "S301", "S302", "S307", "PLW0603"])
def test_exemptions_from_the_linter_say_why(code):
    """`# noqa: CODE - why` in place; pyproject.toml has the rules."""
    for path in files():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if f"noqa: {code}" in line:
                reason = line.partition(f"noqa: {code}")[2].lstrip(" ,ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
                assert reason.startswith("- "), f"{path.relative_to(ROOM)}:{number} gives no reason"
                assert len(reason) > 12, f"{path.relative_to(ROOM)}:{number} gives no reason"
