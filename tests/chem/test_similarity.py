import pytest

from gaga.chem.similarity import similarity


def test_similarity_is_one_of_the_same_and_less_of_others():
    assert similarity("CCO", "OCC") == 1.0
    assert 0 < similarity("CCO", "CCN") < 1
    assert similarity("CC", "O") == pytest.approx(0.0)
