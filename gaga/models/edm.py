"""EDM's own model folders, read without executing their pickle.

A folder holds `generative_model_ema.npy`, a torch state dict, and `args.pickle`, an argparse.Namespace.
"""

import argparse
import io
import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gaga.base.errors import InvalidInput, NotFound
from gaga.chem.elements import GEOM_VOCABULARY, QM9_VOCABULARY
from gaga.data.features import FeatureSpace
from gaga.models.checkpoint import Checkpoint, file_digest
from gaga.models.diffusion import Diffusion
from gaga.models.egnn import EGNN, EGNNConfig
from gaga.noise import Moments, Schedule, make_schedule

WEIGHTS, ARGUMENTS = "generative_model_ema.npy", "args.pickle"
_VOCABULARIES = {"qm9": QM9_VOCABULARY, "qm9_second_half": QM9_VOCABULARY, "geom": GEOM_VOCABULARY}
_DEFAULTS: dict[str, Any] = {
    "inv_sublayers": 1, "attention": True, "tanh": True, "norm_constant": 1, "normalization_factor": 1,
    "aggregation_method": "sum", "condition_time": True, "include_charges": True, "sin_embedding": False,
    "normalize_factors": [1, 4, 10], "diffusion_noise_schedule": "polynomial_2", "diffusion_noise_precision": 1e-5,
    "diffusion_steps": 1000, "context_node_nf": 0, "remove_h": False, "model": "egnn_dynamics",
}  # fmt: skip


class _PlainUnpickler(pickle.Unpickler):
    """Builds argparse.Namespace of plain values and nothing else: no other global is ever looked up."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("argparse", "Namespace"):
            return argparse.Namespace
        raise InvalidInput(
            f"{ARGUMENTS} asks for {module}.{name}, which no EDM model needs",
            remedy="the file may be hostile; it was not executed",
        )


def is_edm_folder(path: Path) -> bool:
    """Whether this looks like a folder that EDM's training wrote."""
    return (path / WEIGHTS).is_file() and (path / ARGUMENTS).is_file()


def load_edm(
    folder: Path,
    *,
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
    kernel: str = "auto",
    precision: str = "float32",
) -> tuple[Diffusion, dict[str, Any]]:
    """The model of an EDM folder, and its arguments as a plain dict.

    Models without charges were trained by GAGA's code with centred features; EDM's own have charges.

    Raises:
        NotFound: a file is missing.
        InvalidInput: a file cannot be read, is hostile, or describes a model that is not EDM's EGNN.
    """
    arguments = _DEFAULTS | read_arguments(folder / ARGUMENTS)
    state = read_state(folder / WEIGHTS)
    _refuse_foreign(arguments)
    space = FeatureSpace(
        vocabulary=_vocabulary(arguments),
        factors=tuple(float(f) for f in arguments["normalize_factors"]),  # type: ignore[arg-type]
        include_charges=bool(arguments["include_charges"]),
        centred_features=not arguments["include_charges"],
    )
    network = EGNN(_network_config(arguments, space), kernel, precision)
    weights = {_our_name(k): v for k, v in state.items() if k.startswith("dynamics.egnn.")}
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise InvalidInput(f"the weights in {folder} do not fit their arguments: {_first_line(error)}") from error
    network = network.to(device=device, dtype=dtype).eval().requires_grad_(False)
    network.require_kernel()
    return Diffusion(network, _schedule(arguments, state), space), arguments


def import_edm(folder: Path, moments: Moments | None) -> Checkpoint:
    """The checkpoint of an EDM folder.

    Args:
        folder: what EDM's training wrote.
        moments: of the data set that it was trained on, in the model's own columns (`load_edm` tells them);
            without them the checkpoint predicts, but cannot sample.
    """
    diffusion, arguments = load_edm(folder, dtype=torch.float32)
    network = diffusion.network
    if not isinstance(network, EGNN):  # load_edm builds nothing else
        raise TypeError(type(network).__name__)
    return Checkpoint(
        network=network.config,
        space=diffusion.space,
        schedule=diffusion.schedule,
        max_t=diffusion.schedule.T,
        moments=moments,
        weights=network.state_dict(),
        dataset=str(arguments["dataset"]),
        recipe={name: value for name, value in arguments.items() if isinstance(value, bool | int | float | str | list)},
        provenance={"imported_from": folder.name, "weights_sha256": file_digest(folder / WEIGHTS)},
    )


