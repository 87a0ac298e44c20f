"""Stand-ins of what is optional: the program xtb and the package posebusters. Both are found by other processes too."""

import os
import stat
import sys

import pytest

XTB = """#!/bin/sh
n=$(head -1 start.xyz)
frame() { echo "$n"; echo " energy: $1 gnorm: 0.1 xtb: 6.5.1"; tail -n +3 start.xyz; }
frame "-5.0" > xtbopt.log
frame "-5.0$n" > xtbopt.xyz
"""

POSEBUSTERS = """
class _Column:
    def __init__(self, value):
        self.iloc = [value]

class _Table(dict):
    @property
    def columns(self):
        return list(self)

class PoseBusters:
    def __init__(self, config="mol"):
        self.config = {"modules": [{"function": "energy_ratio"}]} if config == "mol" else config

    def bust(self, mol_pred):
        [module] = self.config["modules"]
        assert module["parameters"]["num_threads"] == 1
        n_atoms = mol_pred[0].GetNumAtoms()
        return _Table(
            {"file": _Column(0), "bond_lengths": _Column(True), "small": _Column(n_atoms < 4),
             "internal_energy": _Column(float("nan") if n_atoms == 3 else True)}
        )
"""


@pytest.fixture
def xtb(tmp_path, monkeypatch):
    """A program xtb whose relaxation moves nothing; the energy it gains grows with the number of atoms, 5 H for 5."""
    if sys.platform == "win32":
        pytest.skip("the stand-in is a shell script")
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "xtb"
    program.write_text(XTB)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def posebusters(tmp_path, monkeypatch):
    """A package posebusters with a check that passes, one of size, and one that cannot be made for three atoms."""
    folder = tmp_path / "packages"
    (folder / "posebusters").mkdir(parents=True)
    (folder / "posebusters" / "__init__.py").write_text(POSEBUSTERS)
    (folder / "posebusters-9.9.dist-info").mkdir()
    (folder / "posebusters-9.9.dist-info" / "METADATA").write_text("Name: posebusters\nVersion: 9.9\n")
    monkeypatch.syspath_prepend(folder)
    from gaga.chem.poses import _checker

    _checker.cache_clear()
    yield
    _checker.cache_clear()
    sys.modules.pop("posebusters", None)
