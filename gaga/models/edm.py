"""EDM's own model folders, read without executing their pickle.

A folder holds `generative_model_ema.npy`, a torch state dict, and `args.pickle`, an argparse.Namespace.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from gaga.base.errors import InvalidInput, NotFound
from gaga.base.plain_pickle import Built, Global, read_plain
from gaga.chem.elements import GEOM_VOCABULARY, QM9_VOCABULARY
from gaga.data.features import FeatureSpace
from gaga.models.checkpoint import Checkpoint, checked_schedule, file_digest, require_finite
from gaga.models.diffusion import Diffusion
from gaga.models.egnn import EGNN, EGNNConfig, fits
from gaga.models.torch_state import read_state_dict
from gaga.noise import Moments, Schedule, make_schedule

T = TypeVar("T")

WEIGHTS, ARGUMENTS = "generative_model_ema.npy", "args.pickle"
_VOCABULARIES = {"qm9": QM9_VOCABULARY, "qm9_second_half": QM9_VOCABULARY, "geom": GEOM_VOCABULARY}
_DEFAULTS: dict[str, Any] = {
    "inv_sublayers": 1, "attention": True, "tanh": True, "norm_constant": 1, "normalization_factor": 1,
    "aggregation_method": "sum", "condition_time": True, "include_charges": True, "sin_embedding": False,
    "normalize_factors": [1, 4, 10], "diffusion_noise_schedule": "polynomial_2", "diffusion_noise_precision": 1e-5,
    "diffusion_steps": 1000, "context_node_nf": 0, "remove_h": False, "model": "egnn_dynamics",
}  # fmt: skip
_NAMESPACE = Global("argparse", "Namespace")
_MOST_ARGUMENTS = 1 << 20  # bytes; EDM's are a few kilobytes
_LONGEST_SCHEDULE = 1_000_000  # steps


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
    try:
        space = _space(arguments)
        config = _network_config(arguments, space)
        schedule = _schedule(arguments, state)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InvalidInput(f"an argument of the model in {folder} cannot be: {_first_line(error)}") from error
    weights = {_our_name(k): v for k, v in state.items() if k.startswith("dynamics.egnn.")}
    if not fits(config, weights):
        raise InvalidInput(f"the weights in {folder} do not fit their arguments")
    require_finite(folder / WEIGHTS, weights)
    network = EGNN(config, kernel, "float32" if precision == "auto" else precision)
    network.load_state_dict(weights)
    network = network.to(device=device, dtype=dtype).eval().requires_grad_(False)
    network.require_kernel()
    return Diffusion(network, schedule, space), arguments


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
    """The arguments of an EDM run; plain values only, nothing in the file is executed.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it is no pickle of plain arguments.
    """
    _require(path)
    if path.stat().st_size > _MOST_ARGUMENTS:
        raise InvalidInput(f"{path} is larger than the arguments of a run", received=f"{path.stat().st_size:,} bytes")
    value = _told_where(path, lambda: read_plain(path.read_bytes(), frozenset({_NAMESPACE})))
    if not isinstance(value, Built) or value.arguments or not isinstance(value.state, dict):
        raise InvalidInput(f"{path} holds no argparse.Namespace")
    return {str(name): argument for name, argument in value.state.items()}


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict of an EDM run; nothing in the file is executed.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it is no state dict that `torch.save` wrote.
    """
    _require(path)
    return _told_where(path, lambda: read_state_dict(path))


def _require(path: Path) -> None:
    if not path.is_file():
        raise NotFound(f"no {path.name} in {path.parent}", remedy=f"an EDM folder holds {ARGUMENTS} and {WEIGHTS}")


def _told_where(path: Path, read: Callable[[], T]) -> T:
    """What `read` gives; its complaint names the file."""
    try:
        return read()
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error.what}", received=error.received, remedy=error.remedy) from error


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


def _space(arguments: dict[str, Any]) -> FeatureSpace:
    x, h, charge = (float(f) for f in arguments["normalize_factors"])
    return FeatureSpace(
        vocabulary=_vocabulary(arguments),
        factors=(x, h, charge),
        include_charges=bool(arguments["include_charges"]),
        centred_features=not arguments["include_charges"],
    )


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
        return checked_schedule(name, table.detach().double().numpy())
    steps = int(arguments["diffusion_steps"])
    if steps > _LONGEST_SCHEDULE:
        raise InvalidInput("the model's schedule is too long", received=f"{steps} steps")
    return make_schedule(name, steps, float(arguments["diffusion_noise_precision"]))
