import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save, save_file

from gaga import load_model, sample
from gaga.core.errors import InvalidInput, NotFound
from gaga.data.features import FeatureSpace
from gaga.data.shapes import ShapeLibrary
from gaga.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint, tensor_digest
from gaga.models.network.precondition import Precondition
from gaga.models.sampling.config import SampleConfig
from gaga.models.sampling.stream import sample_stream
from gaga.noise import make_schedule
from gaga.stats.moments import estimate_moments
from tests.models.conftest import small_network, toy_molecules


@pytest.fixture
def checkpoint() -> Checkpoint:
    network = small_network(2, dtype=torch.float32)
    space = FeatureSpace((1, 6))
    return Checkpoint(
        network=network.config, space=space, schedule=make_schedule(), max_t=550,
        moments=estimate_moments(toy_molecules(), space), weights=network.state_dict(), dataset="toy",
        recipe={"hidden": 16}, metrics={"valid_loss": 0.25}, provenance={"seed": 7},
    )  # fmt: skip


def test_round_trip_samples_the_same_molecules_without_a_data_set(checkpoint, tmp_path):
    path = tmp_path / "model.safetensors"
    save_checkpoint(checkpoint, path)
    again = load_checkpoint(path)
    assert (again.network, again.space, again.max_t) == (checkpoint.network, checkpoint.space, 550)
    assert (again.recipe, again.metrics, again.provenance) == ({"hidden": 16}, {"valid_loss": 0.25}, {"seed": 7})
    np.testing.assert_array_equal(again.schedule.gamma, checkpoint.schedule.gamma)
    for name in ("within", "between", "counts", "mean", "block"):
        np.testing.assert_array_equal(getattr(again.moments, name), getattr(checkpoint.moments, name))
    config = SampleConfig(method="ddpm", stride=110)
    drawn = (sample_stream(model, range(3), config) for model in (checkpoint.model(), load_model(path)))
    for a, b in zip(*drawn, strict=True):
        np.testing.assert_array_equal(a.positions, b.positions)
    assert len(sample(tmp_path, 2, method="ddpm", stride=275)) == 2


def test_molecules_of_one_element_are_kept_and_checked(checkpoint, tmp_path):
    path, moments = tmp_path / "model.safetensors", checkpoint.moments
    for rows in ([], [[2, 1, 3], [5, 6, 1]]):
        alone = np.array(rows, dtype=np.int64).reshape(-1, 3)
        save_checkpoint(replace(checkpoint, moments=replace(moments, of_one_element=alone)), path)
        np.testing.assert_array_equal(load_checkpoint(path).moments.of_one_element, alone)
        with safe_open(path, framework="pt") as file:
            assert ("moments.of_one_element" in file.keys()) == bool(rows)  # noqa: SIM118
    for wrong in ([[2, 300, 1]], [[0, 1, 1]], [[2, 1, 0]]):
        broken = replace(checkpoint, moments=replace(moments, of_one_element=np.array(wrong, dtype=np.int64)))
        save_checkpoint(broken, path)
        with pytest.raises(InvalidInput, match="of one element that cannot be"):
            load_checkpoint(path)


def test_shapes_are_kept_and_checked_and_older_checkpoints_say_what_is_missing(checkpoint, tmp_path):
    path, config = tmp_path / "model.safetensors", SampleConfig(method="ddpm", stride=110, start="shape")
    save_checkpoint(checkpoint, path)
    assert load_checkpoint(path).shapes is None
    with pytest.raises(InvalidInput, match="shapes of training molecules, which this checkpoint does not hold"):
        list(sample_stream(load_model(path), range(2), config))
    molecules = toy_molecules()
    shapes = ShapeLibrary.of(molecules, np.arange(len(molecules)), checkpoint.space)
    save_checkpoint(replace(checkpoint, shapes=shapes), path)
    again = load_checkpoint(path)
    assert again.shapes.digest == shapes.digest
    models = (replace(checkpoint, shapes=shapes).model(), load_model(path))
    drawn = (sample_stream(m, range(4), replace(config, batch_size=n)) for m, n in zip(models, (1, 4), strict=True))
    for a, b in zip(*drawn, strict=True):
        np.testing.assert_allclose(a.positions, b.positions, atol=1e-4)
    for wrong in ({"eigenvalues": -shapes.eigenvalues}, {"compositions": shapes.compositions[:, :1]}):
        save_checkpoint(replace(checkpoint, shapes=replace(shapes, **wrong)), path)
        with pytest.raises(InvalidInput, match="shapes are"):
            load_checkpoint(path)


def test_what_a_network_predicts_is_kept_and_told_to_older_readers(checkpoint, tmp_path):
    """Version 1 says nothing of it: its readers would sample noise from such a network."""
    plain, other = tmp_path / "plain.safetensors", tmp_path / "other.safetensors"
    precondition = Precondition("x0", (1.4, 1.4, 1.4, 0.1, 0.1))
    save_checkpoint(checkpoint, plain)
    save_checkpoint(replace(checkpoint, precondition=precondition), other)
    assert load_checkpoint(plain).precondition == Precondition()
    assert load_checkpoint(other).precondition == precondition == load_model(other).precondition
    assert [version_of(path) for path in (plain, other)] == [1, 2]


def version_of(path):
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["gaga"])["format_version"]


def test_without_moments_sampling_says_what_to_do(checkpoint, tmp_path):
    save_checkpoint(replace(checkpoint, moments=None), tmp_path / "m.safetensors")
    with pytest.raises(InvalidInput, match="gaga import-edm"):
        sample(tmp_path / "m.safetensors", 1)


