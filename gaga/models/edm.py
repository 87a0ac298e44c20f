"""Model folders of EDM's and of GAGA's published code, read without executing their pickle.

A folder holds `generative_model_ema.npy`, a torch state dict, and `args.pickle`, an argparse.Namespace; with the epoch
in their names too (`generative_model_ema_40.npy`, `args_40.pickle`), and without `_ema` before the average over steps.

Both codes write the same files. The argument `max_t` tells them apart: GAGA's training alone has it. With it, types of
a model without charges are centred in each molecule, and `max_t` is T*; without it, types are not centred, and all
steps were trained.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from gaga.chem.elements import GEOM_VOCABULARY, QM9_VOCABULARY
from gaga.core.errors import InvalidInput, NotFound
from gaga.data.features import FeatureSpace, require_features
from gaga.models.checkpoint import Checkpoint, checked_schedule, file_digest, require_finite
from gaga.models.diffusion import Diffusion
from gaga.models.network.egnn import EGNN
from gaga.models.network.parameters import EGNNConfig, fits
from gaga.models.torch_state import read_state_dict
from gaga.noise import Moments, Schedule, make_schedule
from gaga.storage.pickles import Built, Global, read_plain

T = TypeVar("T")

WEIGHTS, ARGUMENTS = "generative_model_ema.npy", "args.pickle"
_WEIGHTS_NAME = re.compile(r"generative_model(?P<ema>_ema)?(?:_(?P<epoch>[0-9]+))?\.npy")
_ARGUMENTS_NAME = re.compile(r"args(?:_(?P<epoch>[0-9]+))?\.pickle")
_LAST = float("inf")  # epoch of the files without one in their names, which are written with the newest that have one
_VOCABULARIES = {"qm9": QM9_VOCABULARY, "qm9_second_half": QM9_VOCABULARY, "geom": GEOM_VOCABULARY}
_DEFAULTS: dict[str, Any] = {
    "inv_sublayers": 1, "attention": True, "tanh": True, "norm_constant": 1, "normalization_factor": 1,
    "aggregation_method": "sum", "condition_time": True, "include_charges": True, "sin_embedding": False,
    "normalize_factors": [1, 4, 10], "diffusion_noise_schedule": "polynomial_2", "diffusion_noise_precision": 1e-5,
    "diffusion_steps": 1000, "context_node_nf": 0, "remove_h": False, "model": "egnn_dynamics",
}  # fmt: skip
_BY_GAGA = "max_t"  # the argument that GAGA's training alone writes
_NAMESPACE = Global("argparse", "Namespace")
_MOST_ARGUMENTS = 1 << 20  # bytes; EDM's are a few kilobytes
_LONGEST_SCHEDULE = 1_000_000  # steps


class EdmFiles(NamedTuple):
    """The files of a folder that are read; they need not exist."""

    arguments: Path
    weights: Path


class EdmModel(NamedTuple):
    """A model of such a folder.

    Attributes:
        diffusion: network, schedule and columns. arguments: of its training, plain values.
        max_t: T*, the largest step that was trained.
        decided: in a sentence, whose training it was taken for and why, and what follows.
    """

    diffusion: Diffusion
    arguments: dict[str, Any]
    max_t: int
    decided: str


def edm_files(folder: Path) -> EdmFiles:
    """The newest weights, the average over steps if there are both, and the arguments that belong to them."""
    names = [path.name for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
    weights = [found for name in names if (found := _WEIGHTS_NAME.fullmatch(name))]
    arguments = {_epoch(found): name for name in names if (found := _ARGUMENTS_NAME.fullmatch(name))}
    newest = max(weights, key=lambda found: (_epoch(found), bool(found["ema"])), default=None)
    last = arguments[max(arguments)] if arguments else ARGUMENTS
    if newest is None:
        return EdmFiles(folder / last, folder / WEIGHTS)
    return EdmFiles(folder / arguments.get(_epoch(newest), last), folder / newest.string)


def _epoch(found: re.Match[str]) -> float:
    return _LAST if found["epoch"] is None else int(found["epoch"])


def is_edm_folder(path: Path) -> bool:
    """Whether this looks like a folder that EDM's or GAGA's training wrote."""
    files = edm_files(path)
    return files.weights.is_file() and files.arguments.is_file()


def load_edm(
    folder: Path,
    *,
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
    kernel: str = "auto",
    precision: str = "float32",
    centred_features: bool | None = None,
    max_t: int | None = None,
) -> EdmModel:
    """The model of a folder of EDM's or GAGA's code.

    Args:
        folder: where it is.
        dtype, device, kernel, precision: as of `gaga.load_model`.
        centred_features: whether types are centred in each molecule; None: what the arguments say.
        max_t: T*; None: what the arguments say.

    Raises:
        NotFound: a file is missing.
        InvalidInput: a file cannot be read, is hostile, or describes a model that is not EDM's EGNN, or T* is no step.
    """
    files = edm_files(folder)
    arguments, state = _DEFAULTS | read_arguments(files.arguments), read_state(files.weights)
    _refuse_foreign(arguments)
    try:
        centred = _centred(arguments) if centred_features is None else centred_features
        space = _space(arguments, centred)
        config = _network_config(arguments, space)
        schedule = _schedule(arguments, state)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InvalidInput(f"an argument of the model in {folder} cannot be: {_first_line(error)}") from error
    last = _last_step(arguments, schedule.T, files.arguments) if max_t is None else _asked_step(max_t, schedule.T)
    weights = {_our_name(k): v for k, v in state.items() if k.startswith("dynamics.egnn.")}
    if not fits(config, weights):
        raise InvalidInput(f"the weights in {folder} do not fit their arguments")
    require_finite(files.weights, weights)
    network = EGNN(config, kernel, "float32" if precision == "auto" else precision)
    network.load_state_dict(weights)
    network = network.to(device=device, dtype=dtype).eval().requires_grad_(False)
    network.require_kernel()
    decided = _decided(
        files, arguments, space, last, schedule.T, asked=(centred_features is not None, max_t is not None)
    )
    return EdmModel(Diffusion(network, schedule, space), arguments, last, decided)


def import_edm(
    folder: Path, moments: Moments | None, *, centred_features: bool | None = None, max_t: int | None = None
) -> tuple[Checkpoint, str]:
    """The checkpoint of such a folder, and in a sentence whose training it was taken for and why.

    Args:
        folder: what EDM's or GAGA's training wrote.
        moments: of the data set that it was trained on, in the model's own columns (`load_edm` gives them);
            without them the checkpoint predicts, but cannot sample.
        centred_features, max_t: as of `load_edm`, which also says what it raises.
    """
    diffusion, arguments, last, decided = load_edm(
        folder, dtype=torch.float32, centred_features=centred_features, max_t=max_t
    )
    network = diffusion.network
    if not isinstance(network, EGNN):  # load_edm builds nothing else
        raise TypeError(type(network).__name__)
    checkpoint = Checkpoint(
        network=network.config,
        space=require_features(diffusion.space),
        schedule=diffusion.schedule,
        max_t=last,
        moments=moments,
        weights=network.state_dict(),
        dataset=str(arguments["dataset"]),
        recipe={name: value for name, value in arguments.items() if isinstance(value, bool | int | float | str | list)},
        provenance={
            "imported_from": folder.name,
            "weights_sha256": file_digest(edm_files(folder).weights),
            "taken_for": decided,
        },
    )
    return checkpoint, decided


def read_arguments(path: Path) -> dict[str, Any]:
    """The arguments of an EDM run; plain values only, nothing in the file is executed.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it is no pickle of plain arguments.
    """
    _require(path)
    if path.stat().st_size > _MOST_ARGUMENTS:
        raise InvalidInput(f"{path} is larger than the arguments of a run", received=f"{path.stat().st_size:,} bytes")
    value = _naming(path, lambda: read_plain(path.read_bytes(), frozenset({_NAMESPACE})))
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
    return _naming(path, lambda: read_state_dict(path))


def _require(path: Path) -> None:
    if not path.is_file():
        raise NotFound(
            f"no {path.name} in {path.parent}",
            remedy=f"a folder of EDM's code holds {ARGUMENTS} and {WEIGHTS}, or both with an epoch (args_40.pickle)",
        )


def _naming(path: Path, read: Callable[[], T]) -> T:
    """What `read` gives; its complaint names the file."""
    try:
        return read()
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error.what}", received=error.received, remedy=error.remedy) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _refuse_foreign(arguments: dict[str, Any]) -> None:
    if "latent_nf" in arguments:
        raise InvalidInput(
            "latent models of GeoLDM's code are not supported", received=f"latent_nf={arguments['latent_nf']!r}"
        )
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


def _centred(arguments: dict[str, Any]) -> bool:
    """Only GAGA's training centres types, and only without charges."""
    return _BY_GAGA in arguments and not arguments["include_charges"]


