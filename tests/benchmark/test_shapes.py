import numpy as np
import pytest
import torch

from gaga.benchmark.shapes import SHAPES, Batch, even_sizes
from tests.benchmark.conftest import TINY, mean_over

SIZES = np.array([3, 1, 4])


def pairs(counts):
    n = np.arange(len(counts), dtype=np.float64)
    return n, n * (n - 1)


@pytest.mark.parametrize(
    ("name", "atoms", "edges", "widest"),
    # QM9's as published; GEOM-Drugs' as another count of the same data found them.
    [("qm9", 18.03, 315.7, 29), ("geom", 44.9, 2097, 181)],
)
def test_histograms_have_the_known_moments(name, atoms, edges, widest):
    shape = SHAPES[name]
    n, n_pairs = pairs(shape.counts)
    assert mean_over(shape.counts, n) == pytest.approx(atoms, rel=1e-3)
    assert mean_over(shape.counts, n_pairs) == pytest.approx(edges, rel=1e-3)
    assert shape.widest == widest


def test_networks_are_the_published_ones():
    assert {name: (s.network.hidden, s.network.n_layers, s.network.features) for name, s in SHAPES.items()} == {
        "qm9": (256, 9, 5),
        "geom": (256, 4, 16),
    }
    assert [shape.steps for shape in SHAPES.values()] == [550, 650]


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("n", [16, 64, 1024])
def test_even_a_small_batch_has_nearly_the_mean_work(name, n):
    shape = SHAPES[name]
    n_pairs = pairs(shape.counts)[1]
    sizes = even_sizes(shape.counts, n, seed=3)
    assert (sizes * (sizes - 1)).mean() == pytest.approx(mean_over(shape.counts, n_pairs), rel=0.1)


def test_draws_follow_the_histogram_and_the_seed():
    counts = np.array([0, 0, 10, 0, 30])
    sizes = even_sizes(counts, 400, seed=1)
    assert np.bincount(sizes, minlength=5).tolist() == [0, 0, 100, 0, 300]
    assert {even_sizes(counts, 1, seed=k)[0] for k in range(40)} == {2, 4}
    assert (even_sizes(counts, 400, seed=1) == sizes).all()
    assert (even_sizes(counts, 400, seed=2) != sizes).any()
    assert (np.diff(sizes) != 0).sum() > 10  # in random order


def test_columns_have_the_datas_spread_and_depend_on_the_seed():
    sizes = np.full(300, 18)
    batch = Batch.of(TINY["qm9"], sizes, 0)
    assert batch.x.shape == batch.eps.shape == (5400, 8)
    assert torch.allclose(batch.x.std(dim=0), torch.tensor([1.4] * 3 + [0.1] * 5).double(), rtol=0.05)
    assert torch.allclose(batch.eps.std(dim=0), torch.ones(8).double(), rtol=0.05)
    assert batch.t.min() >= 0
    assert 500 < batch.t.max() <= 550
    assert torch.equal(batch.x, Batch.of(TINY["qm9"], sizes, 0).x)
    assert not torch.equal(batch.x, Batch.of(TINY["qm9"], sizes, 1).x)


def test_the_first_molecules_are_a_batch():
    batch = Batch.of(TINY["geom"], SIZES, 0)
    part = batch.first(2)
    assert part.n_atoms.tolist() == [3, 1]
    assert torch.equal(part.x, batch.x[:4])
    assert torch.equal(part.eps, batch.eps[:4])
    assert torch.equal(part.t, batch.t[:2])
