"""Training with properties as a context: what the network receives, what is kept, and what stays as it was."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from gaga.core.errors import Conflict, InvalidInput
from gaga.data.dataset import Annotations, Dataset, already_read
from gaga.data.features import FeatureSpace
from gaga.models.checkpoint import load_checkpoint, tensor_digest
from gaga.models.conditioning import Conditioning
from gaga.models.training.batches import Batch
from gaga.models.training.objective import VALIDATION
from gaga.models.training.recipe import make_recipe
from gaga.models.training.trainer import Trainer
from gaga.stats.moments import estimate_moments
from tests.models.conftest import toy_molecules

RECIPE = make_recipe("tiny", hidden=8, n_layers=1, batch_size=8, steps=8, validate_every=4, stability_samples=2,
                     max_t=60, warmup_steps=3, condition=("wide",))  # fmt: skip


@pytest.fixture(scope="module")
def dataset():
    """Molecules with the variance of their positions as a property, which one lacks."""
    molecules = toy_molecules(60)
    parts = [molecules.positions[a:b] for a, b in zip(molecules.offsets, molecules.offsets[1:], strict=False)]
    wide = np.array([part.var() for part in parts])
    wide[3] = np.nan
    properties = {"wide": wide, "key": np.arange(60.0)}
    return Dataset(
        name="toy", molecules=molecules, ids=np.arange(60), vocabulary=(1, 6),
        splits={"train": np.arange(40), "valid": np.arange(40, 50), "test": np.arange(50, 60)},
        read_annotations=already_read(Annotations(properties=properties, units={"wide": "Å^2"})),
    )  # fmt: skip


def trainer(dataset, folder, recipe=RECIPE, **options):
    moments = estimate_moments(dataset.molecules.take(dataset.splits["train"]), FeatureSpace((1, 6)))
    return Trainer(dataset, recipe, moments, folder, seed=4, **options)


@pytest.fixture(scope="module")
def whole(dataset, tmp_path_factory):
    run = trainer(dataset, tmp_path_factory.mktemp("whole"))
    assert run.run()
    return run


def test_the_network_receives_values_on_the_scale_of_validation_and_a_one(dataset, whole):
    values = dataset.properties["wide"]
    mean = values[40:50].mean()
    deviation = np.abs(values[40:50] - mean).mean()
    context = whole.train_set.context
    np.testing.assert_allclose(context[:3, 0], (values[:3] - mean) / deviation, rtol=1e-6)
    assert context[:, 1].tolist() == [1, 1, 1, 0] + [1] * 36
    assert context[3].tolist() == [0, 0], "its property is not known"


def test_drop_out_is_keyed_by_molecule_and_step_and_validation_has_none(dataset, whole):
    recipe = replace(RECIPE, condition_dropout=0.5)
    objective = replace(whole.objective, recipe=recipe)
    members = np.arange(40)

    def shown(members, step, **options):
        return objective.batch(whole.train_set, members, step, **options).context[:, 1].numpy()

    first = shown(members, 5)
    np.testing.assert_array_equal(shown(members[::-1].copy(), 5)[::-1], first)
    assert 8 < first.sum() < 32
    assert (shown(members, 6) != first).any()
    np.testing.assert_array_equal(shown(members, 5, stream=VALIDATION), whole.train_set.context[:, 1])
    assert whole.train_set.context[:, 1].sum() == 39, "the table is not written to"
    assert "context" in Batch.tensors(objective.batch(whole.train_set, members, 5))


def test_a_resumed_run_with_a_condition_ends_bit_for_bit_the_same(dataset, whole, tmp_path):
    first = trainer(dataset, tmp_path)
    assert not first.run(should_stop=lambda: first.counters.step >= 3)
    second = trainer(dataset, tmp_path)
    second.resume()
    assert second.run()
    for name, value in load_file(whole.folder / "state.safetensors").items():
        assert torch.equal(value, load_file(tmp_path / "state.safetensors")[name]), name
    other = replace(dataset, read_annotations=already_read(Annotations(properties={"wide": np.arange(60.0)})))
    with pytest.raises(Conflict, match="another properties"):
        trainer(other, tmp_path).resume()


def test_a_checkpoint_has_names_units_scale_and_library(dataset, whole):
    kept = load_checkpoint(whole.model_path)
    found, wanted = kept.conditioning, whole.setup.conditioning
    assert (found.names, found.units, found.dropout) == (("wide",), ("Å^2",), 0.1)
    assert (found.scale, found.slopes, found.widths) == (wanted.scale, wanted.slopes, wanted.widths)
    assert found.digest == wanted.digest
    assert len(found.n_atoms) == 39
    assert kept.network.context == 2
    model = kept.model()
    z, t, sizes = torch.zeros(1, 4, 5), torch.full((1, 1), 0.05), np.array([4])
    assert torch.isfinite(model.predict_noise(z, t, sizes)).all(), "without a context it is the null context"


@pytest.mark.parametrize("damage", ["shapes", "values", "names", "mean", "network"])
def test_a_damaged_conditioning_is_one_clear_error(whole, tmp_path, damage):
    with safe_open(whole.model_path, framework="pt") as file:
        header = file.metadata()["gaga"]
    tensors = load_file(whole.model_path)
    if damage in ("shapes", "values"):
        tensors[f"conditioning.{damage}"] = tensors[f"conditioning.{damage}"][:-1].contiguous()
    header = header.replace('"names": ["wide"]', '"names": "wide"' if damage == "names" else '"names": ["wide"]')
    header = header.replace('"mean": [', '"mean": [NaN, ') if damage == "mean" else header
    header = header.replace('"context": 2', '"context": 0') if damage == "network" else header
    path = tmp_path / "damaged.safetensors"
    save_file(tensors, path, metadata={"gaga": header, "sha256": tensor_digest(header, tensors)})
    with pytest.raises(InvalidInput):
        load_checkpoint(path)


def test_without_a_condition_nothing_of_it_is_there(dataset, tmp_path):
    plain = make_recipe("tiny", hidden=8, n_layers=1)
    assert not {"condition", "condition_dropout"} & plain.described().keys()
    assert {"condition", "condition_dropout"} <= RECIPE.described().keys()
    run = trainer(dataset, tmp_path, plain)
    batch = run.objective.batch(run.train_set, np.arange(3), 0)
    assert batch.context is None
    assert "context" not in batch.tensors()
    assert "properties" not in run.setup.identity()
    assert run.checkpoint().conditioning is None


def test_the_start_may_be_an_unconditional_checkpoint(dataset, tmp_path):
    """Its weights are kept, and the context has no effect at first."""
    plain = trainer(dataset, tmp_path / "plain", replace(RECIPE, condition=()))
    plain.folder.mkdir()
    plain.save()
    run = trainer(dataset, tmp_path / "more", init_from=plain.model_path)
    before, after = plain.model(), run.model()
    z, t, sizes = torch.randn(1, 4, 5), torch.full((1, 1), 0.05), np.array([4])
    torch.testing.assert_close(after.predict_noise(z, t, sizes), before.predict_noise(z, t, sizes))
    run.folder.mkdir()
    run.save()
    again = trainer(dataset, tmp_path / "again", init_from=run.model_path)
    assert again.setup.conditioning.scale == run.setup.conditioning.scale
    for other in ((), ("key",)):
        with pytest.raises(InvalidInput):
            trainer(dataset, tmp_path / "other", replace(RECIPE, condition=other), init_from=run.model_path)


@pytest.mark.parametrize(("condition", "match"), [(("mass",), "no such property"), (("wide", "wide"), "once each")])
def test_a_property_that_is_not_there_is_refused(dataset, tmp_path, condition, match):
    with pytest.raises(InvalidInput, match=match):
        trainer(dataset, tmp_path, replace(RECIPE, condition=condition))


def test_names_are_text_and_a_drop_out_needs_a_condition():
    assert make_recipe("tiny", condition="alpha").condition == ("alpha",)
    with pytest.raises(InvalidInput, match="must be names"):
        make_recipe("tiny", condition=[1])
    with pytest.raises(InvalidInput, match="condition_dropout without effect"):
        make_recipe("tiny", condition_dropout=0.2)


def test_widths_follow_a_property_only_if_it_explains_them(dataset, whole):
    """`wide` is proportional to the variance of positions; `key` has nothing to do with it."""
    conditioning = whole.setup.conditioning
    assert conditioning.slopes[0] > 0
    by_key = trainer(dataset, whole.folder, replace(RECIPE, condition=("key", "wide"))).setup.conditioning
    assert by_key.slopes[1] == pytest.approx(conditioning.slopes[0], rel=0.3)
    assert isinstance(by_key, Conditioning)
    sizes, context = np.array([4, 4, 4]), np.array([[-9.0, 1.0], [0.0, 0.0], [9.0, 1.0]])
    low, none, high = conditioning.widening(context, sizes)
    assert conditioning.widths[0] <= low < none == 1 < high <= conditioning.widths[1]
