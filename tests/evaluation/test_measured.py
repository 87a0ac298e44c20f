import numpy as np
import pytest

from gaga.chem.geometry import Measured
from gaga.evaluation.measured import FiledMeasured


@pytest.fixture
def parts():
    rng = np.random.default_rng(0)
    return [
        Measured(rng.integers(0, 5, n).astype(np.int32), rng.normal(size=n).astype(np.float32))
        for n in (3, 0, 100_000, 1)
    ]


def test_what_is_filed_is_what_was_added_in_order(parts):
    filed = FiledMeasured()
    for part in parts:
        filed.append(part)
    whole = Measured(np.concatenate([p.codes for p in parts]), np.concatenate([p.values for p in parts]))
    assert len(filed) == len(whole.codes)
    np.testing.assert_array_equal(filed.codes, whole.codes)
    np.testing.assert_array_equal(filed.values, whole.values)
    for code in range(7):
        np.testing.assert_array_equal(filed.of_kind(code), whole.of_kind(code))
    assert len(filed.of_kind(3)) > 19_000
    assert filed.of_kind(3).dtype == np.float32


def test_nothing_is_nothing():
    filed = FiledMeasured()
    assert (len(filed), len(filed.codes), len(filed.of_kind(1))) == (0, 0, 0)
