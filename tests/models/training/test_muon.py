import pytest
import torch
from torch import nn

from gaga.models.training.muon import MOMENTUM, Muon, orthogonal

SHAPES = [(16, 34), (16, 16), (34, 16), (16, 34)]


def parameters(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def with_gradients(matrices, seed):
    generator = torch.Generator().manual_seed(seed)
    for p in matrices:
        p.grad = torch.randn(p.shape, generator=generator)
    return matrices


@pytest.mark.parametrize("shape", [(2, 16, 40), (2, 40, 16), (3, 24, 24)])
def test_directions_stay_and_lengths_become_one(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    left, _, right = torch.linalg.svd(x, full_matrices=False)
    along = torch.einsum("kar,kab,krb->kr", left, orthogonal(1000 * x), right)
    values = torch.linalg.svdvals(x) / torch.linalg.matrix_norm(x)[:, None]
    large = values > 0.02  # far smaller ones need more than five iterations
    assert 0.6 < along[large].min() < along[large].max() < 1.25
    exact = left @ torch.diag_embed(along) @ right
    assert (orthogonal(1000 * x) - exact).abs().max() < 0.03  # nothing across directions, but for bfloat16


def test_steps_are_those_of_torch():
    mine, theirs = parameters(), parameters()
    muon = Muon(mine)
    reference = torch.optim.Muon(theirs, lr=2e-3, weight_decay=0.0, momentum=MOMENTUM, adjust_lr_fn="match_rms_adamw")
    start = parameters()
    for seed in range(4):
        with_gradients(mine, seed), with_gradients(theirs, seed)
        muon.step(torch.tensor(2e-3), torch.tensor(True))
        reference.step()
    for a, b, c in zip(mine, theirs, start, strict=True):
        moved = (b - c).detach().norm()
        assert (a - b).detach().norm() < 0.02 * moved, "bfloat16 in another order, and nothing else"
        assert moved > 1e-3


def test_a_step_that_is_not_taken_changes_nothing_even_if_it_is_not_finite():
    mine = parameters()
    muon = Muon(mine)
    with_gradients(mine, 1)
    muon.step(torch.tensor(1e-3), torch.tensor(True))
    before = [p.detach().clone() for p in mine], [m.clone() for m in muon.tensors().values()]
    mine[0].grad[0, 0] = float("nan")
    muon.step(torch.tensor(1e-3), torch.tensor(False))
    assert all(torch.equal(a, b) for a, b in zip(mine, before[0], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(muon.tensors().values(), before[1], strict=True))