def test_a_flipped_bit_is_noticed(checkpoint, tmp_path):
    path = tmp_path / "model.safetensors"
    save_checkpoint(checkpoint, path)
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    with pytest.raises(InvalidInput, match="checksum"):
        load_checkpoint(path)


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff" * 200, b"\x10" + b"\0" * 7 + b'{"a":"b"}      '])
def test_files_that_are_no_checkpoints(content, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match="not a readable checkpoint"):
        load_model(path)


def test_other_safetensors_and_later_formats(checkpoint, tmp_path):
    other = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(1)}, other)
    with pytest.raises(InvalidInput, match="not a gaga checkpoint"):
        load_checkpoint(other)
    with pytest.raises(NotFound, match="no checkpoint there"):
        load_checkpoint(tmp_path / "nothing.safetensors")


def test_weights_that_do_not_fit_their_header(checkpoint, tmp_path):
    path = tmp_path / "model.safetensors"
    save_checkpoint(replace(checkpoint, network=replace(checkpoint.network, hidden=8)), path)
    with pytest.raises(InvalidInput, match="do not fit the network"):
        load_checkpoint(path)


def forge(path, change):
    """The checkpoint with its header and tensors changed, and a checksum that agrees."""
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["gaga"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    text = change(header, tensors)
    text = text if isinstance(text, str) else json.dumps(header)
    path.write_bytes(save(tensors, metadata={"gaga": text, "sha256": tensor_digest(text, tensors)}))


LIES = {
    "a huge network": lambda h, t: h["network"].update(hidden=10**9),
    "a network beyond all": lambda h, t: h["network"].update(hidden=10**30),
    "a deep network": lambda h, t: h["network"].update(n_layers=10**9),
    "text for a number": lambda h, t: h["network"].update(hidden="16"),
    "nothing for a number": lambda h, t: h["network"].update(norm_constant=None),
    "an unknown field": lambda h, t: h["network"].update(colour="red"),
    "a list for an object": lambda h, t: h.update(network=[1, 2]),
    "no object at all": lambda h, t: "[1]",
    "no JSON": lambda h, t: "{",
    "a deep list": lambda h, t: "[" * 100_000,
    "no format": lambda h, t: h.update(format_version=None),
    "a vocabulary of text": lambda h, t: h["space"].update(vocabulary=["H", "C"]),
    "a vocabulary of nothing": lambda h, t: h["space"].update(vocabulary=[]),
    "an element twice": lambda h, t: h["space"].update(vocabulary=[6, 6]),
    "an element that is none": lambda h, t: h["space"].update(vocabulary=[1, 300]),
    "a factor of zero": lambda h, t: h["space"].update(factors=[1, 0, 10]),
    "a step that is none": lambda h, t: h.update(max_t=2000),
    "a step of text": lambda h, t: h.update(max_t="550"),
    "a schedule that is not finite": lambda h, t: t["schedule.gamma"].fill_(float("nan")),
    "a schedule of one": lambda h, t: t.update({"schedule.gamma": torch.zeros(1, dtype=torch.float64)}),
    "weights that are not finite": lambda h, t: t["weights.embedding.bias"].fill_(float("inf")),
    "weights of complex numbers": lambda h, t: t.update({"x": torch.zeros(2, dtype=torch.complex64)}),
    "weights of integers": lambda h, t: t.update({"weights.embedding.bias": torch.zeros(16, dtype=torch.int64)}),
    "sizes that are negative": lambda h, t: t["moments.counts"].fill_(-1),
    "no sizes": lambda h, t: t["moments.counts"].zero_(),
    "moments of another shape": lambda h, t: t.update({"moments.within": torch.zeros(1, 5, 5, dtype=torch.float64)}),
    "moments that are not finite": lambda h, t: t["moments.between"].fill_(float("nan")),
    "blocks out of order": lambda h, t: t.update({"moments.starts": torch.tensor([0, 9, 5])}),
    "a scalar of text": lambda h, t: h["moments"].update(scalar="much"),
    "no moments' header": lambda h, t: h.update(moments=[1]),
    "a recipe of text": lambda h, t: h.update(recipe="none"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_header_that_lies_is_refused_in_one_line(lie, checkpoint, tmp_path):
    path = tmp_path / "model.safetensors"
    save_checkpoint(checkpoint, path)
    forge(path, lambda header, tensors: None)
    assert load_checkpoint(path).max_t == 550
    forge(path, LIES[lie])
    with pytest.raises(InvalidInput) as caught:
        load_checkpoint(path)
    assert len(caught.value.line) < 500


@pytest.mark.parametrize("lie", ["offsets", "shape", "length", "hole"])
def test_offsets_and_lengths_that_lie_are_refused(lie, checkpoint, tmp_path):
    path = tmp_path / "model.safetensors"
    save_checkpoint(checkpoint, path)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    entry = header["weights.embedding.bias"]
    if lie == "offsets":
        entry["data_offsets"][1] = 10**12
    elif lie == "shape":
        entry["shape"] = [10**12]
    elif lie == "hole":
        del header["weights.embedding.bias"]
    text = json.dumps(header).encode()
    path.write_bytes((10**12 if lie == "length" else len(text)).to_bytes(8, "little") + text + data[8 + length :])
    with pytest.raises(InvalidInput, match="not a readable checkpoint"):
        load_checkpoint(path)


def test_the_header_is_plain_json(checkpoint, tmp_path):
    from safetensors import safe_open

    path = tmp_path / "model.safetensors"
    save_checkpoint(checkpoint, path)
    with safe_open(path, framework="np") as file:
        header = json.loads(file.metadata()["gaga"])
    assert header["format_version"] == 1
    assert header["schedule"] == "polynomial_2"
