from collections import deque

import numpy as np
import pytest
import torch

from gaga.models.training.clipping import AdaptiveClipping, MedianClipping


class Plain:
    """The published code's queue of norms."""

    def __init__(self):
        self.norms = deque([3000.0], maxlen=50)

    def limit(self):
        return 1.5 * np.mean(self.norms) + 2 * np.std(self.norms)

    def add(self, norm):
        self.norms.append(min(norm, self.limit()))


def recorded(clipping, norm, wanted=True):
    clipping.add(torch.tensor(norm, dtype=torch.float64), torch.tensor(wanted))


def test_the_limits_of_the_published_queue():
    clipping, plain = AdaptiveClipping(), Plain()
    for norm in np.random.default_rng(0).lognormal(sigma=2.0, size=170):
        assert float(clipping.limit()) == pytest.approx(plain.limit(), rel=1e-12)
        recorded(clipping, norm)
        plain.add(norm)
    assert sorted(clipping.norms.tolist()) == pytest.approx(sorted(plain.norms), rel=1e-12)


def test_the_first_limit_and_a_large_norm():
    clipping = AdaptiveClipping()
    assert float(clipping.limit()) == 4500.0
    for _ in range(50):
        recorded(clipping, 1.0)
    assert float(clipping.limit()) == pytest.approx(1.5)
    recorded(clipping, 100.0)
    assert float(clipping.norms.max()) == pytest.approx(1.5)


@pytest.mark.parametrize("norm", [7.0, float("nan"), float("inf")])
@pytest.mark.parametrize("kind", [AdaptiveClipping, MedianClipping])
def test_a_norm_that_is_not_wanted_leaves_no_trace(kind, norm):
    clipping = kind()
    recorded(clipping, 1.0)
    norms, count = clipping.norms.clone(), clipping.count.clone()
    recorded(clipping, norm, wanted=False)
    assert torch.equal(clipping.norms, norms)
    assert torch.equal(clipping.count, count)


def test_the_median_of_late_and_not_its_outliers():
    clipping, norms = MedianClipping(), np.random.default_rng(1).lognormal(sigma=2.0, size=131)
    assert float(clipping.limit()) == np.inf
    for k, norm in enumerate(norms, 1):
        recorded(clipping, norm)
        of_late = sorted(norms[max(0, k - 50) : k])
        assert float(clipping.limit()) == pytest.approx(2 * of_late[(len(of_late) - 1) // 2], rel=1e-12)
    for _ in range(50):
        recorded(clipping, 1.0)
    for _ in range(20):
        recorded(clipping, 1e9)
    assert float(clipping.limit()) == 2.0