def read_arguments(path: Path) -> dict[str, Any]:
    """The arguments of an EDM run; plain values only, nothing in the file is executed."""
    data = _read_bytes(path)
    try:
        namespace = _PlainUnpickler(io.BytesIO(data)).load()
    except (
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        IndexError,
        KeyError,
        TypeError,
        AttributeError,
    ) as error:
        raise InvalidInput(f"{path} is not a pickle of plain arguments: {_first_line(error)}") from error
    if not isinstance(namespace, argparse.Namespace):
        raise InvalidInput(f"{path} holds no argparse.Namespace", received=type(namespace).__name__)
    return vars(namespace)


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict of an EDM run, through torch's weights-only reader."""
    data = _read_bytes(path)
    try:
        with warnings.catch_warnings():  # torch warns of pickle protocols other than its own
            warnings.simplefilter("ignore", UserWarning)
            state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise InvalidInput(f"{path} is not a torch state dict: {_first_line(error)}") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InvalidInput(f"{path} is not a torch state dict", received=type(state).__name__)
    return state


def _read_bytes(path: Path) -> bytes:
    if not path.is_file():
        raise NotFound(f"no {path.name} in {path.parent}", remedy=f"an EDM folder holds {ARGUMENTS} and {WEIGHTS}")
    return path.read_bytes()


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _refuse_foreign(arguments: dict[str, Any]) -> None:
    for name, wanted in {
        "sin_embedding": False,
        "context_node_nf": 0,
        "remove_h": False,
        "model": "egnn_dynamics",
    }.items():
        if arguments[name] != wanted:
            raise InvalidInput(f"EDM models with {name}={arguments[name]!r} are not supported")


def _vocabulary(arguments: dict[str, Any]) -> tuple[int, ...]:
    dataset = str(arguments.get("dataset"))
    if dataset not in _VOCABULARIES:
        raise InvalidInput("the EDM model names an unknown data set", received=dataset)
    return _VOCABULARIES[dataset]


def _network_config(arguments: dict[str, Any], space: FeatureSpace) -> EGNNConfig:
    return EGNNConfig(
        features=space.columns - 3,
        hidden=int(arguments["nf"]),
        n_layers=int(arguments["n_layers"]),
        inv_sublayers=int(arguments["inv_sublayers"]),
        attention=bool(arguments["attention"]),
        tanh=bool(arguments["tanh"]),
        norm_constant=float(arguments["norm_constant"]),
        normalization_factor=float(arguments["normalization_factor"]),
        aggregation=arguments["aggregation_method"],
        condition_time=bool(arguments["condition_time"]),
    )


def _our_name(name: str) -> str:
    name = name.removeprefix("dynamics.egnn.")
    name = re.sub(r"^e_block_(\d+)\.gcl_equiv\.", r"blocks.\1.coordinates.", name)
    return re.sub(r"^e_block_(\d+)\.gcl_(\d+)\.", r"blocks.\1.messages.\2.", name)


def _schedule(arguments: dict[str, Any], state: dict[str, Tensor]) -> Schedule:
    """The table that the network was trained with, as it is in the file; else made by name."""
    name = str(arguments["diffusion_noise_schedule"])
    table = state.get("gamma.gamma")
    if table is not None:
        return Schedule(name, np.asarray(table.detach().double().numpy()))
    return make_schedule(name, int(arguments["diffusion_steps"]), float(arguments["diffusion_noise_precision"]))
