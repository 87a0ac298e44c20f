"""Bad input is answered, not crashed on: about 160 cases; benchmarks/fuzz.py runs the same properties for longer."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz.bases import bases
from tests.fuzz.properties import PROPERTIES, Property

CASES = 160
_SHARES = sum(each.share for each in PROPERTIES)
# Derandomised: the same cases on every machine, so that only a change of the code can make one fail.
CI = settings(
    derandomize=True, deadline=None, database=None, print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip


@pytest.mark.parametrize("each", PROPERTIES, ids=lambda each: each.name)
def test_every_case_ends_in_an_answer(each: Property):
    bases()  # made once, and not within the time of a case

    @settings(CI, max_examples=round(CASES * each.share / _SHARES))
    @given(each.cases())
    def holds(case):
        with tempfile.TemporaryDirectory() as folder:
            each.check(case, Path(folder))

    holds()
