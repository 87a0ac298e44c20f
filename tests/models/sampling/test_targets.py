"""What molecules are asked to have: values, ranges, p(c | N), the sizes and the start that follow, and bad input."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

from gaga import load_model
from gaga.chem.io import read_molecules
from gaga.core.errors import InvalidInput
from gaga.core.molecules import pack
from gaga.data.features import FeatureSpace
from gaga.data.shapes import ReferenceShape
from gaga.data.targets import Scale, Targets
from gaga.models.api import sample
from gaga.models.checkpoint import Checkpoint, save_checkpoint
from gaga.models.conditioning import ConditionedGaussian, ConditionedShape, Conditioning
from gaga.models.network.egnn import EGNN
from gaga.models.network.parameters import EGNNConfig
from gaga.models.sampling.config import SampleConfig
from gaga.models.sampling.plan import start_reference
from gaga.models.sampling.record import SampleRecord
from gaga.models.sampling.steering import steer
from gaga.models.sampling.stream import sample_stream
from gaga.models.sampling.targets import Asked
from gaga.noise import ReferenceGaussian, make_schedule
from gaga.runs.sample import sample as sample_to_file
from gaga.stats.moments import estimate_moments
from gaga.storage.store import Store

SPACE = FeatureSpace((1, 6))
FREE = {"low": np.full(2, -np.inf), "high": np.full(2, np.inf)}


def molecules_by_width(n=600, seed=0):
    """Molecules of 4 to 6 atoms, and what widens them; a second property is their number of carbons."""
    rng = np.random.default_rng(seed)
    sizes, wide = rng.integers(4, 7, n), rng.uniform(0, 4, n)
    made = [
        (rng.choice([1, 6], size, p=[0.7, 0.3]), rng.normal(size=(size, 3)) * np.sqrt(1 + w / 4))
        for size, w in zip(sizes, wide, strict=True)
    ]
    carbons = np.array([float((numbers == 6).sum()) for numbers, _ in made])
    return pack(made), np.stack([wide + 10 * sizes, carbons], axis=1)


@pytest.fixture(scope="module")
def data():
    return molecules_by_width()


@pytest.fixture(scope="module")
def conditioning(data):
    molecules, values = data
    targets = Targets(("wide", "carbons"), ("Å", ""), values)
    scale = Scale((50.0, 2.0), (8.0, 1.0))
    return Conditioning.of(molecules, np.arange(600), targets, scale=scale, space=SPACE, dropout=0.1)


@pytest.fixture(scope="module")
def checkpoint(data, conditioning):
    torch.manual_seed(0)
    network = EGNN(EGNNConfig(features=2, hidden=8, n_layers=1, context=3))
    return Checkpoint(
        network=network.config, space=SPACE, schedule=make_schedule(), max_t=550, dataset="toy",
        moments=estimate_moments(data[0], SPACE), conditioning=conditioning, weights=network.state_dict(),
    )  # fmt: skip


@pytest.fixture
def model(checkpoint):
    return checkpoint.model()


CONFIG = SampleConfig(steps=2)


def asked(model, **options):
    found = Asked.of(model, SampleConfig(**options))
    assert found is not None
    return found


def test_by_default_properties_are_those_of_molecules_of_the_size(data, conditioning):
    drawn = Asked(conditioning, **FREE, seed=3)
    sizes = np.repeat([4, 6], 400)
    values = drawn.values(np.arange(800), sizes)
    for n in (4, 6):
        there = data[1][data[0].n_atoms == n]
        for column in range(2):
            assert ks_2samp(values[sizes == n, column].round(3 - 3 * column), there[:, column]).pvalue > 1e-3
    assert np.unique(values[:, 0]).size == 800, "each is moved a little"
    np.testing.assert_array_equal(drawn.values(np.arange(800)[5:9], sizes[5:9]), values[5:9])
    assert (drawn.by(4).values(np.arange(800), sizes) != values).any()


def test_a_size_that_is_not_in_the_library_borrows_from_its_neighbours(conditioning):
    values = Asked(conditioning, **FREE).values(np.arange(20), np.full(20, 9))
    assert (np.abs(values[:, 0] - 62) < 4).all(), "as those of 6 atoms"


def test_values_and_ranges_are_met_and_other_properties_go_with_them(model, data):
    exact = asked(model, target=("carbons=3",)).values(np.arange(200), np.full(200, 5))
    assert (exact[:, 1] == 3).all()
    between = asked(model, target=("wide=51:52",)).values(np.arange(200), np.full(200, 5))
    assert ((between[:, 0] >= 51) & (between[:, 0] <= 52)).all()
    assert np.ptp(between[:, 0]) > 0.8
    wide = asked(model, target={"wide": 48.0}).values(np.arange(50), np.full(50, 5))
    assert (wide[:, 0] == 48).all()
    of_python = asked(model, target={"wide": (51, 52.5), "carbons": 2})
    assert of_python.low.tolist() == [51, 2]
    assert of_python.high.tolist() == [52.5, 2]


def test_sizes_are_those_of_molecules_that_have_the_target(model):
    """`wide` of 4 atoms is 40 to 44, of 6 it is 60 to 64."""
    counts = steer(model, SampleConfig(target=("wide=61:63",))).moments.counts
    assert np.flatnonzero(counts).tolist() == [6]
    assert steer(model, CONFIG).moments is model.moments
    fixed = steer(model, SampleConfig(target=("wide=61:63",), sizes=(4, 5)))
    assert fixed.moments is model.moments
    found = sample(model, 6, steps=2, target={"wide": 62})
    assert (found.n_atoms == 6).all()


def test_each_molecule_says_what_it_was_asked_to_have(model):
    found = list(sample_stream(model, range(5), replace(CONFIG, target=("carbons=2",)), seed=1))
    drawn = asked(model, target=("carbons=2",)).by(1)
    for molecule in found:
        wanted = drawn.values(np.array([molecule.index]), np.array([len(molecule.atomic_numbers)]))[0]
        assert molecule.notes == {"target_wide": wanted[0], "target_carbons": 2.0}


def test_the_file_and_the_store_have_the_targets(checkpoint, tmp_path):
    save_checkpoint(checkpoint, tmp_path / "model.safetensors")
    store = Store(tmp_path / "gaga.h5")
    options = {"steps": 2, "store": store, "seed": 2, "target": {"wide": (50, 52)}}
    sample_to_file(tmp_path / "model.safetensors", 4, out=tmp_path / "mols.sdf", **options)
    record = store.get("sample", "mols", SampleRecord)
    assert list(record.targets) == ["wide", "carbons"]
    tags = [found.properties for found in read_molecules(tmp_path / "mols.sdf")]
    assert [float(tag["target_wide"]) for tag in tags] == pytest.approx(record.targets["wide"].tolist(), rel=1e-5)
    expected = asked(load_model(tmp_path / "model.safetensors"), target=("wide=50:52",)).by(2)
    sizes = np.diff(record.offsets)
    np.testing.assert_array_equal(expected.values(record.indices, sizes)[:, 1], record.targets["carbons"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": ("mass=1",)}, "not conditioned on that (received mass). it is conditioned on wide, carbons"),
        ({"target": ("wide",)}, "alpha=80 or alpha=70:90"),
        ({"target": ("wide=a",)}, "alpha=80 or alpha=70:90"),
        ({"target": ("wide=3:2",)}, "alpha=80 or alpha=70:90"),
        ({"target": ("wide=nan",)}, "alpha=80 or alpha=70:90"),
        ({"target": ("wide=1", "wide=2")}, "one `target`"),
        ({"target": ("wide=500",)}, "far from all of the model's data (received 500, training molecules have 40"),
        ({"guidance": -1.0}, "guidance must be at least 0"),
        ({"guidance": 1.0, "guidance_between": (2.0, 1.0)}, "a smallest and a largest"),
    ],
)
def test_bad_input_is_one_clear_line(model, options, said):
    with pytest.raises(InvalidInput) as refused:
        sample(model, 2, steps=2, **options)
    assert said.lower() in str(refused.value).lower()


def test_targets_beyond_the_data_are_said(model):
    assert asked(model, target=("wide=62",)).notes(None) == []
    assert (
        asked(model, target=("wide=70",))
        .notes(None)[0]
        .startswith("wide is beyond the model's data: 70, training molecules have 40")
    )
    (of_size,) = asked(model, target=("wide=62",)).notes((4,))
    assert "those of these sizes have 40" in of_size


def test_a_model_without_a_condition_takes_none(toy_model, model):
    for options, named in (({"target": ("wide=1",)}, "target"), ({"guidance": 1.0}, "guidance")):
        with pytest.raises(InvalidInput, match=f"without a condition, and `{named}` needs one"):
            sample(toy_model, 1, steps=2, **options)
    assert steer(toy_model, CONFIG).asked is None
    sure = replace(model, conditioning=replace(model.conditioning, dropout=0.0))
    with pytest.raises(InvalidInput, match="has seen no molecule without its condition"):
        sample(sure, 1, steps=2, guidance=1.0)


def test_the_start_is_as_wide_as_molecules_of_the_property(data, conditioning, model):
    """Position variance of `block` at T*, by thirds of the property within a size, against the noised data."""
    alpha2, (molecules, values) = 0.6, data
    plain = ReferenceGaussian("size", model.known_moments())
    start, sizes = ConditionedGaussian(plain, conditioning), molecules.n_atoms
    context = conditioning.context(values)
    rng = np.random.default_rng(1)
    z = np.concatenate([start.transform(rng.normal(size=(sizes.sum(), 5)), sizes, alpha2, context) for _ in range(20)])
    degrees = np.tile(3 * (sizes - 1), 20)
    variance = np.add.reduceat((z[:, :3] ** 2).sum(axis=1), np.concatenate([[0], np.cumsum(np.tile(sizes, 20))[:-1]]))
    x = molecules.positions - np.repeat(
        np.add.reduceat(molecules.positions, molecules.offsets[:-1]) / sizes[:, None], sizes, axis=0
    )
    clean = np.add.reduceat((x.astype(float) ** 2).sum(axis=1), molecules.offsets[:-1])
    third = np.digitize(values[:, 0] - 10 * sizes, [4 / 3, 8 / 3])
    for k in range(3):
        here, there = np.tile(third == k, 20), third == k
        found = variance[here].sum() / degrees[here].sum()
        data_has = alpha2 * clean[there].sum() / (3 * (sizes[there] - 1)).sum() + 1 - alpha2
        assert found == pytest.approx(data_has, rel=0.06)
    unasked = start.transform(np.ones((5, 5)), np.array([5]), alpha2, np.zeros((1, 3)))
    np.testing.assert_array_equal(unasked, plain.transform(np.ones((5, 5)), np.array([5]), alpha2))


def test_shapes_are_those_of_molecules_of_like_properties(conditioning, model):
    config = SampleConfig(start="shape")
    start = start_reference(model, config)
    assert isinstance(start, ConditionedShape)
    wide = conditioning.of_size(5)[:, 0]
    library = conditioning.shapes.of_size(5, model.known_moments())[0].sum(axis=1)
    for value in (50.5, 53.5):
        context = conditioning.context(np.array([[value, 2.0]]))[0]
        rows = np.array([start.chosen(u, 5, len(wide), context) for u in np.linspace(0.01, 0.99, 60)])
        assert np.abs(wide[rows] - value).mean() < 0.6
        assert np.unique(rows).size > 15
    assert library[wide > 52.5].mean() > library[wide < 51.5].mean()
    plain = ReferenceShape(conditioning.shapes, model.known_moments(), SPACE)
    assert start.chosen(0.5, 5, len(wide), np.zeros(3)) == plain.chosen(0.5, 5, len(wide), None)
