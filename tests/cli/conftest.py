"""The command line as a user has it, in this process: words in; exit code, stdout and stderr out."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gaga.cli.main import main
from tests.standins import posebusters as posebusters
from tests.standins import xtb as xtb


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON object of stdout; fails where there is more, or a number that JSON does not have."""
        assert self.code == 0, self.err
        return json.loads(self.out, parse_constant=lambda constant: pytest.fail(f"{constant} in JSON"))


Run = Callable[..., Ran]


@pytest.fixture
def gaga(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run `gaga` in an empty folder, without the user's environment variables."""
    monkeypatch.chdir(tmp_path)
    for name in ("GAGA_STORE", "GAGA_CACHE", "GAGA_DEBUG", "GAGA_PRODUCTS", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)

    def run(*words: object) -> Ran:
        capsys.readouterr()
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


WATER = [("O", (0.0, 0.0, 0.119)), ("H", (0.0, 0.763, -0.477)), ("H", (0.0, -0.763, -0.477))]
METHANE = [
    ("C", (0.0, 0.0, 0.0)),
    ("H", (0.629, 0.629, 0.629)),
    ("H", (-0.629, -0.629, 0.629)),
    ("H", (-0.629, 0.629, -0.629)),
    ("H", (0.629, -0.629, -0.629)),
]


@pytest.fixture
def xyz(tmp_path: Path) -> Path:
    """Sixty molecules, waters and methanes, each stretched a little differently, as a multi-frame XYZ."""
    frames = []
    for i in range(60):
        atoms = WATER if i % 2 else METHANE
        scale = 1.0 + 0.001 * i
        lines = [f"{s} {x * scale:.5f} {y * scale:.5f} {z * scale:.5f}" for s, (x, y, z) in atoms]
        frames.append("\n".join([str(len(atoms)), f"molecule {i}", *lines]))
    path = tmp_path / "tiny.xyz"
    path.write_text("\n".join(frames) + "\n")
    return path
