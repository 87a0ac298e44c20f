"""Whole files of every kind that gaga reads, small, made once: what damages start from."""

import json
import shutil
import tempfile
from functools import cache
from pathlib import Path

from tests.fuzz.running import gaga

GOLDEN = Path(__file__).parent.parent / "golden"
SMALL = {"hidden": 8, "n_layers": 1}
_ATOMS = {
    "water": [("O", (0.0, 0.0, 0.119)), ("H", (0.0, 0.763, -0.477)), ("H", (0.0, -0.763, -0.477))],
    "ammonia": [("N", (0.0, 0.0, 0.1)), ("H", (0.0, 0.94, -0.27)), ("H", (0.81, -0.47, -0.27)),
                ("H", (-0.81, -0.47, -0.27))],
}  # fmt: skip
_TOML = b"""# a recipe
preset = "small"
hidden = 8
n_layers = 1
factors = [1.0, 4.0, 10.0]
learning_rate = 1e-4
lr_schedule = "cosine"
amsgrad = true
"""


@cache
def bases() -> Path:
    """The folder that has them all."""
    folder = Path(tempfile.mkdtemp(prefix="gaga-fuzz-"))
    (folder / "m.xyz").write_text(_xyz(12))
    (folder / "r.toml").write_bytes(_TOML)
    shutil.copytree(GOLDEN / "gaga_tiny", folder / "edm")
    gaga(folder, "data", "prepare", "m.xyz", "--out", "d.h5", "--json")
    gaga(folder, "variance", "--dataset", "m.xyz", "--store", "s.h5", "--name", "v")
    gaga(folder, "gaussianity", "--dataset", "m.xyz", "--store", "s.h5", "--name", "g", "--timesteps", "500:1000:500",
         "--n-null", "20", "--n-resamples", "2", "--threads", "1")  # fmt: skip
    gaga(folder, "evaluate", "m.xyz", "--store", "s.h5", "--name", "e", "--threads", "1")
    _sdf(folder)
    _model(folder)
    return folder


def _xyz(n: int) -> str:
    frames = []
    for i in range(n):
        name, atoms = list(_ATOMS.items())[i % 2]
        rows = "".join(f"{s} {x * (1 + i / 500):.5f} {y:.5f} {z + i / 300:.5f}\n" for s, (x, y, z) in atoms)
        frames.append(f"{len(atoms)}\nname={name} energy={i}.5\n{rows}")
    return "".join(frames)


def _sdf(folder: Path) -> None:
    from gaga.chem.io import Record, open_writer, read_molecules

    with open_writer(folder / "m.sdf") as writer:
        for molecule in read_molecules(folder / "m.xyz"):
            if isinstance(molecule, Record):
                writer.write(molecule)


def _model(folder: Path) -> None:
    """A network that was never trained, as a checkpoint and as the state of a run."""
    import torch

    from gaga.data import load_dataset
    from gaga.data.features import FeatureSpace
    from gaga.models.checkpoint import Checkpoint, save_checkpoint
    from gaga.models.network.egnn import EGNN
    from gaga.models.network.parameters import EGNNConfig
    from gaga.models.training.state import Counters, TrainingState
    from gaga.noise import make_schedule
    from gaga.stats.moments import estimate_moments

    data = load_dataset(folder / "m.xyz")
    space = FeatureSpace(data.vocabulary)
    torch.manual_seed(0)
    network = EGNN(EGNNConfig(features=space.columns - 3, **SMALL), "torch")  # type: ignore[arg-type]
    save_checkpoint(
        Checkpoint(
            network=network.config, space=space, schedule=make_schedule(), max_t=550, dataset="mine",
            moments=estimate_moments(data.molecules, space), weights=network.state_dict(), recipe=SMALL,
        ),
        folder / "model.safetensors",
    )  # fmt: skip
    state = TrainingState(Counters(3, 1.5, 0), {"seed": 0, "recipe": SMALL}, dict(network.state_dict()))
    state.save(folder / "state.safetensors")


def forged(header_changes: dict[str, object]) -> bytes:
    """The checkpoint with values of its header replaced, and a checksum that agrees."""
    from safetensors import safe_open
    from safetensors.torch import save

    from gaga.models.checkpoint import tensor_digest

    with safe_open(bases() / "model.safetensors", framework="pt") as file:
        header = json.loads(file.metadata()["gaga"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for path, value in header_changes.items():
        *parents, last = path.split("/")
        target = header
        for parent in parents:
            target = target[parent]
        target[last] = value
    text = json.dumps(header)
    return save(tensors, metadata={"gaga": text, "sha256": tensor_digest(text, tensors)})


@cache
def header_keys() -> list[str]:
    """Paths of every value in the checkpoint's header."""
    from safetensors import safe_open

    with safe_open(bases() / "model.safetensors", framework="pt") as file:
        header = json.loads(file.metadata()["gaga"])
    inner = [f"{name}/{key}" for name in ("network", "space", "moments") for key in header[name]]
    return [*header, *inner]
