from dataclasses import replace

import pytest
import torch

from gaga.core.errors import InvalidInput
from gaga.models.training.optimiser import Optimiser
from gaga.models.training.recipe import make_recipe
from tests.models.conftest import small_network

RECIPE = make_recipe("tiny", learning_rate=1e-3, weight_decay=0.1, optimizer="adamw", amsgrad=True)


def optimiser(device="cpu", recipe=RECIPE):
    return Optimiser(small_network(2, dtype=torch.float32).to(device), recipe)


def gradients(optimiser, n, scale=1.0):
    generator = torch.Generator().manual_seed(1)
    size = sum(p.numel() for p in optimiser.parameters)
    device = optimiser.parameters[0].device
    return [(scale * torch.randn(size, generator=generator)).to(device) for _ in range(n)]


def step(optimiser, gradient, loss=1.0, decay=0.9):
    optimiser.set(2e-3, decay)
    return optimiser.apply(gradient.clone(), torch.tensor(loss, device=gradient.device))


def copies(optimiser):
    return {name: value.clone() for name, value in optimiser.tensors().items()}


def test_steps_are_those_of_torch():
    """AdamW and clip_grad_norm_ as anyone would write them; norms of 2 to 200 around the limit."""
    ours, network = optimiser(), small_network(2, dtype=torch.float32)
    theirs = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.1, amsgrad=True)
    sizes = [p.numel() for p in network.parameters()]
    averages = [p.detach().clone() for p in network.parameters()]
    for k, gradient in enumerate(gradients(ours, 6)):
        outcome = step(ours, gradient * (10.0**k))
        for p, part in zip(network.parameters(), (gradient * 10.0**k).split(sizes), strict=True):
            p.grad = part.reshape(p.shape).clone()
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), float(outcome[2]))
        assert float(outcome[1]) == pytest.approx(float(norm), rel=1e-6)
        theirs.step()
        for average, p in zip(averages, network.parameters(), strict=True):
            average.lerp_(p.detach(), 0.1)
    assert float(outcome[1]) > float(outcome[2])  # the last one was clipped
    for mine, p, average, ema in zip(ours.parameters, network.parameters(), averages, ours.ema.values(), strict=True):
        torch.testing.assert_close(mine, p, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(ema, average, rtol=1e-5, atol=1e-6)


def test_without_clipping_nothing_is_clipped():
    free = optimiser(recipe=make_recipe("tiny", clipping="none"))
    (gradient,) = gradients(free, 1, scale=1e4)
    kept = gradient.clone()
    outcome = free.apply(gradient, torch.tensor(1.0))
    assert torch.equal(gradient, kept)
    assert float(outcome[2]) == float("inf")


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_one_exploded_gradient_moves_the_weights_as_little_as_any(device):
    """By the median: what remembers the mean of norms lets the next ones through, too."""
    it = optimiser(device, replace(RECIPE, clipping="median"))
    for gradient in gradients(it, 5):
        usual = step(it, gradient)
    exploded = gradients(it, 6)[5] * 1e6
    outcome = it.apply(exploded, torch.tensor(1.0, device=exploded.device))
    assert float(outcome[2]) < 3 * float(usual[1]) < 1e-3 * float(outcome[1])
    assert float(torch.linalg.vector_norm(exploded)) == pytest.approx(float(outcome[2]), rel=1e-4)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("broken", ["gradient", "infinite gradient", "loss"])
def test_a_step_that_is_not_finite_changes_nothing(device, broken):
    it = optimiser(device)
    good, bad = gradients(it, 2)
    assert step(it, good)[3] == 1
    before = copies(it)
    if broken != "loss":
        bad[17] = float("nan" if broken == "gradient" else "inf")
    assert step(it, bad, loss=float("nan") if broken == "loss" else 1.0)[3] == 0
    for name, value in it.tensors().items():
        assert torch.equal(value, before[name]), name
    assert step(it, good)[3] == 1
    assert not torch.equal(it.tensors()["network.embedding.bias"], before["network.embedding.bias"])


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("recipe", [RECIPE, replace(RECIPE, optimizer="muon")], ids=lambda recipe: recipe.optimizer)
def test_it_goes_on_from_its_tensors_bit_for_bit(device, recipe):
    whole, first, second = (optimiser(device, recipe) for _ in range(3))
    steps = gradients(whole, 6)
    for gradient in steps:
        step(whole, gradient)
    for gradient in steps[:3]:
        step(first, gradient)
    second.restore(copies(first))
    for gradient in steps[3:]:
        step(second, gradient)
    for name, value in whole.tensors().items():
        assert torch.equal(value, second.tensors()[name]), name


def test_muon_has_the_matrices_inside_blocks_and_leaves_the_rest_to_adamw():
    it = optimiser(recipe=replace(RECIPE, optimizer="muon"))
    tensors = it.tensors()
    assert sum(name.startswith("muon.") for name in tensors) >= 2
    adam = sum(v.numel() for k, v in tensors.items() if k.endswith("exp_avg"))
    muon = sum(v.numel() for k, v in tensors.items() if k.startswith("muon."))
    assert adam + muon == sum(p.numel() for p in it.parameters)
    assert adam < muon


def test_tensors_of_another_network_are_refused():
    it = optimiser()
    other = copies(it)
    del other["clipping.count"]
    with pytest.raises(InvalidInput, match="other tensors"):
        it.restore(other)
