import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from gaga import load_model, sample
from gaga.base.errors import InvalidInput, NotFound
from gaga.data.features import FeatureSpace
from gaga.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from gaga.models.precondition import Precondition
from gaga.models.samplers import SampleConfig, sample_stream
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


def test_the_header_is_plain_json(checkpoint, tmp_path):
    from safetensors import safe_open

    path = tmp_path / "model.safetensors"
    save_checkpoint(checkpoint, path)
    with safe_open(path, framework="np") as file:
        header = json.loads(file.metadata()["gaga"])
    assert header["format_version"] == 1
    assert header["schedule"] == "polynomial_2"
