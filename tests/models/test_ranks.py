import torch

from gaga.models.ranks import Ranks


def test_one_process_needs_nobody():
    ranks = Ranks()
    ranks.connect(torch.device("cpu"))
    ranks.wait()
    assert ranks.first
    assert ranks.sum(torch.tensor(3.0)).item() == 3.0
    assert ranks.any(True)
    assert not ranks.any(False)
