"""No module of gaga can execute a pickle: none imports an unpickler or asks a library for one."""

import ast
from pathlib import Path

import numpy as np
import pytest

MODULES = sorted(Path("gaga").rglob("*.py"))
UNPICKLERS = {"pickle", "cPickle", "_pickle", "shelve", "marshal", "joblib", "dill", "cloudpickle"}


def _imported(tree: ast.AST) -> set[str]:
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return {name.partition(".")[0] for name in names}


def _dangerous(node: ast.AST) -> bool:
    """A call of torch.load, eval or exec, or one that allows numpy's pickles."""
    if not isinstance(node, ast.Call):
        return False
    called = ast.unparse(node.func)
    allows = any(keyword.arg == "allow_pickle" and ast.unparse(keyword.value) != "False" for keyword in node.keywords)
    return allows or called in ("torch.load", "eval", "exec", "torch.jit.load", "np.fromfile", "yaml.load")


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_no_module_unpickles(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not _imported(tree) & UNPICKLERS
    assert not [ast.unparse(node) for node in ast.walk(tree) if _dangerous(node)]


def test_the_check_sees_what_it_looks_for():
    hostile = "import pickle\nimport numpy as np\nnp.load(x, allow_pickle=True)\ntorch.load(y)\n"
    tree = ast.parse(hostile)
    assert _imported(tree) & UNPICKLERS
    assert sum(map(_dangerous, ast.walk(tree))) == 2


def test_numpy_by_itself_refuses_objects(tmp_path):
    """gaga's only .npz files are those that ship with it, read as numpy reads by default."""
    np.save(tmp_path / "x.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        np.load(tmp_path / "x.npy")
