"""Records: what makes a molecule usable."""

import numpy as np
import pytest

from gaga.chem.records import RawRecord, Record, Skipped, checked, text_of
from gaga.core.errors import InvalidInput


def raw(symbols="CHH", coordinates=((0, 0, 0), (1, 0, 0), (0, 1, 0)), declared_3d=True) -> RawRecord:
    return RawRecord(
        symbols=list(symbols),
        coordinates=[list(map(float, xyz)) for xyz in coordinates],
        name="x",
        properties={},
        declared_3d=declared_3d,
    )


def test_a_usable_record():
    record = checked(raw(symbols=["Cl", "D", "6"]), "here")
    assert isinstance(record, Record)
    assert record.atomic_numbers.tolist() == [17, 1, 6]
    assert record.positions.shape == (3, 3)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (raw(symbols="", coordinates=()), "no atoms"),
        (raw(symbols=["C", "R#", "H"]), "unknown element"),
        (raw(symbols=["C", "0", "H"]), "unknown element"),
        (raw(symbols=["C", "119", "H"]), "unknown element"),
        (raw(coordinates=((0, 0, 0), (1, 0, float("nan")), (0, 1, 0))), "non-finite coordinates"),
        (raw(coordinates=((0, 0, 0), (1, 0, float("inf")), (0, 1, 0))), "non-finite coordinates"),
        (raw(coordinates=((0, 0, 0), (1, 0, 1e30), (0, 1, 0))), "coordinates beyond 100,000 Å"),
        (raw(coordinates=((0, 0, 0), (1, 0, -1e300), (0, 1, 0))), "coordinates beyond 100,000 Å"),
        (raw(symbols=["C", "9" * 5000, "H"]), "unknown element"),
        (raw(declared_3d=False), "no 3D coordinates"),
        (raw(coordinates=((0, 0, 0),) * 3), "no 3D coordinates"),
    ],
)
def test_an_unusable_record_is_named(found, reason):
    skipped = checked(found, "file.sdf, record 7")
    assert isinstance(skipped, Skipped)
    assert (skipped.reason, skipped.where) == (reason, "file.sdf, record 7")


def test_a_single_atom_is_no_drawing():
    assert isinstance(checked(raw("C", ((0, 0, 0),), declared_3d=False), ""), Record)


def test_members_that_do_not_fit_are_refused():
    with pytest.raises((InvalidInput, TypeError)):  # the latter where shapes are checked at run time
        Record(np.array([6], dtype=np.uint8), np.zeros((2, 3)))


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "true"), (np.bool_(False), "false"), (0.1, "0.1"), (np.float32(0.5), "0.5"), (3, "3"), ("a\n b", "a b")],
)
def test_properties_are_one_line_of_text(value, text):
    assert text_of(value) == text
