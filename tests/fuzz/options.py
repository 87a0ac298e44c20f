"""Every command with option values that nobody would type."""

import shutil
from functools import cache
from pathlib import Path

from hypothesis import strategies as st

from gaga.cli.commands import load
from tests.fuzz.bases import bases
from tests.fuzz.running import gaga
from tests.fuzz.strategies import WORDS

# Each command with what makes it short. Options are those that it has.
_COMMANDS = {
    "variance": "--dataset m.xyz",
    "gaussianity": "--dataset m.xyz --timesteps 1000 --n-null 5 --n-resamples 2 --threads 1",
    "tstar": "g --store s.h5",
    "sample": "--n 1 --method dpm++ --steps 2 --checkpoint model.safetensors --out x.xyz --device cpu --threads 1",
    "evaluate": "m.xyz --threads 1",
    "train": "--dataset m.xyz --max-t 550 --hidden 8 --layers 1 --dry-run --device cpu --threads 1",
    "store list": "--store s.h5",
    "store show": "variance/v --store s.h5",
    "store export": "variance/v --store s.h5",
    "store delete": "variance/v --store t.h5",
    "data list": "",
    "data info": "m.xyz",
    "data prepare": "m.xyz --out y.h5",
    "import-edm": "edm",
    # Their work is long: they end at a last word that is wrong.
    "benchmark": "--no-such-option",
    "quickstart": "--no-such-option",
    "doctor": "--no-such-option",
}
# Where a large number is right and only much work, values are those that are wrong.
_MUCH_WORK = frozenset(
    {"--n", "--repeats", "--trajectory", "--n-null", "--n-resamples", "--frames", "--dataset", "--threads"}
    | {"--hidden", "--layers", "--inv-sublayers", "--diffusion-steps", "--batch-size", "--epochs", "--steps"}
    | {"--validate-every", "--sample-every", "--stability-samples"}
)
_WRONG = st.sampled_from(["-1", "0", "nan", "inf", "", "x", "1.5", "-99999999999999999999", "é", "1e30"])


@cache
def _options(command: str) -> dict[str, st.SearchStrategy[str]]:
    """Options with a value of a command."""
    name, *rest = command.split()
    found = load(name)
    found = found.commands[rest[0]] if rest else found
    names = [p.opts[0] for p in found.params if p.param_type_name == "option" and not getattr(p, "is_flag", False)]
    return {option: _WRONG if option in _MUCH_WORK else WORDS for option in names}


@st.composite
def _cases(draw: st.DrawFn) -> list[str]:
    """A command, what makes it short, and one or two options that come last and so win."""
    command = draw(st.sampled_from(sorted(_COMMANDS) + 2 * [*_COMMANDS][:6]))
    options = _options(command)
    words = [*command.split(), *_COMMANDS[command].split()]
    for option in draw(st.lists(st.sampled_from(sorted(options)), min_size=1, max_size=2, unique=True)):
        words += [option, draw(options[option])]
    if draw(st.sampled_from([False] * 4 + [True])):
        words.append(draw(st.sampled_from(["--no-such-option", "surplus", "--", "-x", "--seed"])))
    return [*words, "--json"] if draw(st.booleans()) else words


OPTION_CASES = _cases()


def check_options(words: list[str], folder: Path) -> None:
    """The command ends in an answer, and files that it only reads are as before."""
    for name in ("m.xyz", "model.safetensors", "d.h5"):
        (folder / name).symlink_to(bases() / name)
    shutil.copytree(bases() / "edm", folder / "edm")
    for name in ("s.h5", "t.h5"):
        shutil.copy(bases() / "s.h5", folder / name)
    gaga(folder, *words)
    assert {path: path.read_bytes() for path in _read_only()} == _contents()


def _read_only() -> list[Path]:
    return [bases() / name for name in ("m.xyz", "model.safetensors", "d.h5", "s.h5")]


@cache
def _contents() -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in _read_only()}
