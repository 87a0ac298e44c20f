"""Self-describing checkpoints: one safetensors file that can sample without any data set (docs/FORMAT.md)."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from gaga import __version__
from gaga.base.errors import InvalidInput, NotFound
from gaga.base.files import atomic_write
from gaga.data.features import FeatureSpace
from gaga.models.egnn import EGNN, EGNNConfig
from gaga.models.model import Model
from gaga.models.precondition import EPS, Precondition
from gaga.noise import Moments, Schedule

FORMAT_VERSION = 1
PRECONDITIONED = 2  # of checkpoints whose network predicts something else than the noise, which version 1 cannot say
SUFFIX = ".safetensors"
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
        moments: the data set's second moments and histogram of sizes; None where an EDM folder gave none.
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
        network = EGNN(self.network, kernel, precision)
        network.load_state_dict(dict(self.weights))
        network = network.to(device=device, dtype=dtype).eval().requires_grad_(False)
        network.require_kernel()
        return Model(network, self.schedule, self.space, precondition=self.precondition, max_t=self.max_t,
                     moments=self.moments, dataset=self.dataset)  # fmt: skip


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint; what was there before stays until the new one is whole."""
    tensors = {f"weights.{k}": v.detach().cpu().contiguous() for k, v in checkpoint.weights.items()}
    tensors["schedule.gamma"] = torch.from_numpy(checkpoint.schedule.gamma.copy())
    if checkpoint.moments is not None:
        for name in _MOMENT_ARRAYS:
            tensors[f"moments.{name}"] = torch.from_numpy(np.ascontiguousarray(getattr(checkpoint.moments, name)))
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
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise InvalidInput(f"{path} is not a readable checkpoint: {error}") from error
    if "gaga" not in metadata:
        raise InvalidInput(f"{path} is a safetensors file, but not a gaga checkpoint")
    if metadata.get("sha256") != tensor_digest(metadata["gaga"], tensors):
        raise InvalidInput(f"{path} is corrupt: its checksum does not match", remedy="fetch or train it again")
    return _from_parts(path, json.loads(metadata["gaga"]), tensors)


def file_digest(path: Path) -> str:
    """Sha256 of a file, which names it in provenance."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _header(checkpoint: Checkpoint) -> dict[str, Any]:
    moments = checkpoint.moments
    return {
        "format_version": FORMAT_VERSION if checkpoint.precondition.plain else PRECONDITIONED,
        "gaga_version": __version__,
        "network": asdict(checkpoint.network),
        "space": asdict(checkpoint.space),
        "schedule": checkpoint.schedule.name,
        **({} if checkpoint.precondition.plain else {"precondition": asdict(checkpoint.precondition)}),
        "max_t": checkpoint.max_t,
        "moments": moments and {"blocks": moments.blocks, "scalar": moments.scalar, "published": moments.published},
        "dataset": checkpoint.dataset,
        "recipe": dict(checkpoint.recipe),
        "metrics": dict(checkpoint.metrics),
        "provenance": dict(checkpoint.provenance),
    }


def _from_parts(path: Path, header: dict[str, Any], tensors: dict[str, Tensor]) -> Checkpoint:
    if header.get("format_version") not in (FORMAT_VERSION, PRECONDITIONED):
        raise InvalidInput(
            f"{path} has checkpoint format {header.get('format_version')}; this gaga reads up to {PRECONDITIONED}"
        )
    try:
        space = header["space"] | {name: tuple(header["space"][name]) for name in ("vocabulary", "factors")}
        checkpoint = Checkpoint(
            network=EGNNConfig(**header["network"]),
            space=FeatureSpace(**space),
            schedule=Schedule(header["schedule"], tensors["schedule.gamma"].numpy()),
            precondition=_precondition(header),
            max_t=header["max_t"],
            moments=_moments(header["moments"], tensors) if header["moments"] else None,
            weights={k.removeprefix("weights."): v for k, v in tensors.items() if k.startswith("weights.")},
            **{name: header[name] for name in ("dataset", "recipe", "metrics", "provenance")},
        )
    except (KeyError, TypeError) as error:
        raise InvalidInput(f"{path} lacks a part of a checkpoint: {error}") from error
    wanted = EGNN(checkpoint.network, "torch").state_dict()
    if {k: v.shape for k, v in wanted.items()} != {k: v.shape for k, v in checkpoint.weights.items()}:
        raise InvalidInput(f"{path}: the weights do not fit the network that its header describes")
    return checkpoint


def _precondition(header: dict[str, Any]) -> Precondition:
    said = header.get("precondition")
    return EPS if said is None else Precondition(said["prediction"], tuple(said["sd"]))


def _moments(header: dict[str, Any], tensors: dict[str, Tensor]) -> Moments:
    parts: dict[str, Any] = {name: tensors[f"moments.{name}"].numpy() for name in _MOMENT_ARRAYS}
    parts |= {"blocks": tuple(header["blocks"]), "scalar": header["scalar"], "published": header["published"]}
    return Moments(**parts)


def tensor_digest(header: str, tensors: Mapping[str, Tensor]) -> str:
    """Sha256 of a header and of tensors, their names and bytes, in the order of names."""
    digest = hashlib.sha256(header.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