def _last_step(arguments: dict[str, Any], T: int, path: Path) -> int:
    """T* by the arguments: GAGA's `max_t` (None is all steps); all steps of EDM's models."""
    value = arguments.get(_BY_GAGA)
    if value is None:
        return T
    number = int(value) if isinstance(value, str) and value.strip().isdecimal() else value
    number = int(number) if isinstance(number, float) and number.is_integer() else number
    if type(number) is not int or not 1 <= number <= T:
        raise InvalidInput(
            f"the argument {_BY_GAGA} in {path} is no step of the model's schedule, 1 to {T}",
            received=repr(value)[:40],
            remedy="say what T* is: `gaga import-edm DIR --max-t STEP`",
        )
    return number


def _asked_step(max_t: int, T: int) -> int:
    if not 1 <= max_t <= T:
        raise InvalidInput(f"T* of this model is a step of its schedule, 1 to {T}", received=max_t)
    return max_t


def _decided(
    files: EdmFiles, arguments: dict[str, Any], space: FeatureSpace, last: int, T: int, *, asked: tuple[bool, bool]
) -> str:
    """Whose training it was, what that follows from, and what follows from that or was asked for."""
    charges = "charges" if space.include_charges else "no charges"
    has = f"max_t {str(arguments[_BY_GAGA])[:40]}" if _BY_GAGA in arguments else "no max_t"
    whose = "GAGA" if _BY_GAGA in arguments else "EDM"
    types, steps = (" (as asked)" if it else "" for it in asked)
    return (
        f"{files.weights.name} is a model of {whose}'s training, as {files.arguments.name} has {has} and {charges}: "
        f"types {'' if space.centred_features else 'not '}centred in each molecule{types}, T* = {last} of {T}{steps}."
    )


def _space(arguments: dict[str, Any], centred: bool) -> FeatureSpace:
    x, h, charge = (float(f) for f in arguments["normalize_factors"])
    return FeatureSpace(
        vocabulary=_vocabulary(arguments),
        factors=(x, h, charge),
        include_charges=bool(arguments["include_charges"]),
        centred_features=centred,
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
