"""Statistics that see molecules, against random shapes of other molecules."""

import numpy as np
import pytest

from gaga.core.molecules import PackedMolecules, offsets_of
from gaga.data.features import FeatureSpace
from gaga.noise import make_schedule
from gaga.stats.effects import molecule_effects
from gaga.stats.shape_effects import shape_effects
from gaga.storage.serialise import from_tree, to_tree

SCHEDULE, SPACE = make_schedule(), FeatureSpace((1, 6))
LONGEST, NEAREST, COUPLING = 0, 2, 5


def long_molecules(n: int, n_atoms: int, *, grid: bool = False) -> PackedMolecules:
    """Random places on long axes of random lengths; of a `grid` no two atoms are close, and hydrogens are outside."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, n_atoms, 3)) * np.sqrt(np.exp(0.4 * rng.normal(size=(n, 1, 3))) * (9, 1, 1))
    elements = np.where(rng.random((n, n_atoms)) < 0.5, 1, 6)
    if grid:
        x[..., 0] = np.linspace(-5, 5, n_atoms)
        elements = np.where(np.abs(x[..., 0]) > 2.5, 1, 6)
    return PackedMolecules(
        x.reshape(-1, 3).astype(np.float32), elements.reshape(-1).astype(np.uint8), offsets_of([n_atoms] * n)
    )


def test_random_shapes_differ_from_random_shapes_by_chance_alone():
    found = shape_effects(long_molecules(1200, 7), SPACE, SCHEDULE, (200, 600), seed=0, n_resamples=40)
    assert (found.n_molecules, found.n_shapes) == (600, 256)
    assert np.all(found.effect < 1.3 * found.limit)
    assert np.all(found.low <= found.effect)
    assert np.all(found.effect <= found.high)


def test_what_shapes_lack_is_seen_and_the_shape_is_not():
    found = shape_effects(long_molecules(1200, 7, grid=True), SPACE, SCHEDULE, (100,), seed=0, n_resamples=40)
    assert found.low[0, NEAREST] > found.limit[0, NEAREST]
    assert found.low[0, COUPLING] > found.limit[0, COUPLING]
    assert found.effect[0, LONGEST] < 2 * found.limit[0, LONGEST]  # the library has its own chance


def test_they_stand_beside_those_against_gaussians_and_are_stored():
    molecules = long_molecules(200, 5)
    options = {"seed": 0, "n_resamples": 10}
    alone = molecule_effects(molecules, SPACE, SCHEDULE, (300,), **options)
    both = molecule_effects(molecules, SPACE, SCHEDULE, (300,), against="shape", **options)
    np.testing.assert_array_equal(both.effect, alone.effect)
    assert alone.shapes is None
    assert alone.effect[0, LONGEST] > 3 * both.shapes.effect[0, LONGEST]
    again = from_tree(to_tree(both), type(both))
    np.testing.assert_array_equal(again.shapes.effect, both.shapes.effect)


@pytest.mark.parametrize("n", [2, 3])
def test_too_few_molecules_have_none(n):
    assert shape_effects(long_molecules(n, 5), SPACE, SCHEDULE, (300,), seed=0) is None
