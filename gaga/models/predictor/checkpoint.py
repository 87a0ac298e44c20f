"""A predictor as one safetensors file, and what it says of molecules (docs/FORMAT.md)."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from safetensors.torch import save
from torch import Tensor

from gaga.chem.elements import symbol_of
from gaga.core.errors import InvalidInput, NotFound
from gaga.core.molecules import PackedMolecules
from gaga.core.progress import Progress, silent
from gaga.data.dataset import vocabulary_of
from gaga.data.features import FeatureSpace
from gaga.data.targets import Scale
from gaga.models.checkpoint import PREDICTOR, read_tensors, require_finite, tensor_digest
from gaga.models.network.layout import Layout
from gaga.models.predictor.network import PredictorConfig, PredictorNetwork, fits
from gaga.models.training.features import Features
from gaga.storage.files import atomic_write
from gaga.version import __version__

FORMAT_VERSION = 1
_BATCH = 200  # molecules


@dataclass(frozen=True, eq=False, kw_only=True)
class Predictor:
    """A network that predicts one property, and where it comes from.

    Attributes:
        property: its name. unit: of its values; empty if that is not known.
        network: shape of the network.
        vocabulary: atomic numbers in the order of the one-hot columns.
        scale: mean and mean absolute deviation that the network's output is scaled by.
        weights: parameters by name.
        dataset: name of the data set. fingerprint: of its content.
        half: "first" if it was trained on the first half of the training split (EDM), "none" if on all of it.
        recipe: every hyperparameter.
        metrics: mean absolute errors in the unit, with the numbers of molecules.
        provenance: versions, seed, steps, times.
    """

    property: str
    unit: str
    network: PredictorConfig
    vocabulary: tuple[int, ...]
    scale: Scale
    weights: Mapping[str, Tensor]
    dataset: str
    fingerprint: str
    half: str
    recipe: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def _networks(self) -> dict[tuple[torch.device, torch.dtype], PredictorNetwork]:
        return {}

    def _network(self, device: torch.device | str, dtype: torch.dtype) -> PredictorNetwork:
        """The network, one for each device and type: what a graph holds may not change."""
        key = torch.device(device), dtype
        if key not in self._networks:
            network = PredictorNetwork(self.network)
            network.load_state_dict(dict(self.weights))
            self._networks[key] = network.to(*key).eval().requires_grad_(False)
        return self._networks[key]

    def __call__(
        self, positions: Float[Tensor, "A 3"], types: Float[Tensor, "A K"], sizes: Int64[Tensor, " M"]
    ) -> Float[Tensor, " M"]:
        """The property of each molecule in its unit, differentiable by what it is given: a scorer that guides is made
        of it.

        Args:
            positions: in Å. types: probabilities of the elements, in the order of `vocabulary`.
            sizes: numbers of atoms of the molecules.
        """
        columns = torch.cat([positions, types.to(positions)], dim=1)
        found: Tensor = self._network(columns.device, columns.dtype)(
            columns, Layout.of(sizes.cpu().numpy(), columns.device)
        )
        return found * self.scale.deviation[0] + self.scale.mean[0]

    def predict(
        self, molecules: PackedMolecules, *, device: torch.device | str = "cpu", progress: Progress = silent
    ) -> Float64[np.ndarray, " M"]:
        """The property of each molecule in its unit; NaN for one without atoms.

        Raises:
            InvalidInput: the predictor does not know an element.
        """
        self.require_elements(molecules)
        chosen = np.flatnonzero(molecules.n_atoms)
        space = input_space(self.vocabulary)
        network = self._network(device, torch.float32)
        features = Features.of(molecules, space, device, chosen=chosen)
        values = np.full((len(molecules), 1), np.nan)
        values[chosen, 0] = predict_all(network, features, progress)
        return np.asarray(self.scale.undone(values)[:, 0])

    def require_elements(self, molecules: PackedMolecules) -> None:
        """Reject molecules with elements that the predictor has not seen.

        Raises:
            InvalidInput: there are some.
        """
        if unknown := sorted(set(vocabulary_of(molecules.atomic_numbers)) - set(self.vocabulary)):
            raise InvalidInput(
                f"the predictor of {self.property} does not know an element of these molecules",
                received=", ".join(map(symbol_of, unknown)),
                remedy=f"it knows {', '.join(map(symbol_of, self.vocabulary))}; train one on data with these elements",
            )


def input_space(vocabulary: tuple[int, ...]) -> FeatureSpace:
    """The columns that a predictor receives: positions in Å and one-hot types."""
    return FeatureSpace(vocabulary=vocabulary, factors=(1.0, 1.0, 1.0), centred_features=False)


@torch.no_grad()
def predict_all(
    network: PredictorNetwork, features: Features, progress: Progress = silent
) -> Float64[np.ndarray, " M"]:
    """The property of all molecules, on its scale."""
    values = np.zeros(len(features))
    order = np.argsort(features.n_atoms, kind="stable")  # molecules of equal size are computed together
    for first in range(0, len(order), _BATCH):
        members: Int64[np.ndarray, " B"] = order[first : first + _BATCH]
        columns = features.columns(features.fetch(members).to(features.device))
        layout = Layout.of(features.n_atoms[members], features.device)
        values[members] = network(columns, layout).double().cpu().numpy()
        progress(first + len(members), len(order))
    return values


def save_predictor(predictor: Predictor, path: Path) -> None:
    """Write a predictor; the file that it replaces stays until the new one is whole."""
    tensors = {f"weights.{k}": v.detach().cpu().contiguous() for k, v in predictor.weights.items()}
    names = ("property", "unit", "dataset", "fingerprint", "half")
    described = {name: getattr(predictor, name) for name in names}
    described |= {name: dict(getattr(predictor, name)) for name in ("recipe", "metrics", "provenance")}
    header = json.dumps(
        {
            "kind": PREDICTOR, "format_version": FORMAT_VERSION, "gaga_version": __version__, **described,
            "network": asdict(predictor.network), "vocabulary": list(predictor.vocabulary),
            "scale": {"mean": predictor.scale.mean[0], "deviation": predictor.scale.deviation[0]},
        },
        sort_keys=True,
    )  # fmt: skip
    with atomic_write(path) as partial:
        partial.write_bytes(save(tensors, metadata={"gaga": header, "sha256": tensor_digest(header, tensors)}))


def load_predictor(path: Path) -> Predictor:
    """Read a predictor; nothing in it is executed.

    Raises:
        NotFound: there is no such file.
        InvalidInput: the file is a model that samples, or no predictor, or corrupt, or of a later format.
    """
    if not path.is_file():
        raise NotFound("no predictor there", received=path, remedy="`gaga train-property` makes one")
    metadata, tensors = read_tensors(path)
    if "gaga" not in metadata:
        raise InvalidInput(f"{path} is a safetensors file, but not a predictor of gaga")
    if metadata.get("sha256") != tensor_digest(metadata["gaga"], tensors):
        raise InvalidInput(f"{path} is corrupt: its checksum does not match", remedy="fetch or train it again")
    try:
        return _from_parts(path, json.loads(metadata["gaga"]), tensors)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InvalidInput(f"{path} lacks a part of a predictor: {reason}") from error


def _from_parts(path: Path, header: dict[str, Any], tensors: dict[str, Tensor]) -> Predictor:
    if header.get("kind") != PREDICTOR:
        raise InvalidInput(
            f"{path} is a model that samples molecules, not a predictor of a property",
            remedy="`gaga train-property` makes a predictor",
        )
    if header["format_version"] != FORMAT_VERSION:
        raise InvalidInput(
            f"{path} has predictor format {header['format_version']}; this gaga reads up to {FORMAT_VERSION}"
        )
    shape, scale = header["network"], header["scale"]
    predictor = Predictor(
        network=PredictorConfig(
            types=int(shape["types"]),
            hidden=int(shape["hidden"]),
            n_layers=int(shape["n_layers"]),
            attention=bool(shape["attention"]),
        ),
        vocabulary=tuple(int(z) for z in header["vocabulary"]),
        scale=Scale((float(scale["mean"]),), (float(scale["deviation"]),)),
        weights={k.removeprefix("weights."): v for k, v in tensors.items()},
        property=str(header["property"]),
        unit=str(header["unit"]),
        dataset=str(header["dataset"]),
        fingerprint=str(header["fingerprint"]),
        half=str(header["half"]),
        recipe=dict(header["recipe"]),
        metrics=dict(header["metrics"]),
        provenance=dict(header["provenance"]),
    )
    input_space(predictor.vocabulary)  # rejects one that is no vocabulary
    if len(predictor.vocabulary) != predictor.network.types or not fits(predictor.network, predictor.weights):
        raise InvalidInput(f"{path}: the weights do not fit the network that its header describes")
    if not (np.isfinite([*predictor.scale.mean]).all() and 0 < predictor.scale.deviation[0] < float("inf")):
        raise InvalidInput(f"{path}: its scale is no mean and positive deviation", received=str(scale))
    require_finite(path, predictor.weights)
    return predictor
