"""Self-describing checkpoints: one safetensors file that can sample without any data set (docs/FORMAT.md)."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from gaga.core.errors import InvalidInput, NotFound
from gaga.data.features import FeatureSpace
from gaga.data.shapes import ShapeLibrary, shipped_shapes
from gaga.data.targets import Scale
from gaga.models.conditioning import Conditioning
from gaga.models.model import Model
from gaga.models.network.egnn import EGNN
from gaga.models.network.kernels.choose import resolve_precision
from gaga.models.network.parameters import EGNNConfig, fits
from gaga.models.network.precondition import EPS, Precondition
from gaga.noise import Moments, Schedule
from gaga.storage.files import atomic_write, with_utf8_name
from gaga.storage.serialise import from_tree
from gaga.version import __version__

FORMAT_VERSION = 1
PRECONDITIONED = 2  # of checkpoints whose network predicts something else than the noise, which version 1 cannot say
PREDICTOR = "predictor"
"""The kind that the header of a predictor's checkpoint names (gaga.models.predictor.checkpoint)."""
_DTYPES = (torch.float32, torch.float64, torch.float16, torch.int64, torch.int32, torch.bool)

T = TypeVar("T")
_ALONE = "of_one_element"  # which only checkpoints of data with such molecules have
_MOMENT_ARRAYS = ("starts", "centred", "mean", "counts", "block", "within", "between")


@dataclass(frozen=True, eq=False, kw_only=True)
class Checkpoint:
    """Everything that sampling needs, and where it came from.

    Attributes:
        network: shape of the EGNN.
        space: the columns of a molecule.
        schedule: the noise schedule, with its table.
        precondition: what the network's output means.
        max_t: T*, the largest step that was trained.
        moments: the data set's second moments and histogram of sizes; None if an EDM folder gave none.
        shapes: shapes and compositions of training molecules, to start from; None in older checkpoints.
        conditioning: the properties that the network takes as a context; None if it takes none.
        weights: parameters by name, the exponential moving average of training.
        dataset: name of the data set.
        recipe: the training configuration.
        metrics: what was measured at the end of training.
        provenance: versions, seed, steps, times and hashes of the inputs.
    """

    network: EGNNConfig
    space: FeatureSpace
    schedule: Schedule
    precondition: Precondition = EPS
    max_t: int
    moments: Moments | None
    shapes: ShapeLibrary | None = None
    conditioning: Conditioning | None = None
    weights: Mapping[str, Tensor]
    dataset: str
    recipe: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def model(
        self,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        kernel: str = "auto",
        precision: str = "float32",
    ) -> Model:
        """The model, ready to predict and to sample.

        Raises:
            Unavailable: the kernel is named and cannot run on this device.
        """
        network = EGNN(self.network, kernel, resolve_precision(precision, self.network, kernel, device, dtype))
        network.load_state_dict(dict(self.weights))
        network = network.to(device=device, dtype=dtype).eval().requires_grad_(False)
        network.require_kernel()
        shapes = self.shapes or shipped_shapes(self.provenance, self.space)
        return Model(network, self.schedule, self.space, precondition=self.precondition, max_t=self.max_t,
                     moments=self.moments, shapes=shapes, conditioning=self.conditioning,
                     dataset=self.dataset)  # fmt: skip


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint; the file that it replaces stays until the new one is whole."""
    tensors = {f"weights.{k}": v.detach().cpu().contiguous() for k, v in checkpoint.weights.items()}
    tensors["schedule.gamma"] = torch.from_numpy(checkpoint.schedule.gamma.copy())
    if checkpoint.moments is not None:
        for name in (*_MOMENT_ARRAYS, *([_ALONE] if len(checkpoint.moments.of_one_element) else [])):
            tensors[f"moments.{name}"] = torch.from_numpy(np.ascontiguousarray(getattr(checkpoint.moments, name)))
    if checkpoint.shapes is not None:
        tensors["shapes"] = torch.from_numpy(checkpoint.shapes.rows())
    if (conditioning := checkpoint.conditioning) is not None:
        tensors["conditioning.shapes"] = torch.from_numpy(conditioning.shapes.rows())
        tensors["conditioning.values"] = torch.from_numpy(np.ascontiguousarray(conditioning.values))
    header = json.dumps(_header(checkpoint), sort_keys=True)
    with atomic_write(path) as partial:
        partial.write_bytes(save(tensors, metadata={"gaga": header, "sha256": tensor_digest(header, tensors)}))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; nothing in it is executed.

    Raises:
        NotFound: there is no such file.
        InvalidInput: the file is not a gaga checkpoint, is corrupt, or of a later format.
    """
    if not path.is_file():
        raise NotFound("no checkpoint there", received=path, remedy="`gaga store list` shows trained runs")
    metadata, tensors = read_tensors(path)
    if "gaga" not in metadata:
        raise InvalidInput(f"{path} is a safetensors file, but not a gaga checkpoint")
    if metadata.get("sha256") != tensor_digest(metadata["gaga"], tensors):
        raise InvalidInput(f"{path} is corrupt: its checksum does not match", remedy="fetch or train it again")
    try:
        return _from_parts(path, _object(json.loads(metadata["gaga"])), tensors)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InvalidInput(f"{path} lacks a part of a checkpoint: {reason}") from error


