"""The picture of an evaluation, and the histograms that it is drawn from."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.image import imread

from gaga.core.errors import InvalidInput
from gaga.data import load_dataset
from gaga.evaluation import Evaluation, evaluate, shipped_reference
from gaga.evaluation.plots import _grouped, plot_quality
from gaga.storage.serialise import from_tree, to_tree


@pytest.fixture(scope="module")
def evaluation():
    return evaluate(load_dataset("qm9").molecules.take(np.arange(20_000, 20_060)), workers=1)


def test_histograms_are_of_all_molecules(evaluation):
    found = evaluation.distributions
    assert sum(found.sizes) == 60
    np.testing.assert_array_equal(np.flatnonzero(found.sizes), np.unique(evaluation.verdicts.n_atoms))
    assert sum(found.torsions) == evaluation.verdicts.classes.torsions.sum()
    assert sum(found.lengths) < sum(found.angles)
    carbon_hydrogen = slice(round(1.06 / 0.02), round(1.14 / 0.02))
    assert sum(found.lengths[carbon_hydrogen]) > 0.3 * sum(found.lengths)
    assert len(found.sizes) == len(found.radii) == len(found.measured) == evaluation.verdicts.n_atoms.max() + 1
    known = evaluation.verdicts.classes.known
    assert np.dot(found.measured, found.radii) == pytest.approx(evaluation.verdicts.classes.radius[known].sum())


def test_the_data_has_the_same_histograms(evaluation):
    ours, theirs = evaluation.distributions, evaluation.real_data.distributions
    assert len(ours.lengths) == len(theirs.lengths) == 200
    assert len(ours.angles) == len(theirs.angles) == 90
    reference = shipped_reference("qm9", "edm").reference
    assert len(reference.radii) == len(reference.sizes)
    assert (reference.radii > 0).sum() == (reference.sizes > 0).sum()


def test_neighbouring_sizes_are_drawn_together_until_they_are_ten(evaluation):
    sizes, means, errors = _grouped(evaluation.distributions)
    assert 1 < len(sizes) <= 6
    radii = evaluation.verdicts.classes.radius
    one = replace(
        evaluation.distributions, sizes=(0, 0, 9), measured=(0, 0, 9), radii=(0, 0, 2.0), deviations=(0, 0, 1)
    )
    np.testing.assert_allclose(np.ravel(_grouped(one)), [2, 2, 1.959963984540054 / 3])
    assert radii.min() < means.min() < means.max() < radii.max()
    assert (errors > 0).all()


def test_a_picture_beside_the_data(evaluation, tmp_path):
    path = tmp_path / "quality.png"
    plot_quality(evaluation, path, label="mine.sdf")
    image = imread(path)
    assert image.shape[1] > 2 * 1000
    assert image[..., :3].std() > 0.05
    assert list(tmp_path.iterdir()) == [path]


def test_water_alone_can_be_drawn(tmp_path):
    alone = evaluate(load_dataset("qm9").molecules.take([2]), protocol="strict", reference=None)
    plot_quality(alone, tmp_path / "water.svg")
    assert "<svg" in (tmp_path / "water.svg").read_text()


def test_histograms_survive_the_store_and_an_earlier_version_has_none(evaluation, tmp_path):
    tree = to_tree(evaluation)
    assert from_tree(tree, Evaluation).distributions == evaluation.distributions
    assert from_tree(tree, Evaluation).real_data == evaluation.real_data
    del tree["distributions"], tree["classes"]["torsions"], tree["classes"]["radius"]
    del tree["verdicts"]["classes"]["torsions"], tree["verdicts"]["classes"]["radius"]
    del tree["real_data"]["distributions"]
    old = from_tree(tree, Evaluation)
    assert old.classes.torsions is old.verdicts.classes.radius is old.real_data.distributions is None
    with pytest.raises(InvalidInput, match=r"earlier version.*`replace=True`"):
        plot_quality(old, tmp_path / "old.png")
    assert list(tmp_path.iterdir()) == []
