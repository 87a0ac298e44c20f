import pytest
import torch

from gaga.models.capture import Replay


def count(device):
    total = torch.zeros((), device=device)
    step = torch.ones((), device=device)
    return total, step, Replay(lambda: total.add_(step), torch.device(device))


def test_each_call_is_one_execution():
    total, step, replay = count("cpu")
    for _ in range(7):
        replay()
    step.fill_(10.0)
    replay()
    assert float(total) == 17.0


@pytest.mark.gpu
def test_each_call_is_one_execution_recorded_or_not():
    total, step, replay = count("cuda")
    for k in range(7):
        replay()
        assert float(total) == k + 1
    step.fill_(10.0)
    replay()
    assert float(total) == 17.0
