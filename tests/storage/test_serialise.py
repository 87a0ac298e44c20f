"""Dataclasses to trees and back; the store's own tests cover the round trip through a file."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest
from jaxtyping import Float, Float64, Int64
from numpy.typing import NDArray

from gaga.core.errors import InvalidInput
from gaga.noise import Schedule, make_schedule
from gaga.storage.serialise import digest, field_metadata, flatten, from_tree, size_in_bytes, to_json, to_tree


@dataclass(frozen=True)
class Holder:
    value: Any


def held(value: Any) -> Any:
    return to_tree(Holder(value))["value"]


@pytest.mark.parametrize(
    ("value", "node"),
    [
        (np.float32(0.5), 0.5),
        (np.float64(0.5), 0.5),
        (np.bool_(True), True),
        (np.int32(3), 3),
        (np.array(2.5), 2.5),
        (np.str_("a"), "a"),
        ((1, 2.5), {"0": 1, "1": 2.5}),
        ((True, 1), {"0": True, "1": 1}),
        (((1, 2), "a"), {"0": np.array([1, 2]), "1": "a"}),
        ((None,), {"0": None}),
        ({"a": Holder(1)}, {"a": {"value": 1}}),
    ],
)
def test_nodes(value: Any, node: Any) -> None:
    assert type(held(value)) is type(node)
    np.testing.assert_equal(held(value), node)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        ((1, 2), np.int64),
        ((0.5,), np.float64),
        ((True,), np.bool_),
        (("a", "bc"), np.dtype("<U2")),
        ((), np.float64),
        (np.zeros(2, np.float16), np.float16),
        (np.zeros(2, ">f4"), np.dtype("=f4")),
        (np.array(["a", "bc"], dtype=object), np.dtype("<U2")),
    ],
)
def test_arrays(value: Any, dtype: Any) -> None:
    assert held(value).dtype == np.dtype(dtype)


@pytest.mark.parametrize(
    "value", [1j, b"raw", {1, 2}, np.zeros(2, complex), np.zeros(2, "M8[s]"), np.array([1, "a"], dtype=object)]
)
def test_what_has_no_place_is_named(value: Any) -> None:
    with pytest.raises(TypeError, match="value"):
        to_tree(Holder(value))


@pytest.mark.parametrize("key", ["", ".", "a/b", "a\nb", 3])
def test_unusable_keys_are_refused(key: Any) -> None:
    with pytest.raises(InvalidInput, match="keys"):
        to_tree(Holder({key: 1}))


def read(node: Any, hint: Any) -> Any:
    as_type = dataclass(type("Typed", (), {"__annotations__": {"value": hint}}))
    return from_tree({"value": node}, as_type).value  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("node", "hint", "value"),
    [
        (1, float, 1.0),
        (1, float | None, 1.0),
        (None, float | None, None),
        ("x", int | str, "x"),
        ("a", Literal["a", "b"], "a"),
        (np.array([1, 2]), tuple[int, ...], (1, 2)),
        (np.array([1, 2]), tuple[float, float], (1.0, 2.0)),
        (np.zeros(0), tuple[str, ...], ()),
        ({str(i): i for i in (10, 9, *range(9))}, tuple[int, ...], tuple(range(11))),
        ({"a": 1}, dict[str, float], {"a": 1.0}),
        ("anything", Any, "anything"),
    ],
)
def test_reading_by_type(node: Any, hint: Any, value: Any) -> None:
    got = read(node, hint)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize("node", [np.arange(6.0).reshape(2, 3), np.zeros((0, 3))])
@pytest.mark.parametrize(
    "hint", [np.ndarray, NDArray[np.float64], Float[np.ndarray, "A 3"], Float[np.ndarray, "T+1 3"]]
)
def test_reading_arrays(node: Any, hint: Any) -> None:
    assert read(node, hint) is node


@pytest.mark.parametrize(
    ("node", "hint"),
    [
        (1.5, int),
        (True, int),
        (True, float),
        ("1", float),
        (None, float),
        ("c", Literal["a", "b"]),
        (1.5, int | str),
        (np.array([1, 2]), tuple[int, int, int]),
        (np.array(["a"]), tuple[int, ...]),
        (np.zeros((2, 2)), tuple[float, ...]),
        (3, tuple[int, ...]),
        (3, dict[str, int]),
        (3, Holder),
        (None, np.ndarray),
        ({"a": 1}, np.ndarray),
        (np.zeros(2), Int64[np.ndarray, " n"]),
        (np.zeros(2), Float64[np.ndarray, "n 3"]),
    ],
)
def test_misfits_are_told(node: Any, hint: Any) -> None:
    with pytest.raises(InvalidInput, match=r"value(\.0)? should be .* \(received"):
        read(node, hint)


@dataclass(frozen=True)
class Grown:
    """A record that a later version gave a second field."""

    old: int
    new: float | None = None


def test_a_field_with_a_default_may_be_missing() -> None:
    assert from_tree({"old": 1}, Grown) == Grown(1)
    assert from_tree({"old": 1, "new": 2.0}, Grown) == Grown(1, 2.0)
    with pytest.raises(InvalidInput, match="old differ"):
        from_tree({"new": 2.0}, Grown)
    with pytest.raises(InvalidInput, match="newer differ"):
        from_tree({"old": 1, "newer": 2.0}, Grown)


def test_a_schedule_comes_back() -> None:
    schedule = make_schedule(T=10)
    back = from_tree(to_tree(schedule), Schedule)
    assert back.name == schedule.name
    np.testing.assert_array_equal(back.gamma, schedule.gamma)


def test_digest_sees_values_types_shapes_and_names_but_not_order() -> None:
    tree = {"a": np.arange(6), "b": {"c": 1.0, "d": "x"}}
    same = {"b": {"d": "x", "c": 1.0}, "a": np.arange(12)[::2] // 2}
    assert digest(tree) == digest(same)
    others = [
        tree | {"a": np.arange(6).astype(np.int32)},
        tree | {"a": np.arange(6).reshape(2, 3)},
        tree | {"a": np.arange(1, 7)},
        tree | {"b": {"c": 1, "d": "x"}},
        tree | {"b": {"c": 1.0, "d": "y"}},
        tree | {"b": {"c": None, "d": "x"}},
        {"a": np.arange(6), "e": {"c": 1.0, "d": "x"}},
    ]
    assert len({digest(tree), *map(digest, others)}) == len(others) + 1
    # Where one text ends and the next begins counts.
    assert digest({"a": np.array(["ab", "c"])}) != digest({"a": np.array(["a", "bc"])})


def test_flatten_and_size() -> None:
    tree = {"a": np.zeros(3), "b": {"c": 1, "d": None}}
    assert list(flatten(tree)) == ["a", "b.c", "b.d"]
    assert size_in_bytes(tree) == 3 * 8 + 8


def test_metadata_of_nothing_is_empty() -> None:
    assert field_metadata(Holder((1, {"a": Holder(2)}))) == {}


def test_json_is_canonical() -> None:
    assert to_json({"b": 1, "a": {"d": (1, 2), "c": np.float64(0.1)}}) == '{"a": {"c": 0.1, "d": [1, 2]}, "b": 1}'