def read_tensors(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a safetensors file; safetensors itself holds the sizes of its header against the file.

    Raises:
        InvalidInput: it is none, or holds numbers of a type that no checkpoint has.
    """
    try:
        with with_utf8_name(path) as name, safe_open(name, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except (SafetensorError, OSError, ValueError, RuntimeError, OverflowError) as error:
        of_edm = path.suffix == ".npy"  # what EDM's code names its weights
        remedy = "a folder of EDM's code becomes a checkpoint by `gaga import-edm DIR`" if of_edm else ""
        raise InvalidInput(f"{path} is not a readable checkpoint: {error}", remedy=remedy) from error
    if odd := sorted({str(v.dtype) for v in tensors.values() if v.dtype not in _DTYPES}):
        raise InvalidInput(f"{path} is not a readable checkpoint: it holds numbers of {', '.join(odd)}")
    return metadata, tensors


def file_digest(path: Path) -> str:
    """Sha256 of a file, which names it in provenance."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _header(checkpoint: Checkpoint) -> dict[str, Any]:
    moments, conditioning = checkpoint.moments, checkpoint.conditioning
    return {
        "format_version": FORMAT_VERSION if checkpoint.precondition.plain else PRECONDITIONED,
        "gaga_version": __version__,
        "network": {k: v for k, v in asdict(checkpoint.network).items() if k != "context" or v},
        "space": asdict(checkpoint.space),
        "schedule": checkpoint.schedule.name,
        **({} if checkpoint.precondition.plain else {"precondition": asdict(checkpoint.precondition)}),
        "max_t": checkpoint.max_t,
        **({} if conditioning is None else {"conditioning": _described(conditioning)}),
        "moments": moments and {"blocks": moments.blocks, "scalar": moments.scalar, "published": moments.published},
        "dataset": checkpoint.dataset,
        "recipe": dict(checkpoint.recipe),
        "metrics": dict(checkpoint.metrics),
        "provenance": dict(checkpoint.provenance),
    }


def _described(conditioning: Conditioning) -> dict[str, Any]:
    scale = conditioning.scale
    return {
        "names": conditioning.names, "units": conditioning.units, "mean": scale.mean, "deviation": scale.deviation,
        "dropout": conditioning.dropout, "slopes": conditioning.slopes, "widths": conditioning.widths,
    }  # fmt: skip


def _from_parts(path: Path, header: dict[str, Any], tensors: dict[str, Tensor]) -> Checkpoint:
    if header.get("kind") == PREDICTOR:
        raise InvalidInput(
            f"{path} is a predictor of {header.get('property')}, which judges molecules, not a model that samples them",
            remedy="give it to `gaga evaluate` as `predictor`",
        )
    if header.get("format_version") not in (FORMAT_VERSION, PRECONDITIONED):
        raise InvalidInput(
            f"{path} has checkpoint format {header.get('format_version')}; this gaga reads up to {PRECONDITIONED}"
        )
    checkpoint = Checkpoint(
        network=_typed(EGNNConfig, _object(header["network"])),
        space=_typed(FeatureSpace, _object(header["space"])),
        schedule=checked_schedule(header["schedule"], tensors["schedule.gamma"].numpy()),
        precondition=_precondition(header),
        max_t=_whole(header["max_t"]),
        shapes=_shapes(header, tensors),
        conditioning=_conditioning(header, tensors),
        moments=_moments(_object(header["moments"]), tensors) if header["moments"] else None,
        weights={k.removeprefix("weights."): v for k, v in tensors.items() if k.startswith("weights.")},
        dataset=str(header["dataset"]),
        **{name: dict(header[name]) for name in ("recipe", "metrics", "provenance")},
    )
    _check(path, checkpoint)
    return checkpoint


def _check(path: Path, checkpoint: Checkpoint) -> None:
    """Reject parts that do not belong together."""
    network, moments = checkpoint.network, checkpoint.moments
    if not 1 <= checkpoint.max_t <= checkpoint.schedule.T:
        raise InvalidInput(f"{path}: T* is not a step of its schedule", received=checkpoint.max_t)
    if not fits(network, checkpoint.weights):
        raise InvalidInput(f"{path}: the weights do not fit the network that its header describes")
    columns = {network.features + 3, checkpoint.space.columns} | ({moments.columns} if moments else set())
    if len(columns) > 1 or len(checkpoint.precondition.sd) not in (0, *columns):
        raise InvalidInput(f"{path}: network, vocabulary and moments differ in their columns", received=columns)
    known = 0 if checkpoint.conditioning is None else checkpoint.conditioning.columns
    if network.context != known:
        raise InvalidInput(
            f"{path}: network and conditioning differ in their context", received=[network.context, known]
        )
    require_finite(path, checkpoint.weights)


def require_finite(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Reject weights that are not finite.

    Raises:
        InvalidInput: one is not finite, or the weights are not floating-point numbers.
    """
    for name, weight in weights.items():
        if not weight.is_floating_point() or not bool(torch.isfinite(weight).all()):
            raise InvalidInput(f"{path}: weights are not finite numbers", received=name)


def checked_schedule(name: object, gamma: NDArray[Any]) -> Schedule:
    """The schedule of a file.

    Raises:
        InvalidInput: its table is not of finite numbers that do not decrease.
    """
    if not isinstance(name, str) or gamma.ndim != 1 or len(gamma) < 2 or gamma.dtype != np.float64:
        raise InvalidInput("a noise schedule is a name and a table", received=f"{gamma.dtype} {list(gamma.shape)}")
    if not np.isfinite(gamma).all() or (np.diff(gamma) < 0).any():
        raise InvalidInput("the table of a noise schedule is finite and does not decrease", received=name)
    return Schedule(name, gamma)


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("its header is no object")
    return value


def _whole(value: object) -> int:
    if type(value) is not int:
        raise ValueError("T* is no whole number")
    return value


def _typed(of: type[T], values: Mapping[str, Any]) -> T:
    """A configuration from JSON, each field of the type that it is declared with."""
    known = {f.name: f.default for f in fields(of) if f.default is not MISSING}  # type: ignore[arg-type]
    return from_tree(known | {k: _as_array(v) for k, v in values.items()}, of)


def _as_array(value: Any) -> Any:
    return np.array(value) if isinstance(value, list | tuple) else value


def _precondition(header: dict[str, Any]) -> Precondition:
    about = header.get("precondition")
    return EPS if about is None else Precondition(about["prediction"], tuple(map(float, about["sd"])))


def _shapes(header: dict[str, Any], tensors: dict[str, Tensor]) -> ShapeLibrary | None:
    rows = tensors.get("shapes")
    return None if rows is None else ShapeLibrary.from_rows(rows.numpy(), len(header["space"]["vocabulary"]))


def _conditioning(header: dict[str, Any], tensors: dict[str, Tensor]) -> Conditioning | None:
    """The conditioning; its parts are checked against each other as it is made."""
    if "conditioning" not in header:
        return None
    about = _object(header["conditioning"])
    numbers = {name: tuple(map(float, about[name])) for name in ("mean", "deviation", "slopes", "widths")}
    shapes, values = tensors["conditioning.shapes"].numpy(), tensors["conditioning.values"]
    if values.dtype != torch.float32:
        raise ValueError("its library of properties is of another type")
    return Conditioning(
        names=tuple(map(str, about["names"])), units=tuple(map(str, about["units"])),
        scale=Scale(numbers["mean"], numbers["deviation"]), dropout=float(about["dropout"]),
        values=values.numpy(), shapes=ShapeLibrary.from_rows(shapes, len(header["space"]["vocabulary"])),
        slopes=numbers["slopes"], widths=(numbers["widths"][0], numbers["widths"][1]),
    )  # fmt: skip


def _moments(header: dict[str, Any], tensors: dict[str, Tensor]) -> Moments:
    """The moments, of the shapes and types that they are declared with, and finite."""
    names = (*_MOMENT_ARRAYS, *([_ALONE] if f"moments.{_ALONE}" in tensors else []))
    parts: dict[str, Any] = {name: tensors[f"moments.{name}"].numpy() for name in names}
    parts.setdefault(_ALONE, np.zeros((0, 3), dtype=np.int64))
    parts |= {name: _as_array(header[name]) for name in ("blocks", "scalar", "published")}
    moments = from_tree(parts, Moments)
    n, c, starts = len(moments.counts), moments.columns, moments.starts
    shapes = [getattr(moments, name).shape for name in ("within", "between", "centred", "block", "starts")]
    if shapes != [(n, c, c), (n, c, c), (c,), (len(moments.blocks),), (len(moments.blocks) + 1,)]:
        raise InvalidInput("the moments differ in their shapes", received=shapes)
    numbers = np.concatenate([np.ravel(getattr(moments, name)) for name in ("mean", "block", "within", "between")])
    if not np.isfinite([*numbers, moments.scalar, moments.published]).all():
        raise InvalidInput("the moments are not finite")
    if (moments.counts < 0).any() or not moments.counts[1:].any() or starts[0] != 0 or starts[-1] != c:
        raise InvalidInput("the moments have no molecules, or no columns")
    alone = moments.of_one_element
    if alone.ndim != 2 or alone.shape[1] != 3 or (alone < 1).any() or (alone[:, 1] > 255).any():
        raise InvalidInput("the moments count molecules of one element that cannot be", received=alone.shape)
    if (np.diff(starts) < 0).any():
        raise InvalidInput("the blocks of the moments are out of order", received=starts.tolist())
    return moments


def tensor_digest(header: str, tensors: Mapping[str, Tensor]) -> str:
    """Sha256 of a header and of tensors, their names and bytes, in the order of names."""
    digest = hashlib.sha256(header.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
