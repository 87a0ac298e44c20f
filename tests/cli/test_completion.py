"""Shells complete names of commands and options, and load nothing heavy for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_WATCHED = """
import sys
from gaga.cli.main import main
code = main(sys.argv[1:])
loaded = {"torch", "numpy", "rdkit", "scipy", "h5py"} & set(sys.modules)
sys.exit(f"loaded {loaded}" if loaded else code)
"""


def asked(variables, *words):
    """stdout of a `gaga` with these variables, which loads nothing heavy."""
    ran = subprocess.run(
        [sys.executable, "-c", _WATCHED, *words],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | variables, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stderr
    return ran.stdout


@pytest.mark.parametrize(
    ("line", "found"),
    [("gaga ev", ["evaluate"]), ("gaga train --pre", ["--preset", "--prediction", "--precision"]),
     ("gaga store sh", ["show"]), ("gaga nonsense --p", [""]), ("gaga store nonsense --p", [""])],
)  # fmt: skip
def test_bash(line, found):
    words = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" ")), "_GAGA_COMPLETE": "complete_bash"}
    assert asked(words).rstrip("\n").split("\n") == found


@pytest.mark.parametrize(("shell", "more"), [("zsh", {}), ("fish", {"_TYPER_COMPLETE_FISH_ACTION": "get-args"})])
def test_zsh_and_fish_have_the_help_too(shell, more):
    told = asked({"_TYPER_COMPLETE_ARGS": "gaga tr", "_GAGA_COMPLETE": f"complete_{shell}"} | more)
    for text in ("train", "Train the network on steps 0 to T", "truncation"):
        assert text in told


@pytest.mark.parametrize(("shell", "file"), [("bash", ".bashrc"), ("zsh", ".zshrc"), ("fish", None)])
def test_it_is_shown_and_installed(tmp_path, shell, file):
    chosen = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1", "HOME": str(tmp_path)}
    assert f"_GAGA_COMPLETE=complete_{shell}" in asked(chosen, "--show-completion", shell)
    assert f"{shell} completion installed" in asked(chosen, "--install-completion", shell)
    assert any(path.is_file() for path in tmp_path.rglob("*gaga*"))
    assert file is None or (tmp_path / file).is_file()
