import numpy as np
import torch

from gaga.benchmark.batches import Batch
from tests.benchmark.conftest import TINY

SIZES = np.array([3, 1, 4])


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
    assert (batch.edges, part.edges) == (18, 6)
