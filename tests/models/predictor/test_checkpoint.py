"""A predictor as a file: what comes back, and what is rejected."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from gaga.core.errors import InvalidInput, NotFound
from gaga.core.molecules import pack
from gaga.data.targets import Scale
from gaga.models.checkpoint import load_checkpoint, tensor_digest
from gaga.models.predictor.checkpoint import Predictor, load_predictor, save_predictor
from gaga.models.predictor.network import PredictorConfig, PredictorNetwork
from tests.models.predictor.conftest import molecules

MODEL = Path(__file__).parents[3] / "gaga" / "shipped" / "qm9_small.safetensors"


@pytest.fixture
def predictor() -> Predictor:
    torch.manual_seed(0)
    config = PredictorConfig(types=3, hidden=8, n_layers=1)
    return Predictor(
        property="alpha", unit="a0^3", network=config, vocabulary=(1, 6, 8), scale=Scale((70.0,), (6.0,)),
        weights=PredictorNetwork(config).state_dict(), dataset="toy", fingerprint="f" * 64, half="first",
        recipe={"steps": 3}, metrics={"errors": {"test": {"mae": 1.5}}}, provenance={"seed": 0},
    )  # fmt: skip


@pytest.fixture
def path(predictor, tmp_path) -> Path:
    save_predictor(predictor, tmp_path / "p.safetensors")
    return tmp_path / "p.safetensors"


def rewritten(path: Path, **changes: object) -> Path:
    """The file with another header, and the right checksum."""
    from safetensors import safe_open

    tensors = load_file(path)
    with safe_open(path, "pt") as file:
        header = json.dumps(json.loads(file.metadata()["gaga"]) | changes)
    save_file(tensors, path, {"gaga": header, "sha256": tensor_digest(header, tensors)})
    return path


def test_a_predictor_comes_back_as_it_was(predictor, path):
    read = load_predictor(path)
    for name in ("property", "unit", "network", "vocabulary", "scale", "dataset", "half", "recipe", "metrics"):
        assert getattr(read, name) == getattr(predictor, name)
    packed = molecules(20)
    np.testing.assert_array_equal(read.predict(packed), predictor.predict(packed))


def test_predictions_are_in_the_order_and_unit_of_the_molecules(predictor):
    packed = molecules(30)
    found = predictor.predict(packed)
    one = predictor.predict(packed.take(np.array([17])))
    np.testing.assert_allclose(found[17], one[0], rtol=1e-6)
    assert np.abs(found - 70).mean() < 60


def test_what_guides_is_the_same_and_has_a_gradient(predictor):
    packed = molecules(6)
    types = torch.from_numpy(np.eye(3)[np.searchsorted([1, 6, 8], packed.atomic_numbers)])
    positions = torch.from_numpy(packed.positions).double().requires_grad_()
    found = predictor(positions, types, torch.from_numpy(packed.n_atoms))
    np.testing.assert_allclose(found.detach(), predictor.predict(packed), rtol=1e-5)
    (gradient,) = torch.autograd.grad(found.sum(), positions)
    assert gradient.abs().max() > 0
    at = np.cumsum(packed.n_atoms) - packed.n_atoms
    np.testing.assert_allclose(np.add.reduceat(gradient.numpy(), at), 0, atol=1e-9)  # no force on the whole


def test_a_record_without_atoms_has_no_prediction(predictor):
    atoms = (np.array([1, 6]), np.eye(3)[:2])
    packed = pack([atoms, (np.zeros(0, np.uint8), np.zeros((0, 3))), atoms])
    assert np.isfinite(predictor.predict(packed)).tolist() == [True, False, True]


def test_an_unknown_element_is_named(predictor):
    with pytest.raises(InvalidInput, match=r"does not know an element.*\(received N, Si\).*knows H, C, O"):
        predictor.predict(pack([(np.array([7, 14]), np.eye(3)[:2])]))


def test_a_model_and_a_predictor_are_told_apart(path):
    with pytest.raises(InvalidInput, match="is a predictor of alpha"):
        load_checkpoint(path)
    with pytest.raises(InvalidInput, match="model that samples molecules"):
        load_predictor(MODEL)


def test_what_is_no_predictor_is_rejected(path, tmp_path):
    with pytest.raises(NotFound, match="gaga train-property"):
        load_predictor(tmp_path / "none.safetensors")
    (tmp_path / "text").write_text("no")
    with pytest.raises(InvalidInput, match="not a readable checkpoint"):
        load_predictor(tmp_path / "text")
    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(InvalidInput, match="not a predictor of gaga"):
        load_predictor(tmp_path / "other.safetensors")
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(InvalidInput, match="corrupt"):
        load_predictor(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"format_version": 9}, {"vocabulary": [1, 6]}, {"vocabulary": [1, 6, 6]}, {"scale": {"mean": 0}},
        {"scale": {"mean": 0, "deviation": 0}}, {"scale": {"mean": "x", "deviation": 1}}, {"network": []},
        {"network": {"types": 3, "hidden": 10**12, "n_layers": 1, "attention": True}}, {"metrics": 3},
        {"network": {"types": 3, "hidden": 8, "n_layers": 10**9, "attention": True}}, {"scale": None},
    ],
)  # fmt: skip
def test_hostile_headers_are_rejected(path, changes):
    with pytest.raises(InvalidInput):
        load_predictor(rewritten(path, **changes))
