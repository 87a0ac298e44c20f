import pytest
import torch

from gaga.models.ranks import Ranks


def test_one_process_needs_nobody():
    ranks = Ranks()
    ranks.connect(torch.device("cpu"))
    ranks.wait()
    assert ranks.first
    assert ranks.sum(torch.tensor(3.0)).item() == 3.0
    assert ranks.from_first(lambda: "said") == "said"
    with ranks.together(torch.device("cpu")):
        ranks.take_from_first([torch.ones(2)])


@pytest.mark.parametrize(("n", "size"), [(7, 1), (7, 2), (7, 7), (6, 4)])
def test_shares_are_everything_once_and_nearly_equal(n, size):
    shares = [range(n)[Ranks(rank, size).share(n)] for rank in range(size)]
    assert sorted(i for share in shares for i in share) == list(range(n))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_whom_nothing_is_left_takes_the_first():
    assert [list(range(2)[Ranks(rank, 4).share(2)]) for rank in range(4)] == [[0], [1], [0], [0]]
