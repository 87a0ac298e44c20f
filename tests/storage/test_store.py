"""The result store: round trips, provenance, and that nothing is ever half written."""

import errno
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import pytest
from jaxtyping import Bool, Float32, Float64, Int64, Shaped, UInt8
from numpy.typing import NDArray

from gaga.core.errors import Conflict, InvalidInput, NotFound, Unavailable
from gaga.storage import store as store_module
from gaga.storage.store import Entry, Store


@pytest.fixture(autouse=True)
def nothing_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The results that ship with gaga stay out of these tests; those about them bring their own."""
    monkeypatch.setattr(store_module, "SHIPPED_STORE", tmp_path / "nothing_shipped.h5")


@dataclass(frozen=True, eq=False, kw_only=True)
class Curve:
    distance: Float64[np.ndarray, " steps"] = field(metadata={"unit": "probability", "dims": ("step",)})
    estimator: Literal["mean", "quantile"] = "mean"


@dataclass(frozen=True, eq=False, kw_only=True)
class Result:
    curve: Curve
    by_block: dict[str, Curve]
    numbers: dict[str, float]
    history: tuple[Curve, ...]
    names: tuple[str, ...]
    steps: tuple[int, ...]
    nothing: tuple[float, ...]
    pair: tuple[int, str]
    tstar: int | None
    note: str | None
    level: float
    passed: bool
    positions: Float32[np.ndarray, "A 3"] = field(metadata={"unit": "Å", "dims": ("atom", "axis")})
    elements: UInt8[np.ndarray, " A"]
    offsets: Int64[np.ndarray, " M"]
    flags: Bool[np.ndarray, "M 2"]
    smiles: Shaped[np.ndarray, " M"]
    hashes: NDArray[np.bytes_]
    mean: Float64[np.ndarray, ""]


@dataclass(frozen=True)
class Number:
    value: float


@pytest.fixture
def result() -> Result:
    rng = np.random.default_rng(0)
    curve = Curve(distance=rng.normal(size=5))
    return Result(
        curve=curve,
        by_block={"types": replace(curve, estimator="quantile"), "positions": curve},
        numbers={"z": 1.5, "a": np.inf},
        history=(curve, curve),
        names=("Å", "snow ☃", ""),
        steps=(550, 650),
        nothing=(),
        pair=(3, "x"),
        tstar=None,
        note="as typed",
        level=0.95,
        passed=True,
        positions=rng.normal(size=(5000, 3)).astype(np.float32),
        elements=np.full(5000, 6, dtype=np.uint8),
        offsets=np.arange(4),
        flags=np.array([[True, False], [False, True]]),
        smiles=np.array(["CCO", "N#N", "C[C@H](N)C(=O)O"]),
        hashes=np.array([b"abc", b"de"]),
        mean=np.array(2.5),
    )


def same_contents(a: Any, b: Any) -> bool:
    """Equal types, dtypes and values, recursively."""
    if hasattr(a, "__dataclass_fields__"):
        return type(a) is type(b) and same_contents(vars(a), vars(b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same_contents(a[key], b[key]) for key in a)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same_contents, a, b))
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b)
    return type(a) is type(b) and bool(a == b)


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if "tmp" in path.name)


def test_round_trip(tmp_path: Path, result: Result) -> None:
    Store(tmp_path / "s.h5").put("variance", "one", result, config={})
    assert same_contents(Store(tmp_path / "s.h5").get("variance", "one", Result), result)


def test_same_contents_can_fail(result: Result) -> None:
    assert not same_contents(replace(result, curve=replace(result.curve, distance=np.zeros(5))), result)
    assert not same_contents(replace(result, passed=1), result)


def test_large_arrays_are_compressed_and_described(tmp_path: Path, result: Result) -> None:
    Store(tmp_path / "s.h5").put(
        "variance", "one", replace(result, positions=np.zeros((9000, 3), np.float32)), config={}
    )
    with h5py.File(tmp_path / "s.h5", "r") as file:
        positions = file["variance/one/positions"]
        assert (positions.compression, positions.shuffle) == ("gzip", True)
        assert positions.attrs["unit"] == "Å"
        assert list(positions.attrs["dims"]) == ["atom", "axis"]
        assert list(file["variance/one/by_block/types/distance"].attrs["dims"]) == ["step"]
        assert list(file["variance/one/by_block"].attrs["members"]) == ["types", "positions"]
    assert (tmp_path / "s.h5").stat().st_size < 60_000


def test_entry_tells_where_a_result_comes_from(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.h5")
    config = {
        "fraction": 0.5,
        "grid": (50, 1000),
        "out": Path("a.png"),
        "nested": {"deep": np.int64(3)},
        "n": Number(2.0),
    }
    entry = store.put("tstar", "Mine", Number(1.0), config=config, inputs={"qm9": "ab12"}, seed=7)
    assert entry == store.find("tstar", "Mine")
    assert entry.config == {
        "fraction": 0.5,
        "grid": [50, 1000],
        "out": "a.png",
        "nested": {"deep": 3},
        "n": {"value": 2.0},
    }
    assert (entry.inputs, entry.seed, entry.nbytes, entry.shipped) == ({"qm9": "ab12"}, 7, 8, False)
    assert entry.format_version == 1
    assert entry.created.endswith("+00:00")


def test_digest_is_as_the_format_says(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Mixed:
        b: tuple[str, ...]
        a: int
        n: None

    entry = Store(tmp_path / "s.h5").put("k", "n", Mixed(b=("é", "x"), a=-1, n=None), config={})
    content = b"a\0int64\0\0" + b"\xff" * 8
    content += b"b\0str\0" + b"2\0" + (2).to_bytes(8, "little") + "é".encode() + (1).to_bytes(8, "little") + b"x"
    content += b"n\0none\0\0"
    assert entry.digest == hashlib.sha256(content).hexdigest()


def test_names_ignore_case_and_are_kept_as_typed(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.h5")
    store.put("tstar", "Straße QM9", Number(1.0), config={})
    assert store.require("tstar", "STRASSE qm9").name == "Straße QM9"
    assert store.get("tstar", "strasse qm9", Number) == Number(1.0)
    with pytest.raises(Conflict):
        store.put("tstar", "STRASSE QM9", Number(2.0), config={"changed": True})
    assert [entry.name for entry in store.entries()] == ["Straße QM9"]


@pytest.mark.parametrize("name", ["", "  ", ".", "..", "a/b", "a\nb", "a\0b", "\ud800"])
def test_unusable_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput):
        Store(tmp_path / "s.h5").put("tstar", name, Number(1.0), config={})


@pytest.mark.parametrize("kind", ["", "Tstar", "a/b", "a b", "tstar\n"])
def test_unusable_kinds_are_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(InvalidInput):
        Store(tmp_path / "s.h5").find(kind, "x")


@pytest.mark.parametrize("name", ["run 1", "a.b", "ß☃", "C:\\x", "name with 'quotes'", " padded "])
def test_odd_names_work(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path / "s.h5")
    store.put("tstar", name, Number(1.0), config={})
    assert store.get("tstar", name, Number) == Number(1.0)


def test_same_computation_is_left_as_it_is(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.h5")
    first = store.put("tstar", "x", Number(1.0), config={"a": 1}, seed=0)
    before = (tmp_path / "s.h5").read_bytes()
    assert store.put("tstar", "x", Number(2.0), config={"a": 1}, seed=0) == first
    assert (tmp_path / "s.h5").read_bytes() == before


def test_the_same_computation_is_written_anew_where_that_is_asked_for_and_another_is_not(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.h5")
    store.put("train", "x", Number(1.0), config={"a": 1}, renew=True)
    store.put("train", "x", Number(2.0), config={"a": 1}, renew=True)
    assert store.get("train", "x", Number) == Number(2.0)
    with pytest.raises(Conflict, match="already stored"):
        store.put("train", "x", Number(3.0), config={"a": 2}, renew=True)
    assert store.get("train", "x", Number) == Number(2.0)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"config": {"fraction": 0.5, "grid": {"step": 50}}}, "fraction 0.1 (asked for 0.5)"),
        ({"config": {"fraction": 0.1, "grid": {"step": 10}}}, "grid.step 50 (asked for 10)"),
        ({"config": {"fraction": 0.1}}, "grid.step 50 (asked for absent)"),
        ({"inputs": {"qm9": "ef"}}, "input qm9 ab (asked for ef)"),
        ({"seed": 1}, "the seed 0 (asked for 1)"),
        ({"seed": None}, "the seed 0 (asked for None)"),
    ],
)
def test_other_computation_conflicts(tmp_path: Path, changed: dict[str, Any], told: str) -> None:
    store = Store(tmp_path / "s.h5")
    key = {"config": {"fraction": 0.1, "grid": {"step": 50}}, "inputs": {"qm9": "ab"}, "seed": 0}
    store.put("tstar", "x", Number(1.0), **key)
    assert store.same("tstar", "X", **key) is not None
    assert store.same("tstar", "X", **(key | changed)) is None
    with pytest.raises(Conflict) as error:
        store.put("tstar", "x", Number(2.0), **(key | changed))
    assert told in error.value.line
    assert "`name`" in error.value.line
    assert "`replace=True`" in error.value.line
    store.put("tstar", "X", Number(2.0), **(key | changed), replace=True)
    assert store.get("tstar", "x", Number) == Number(2.0)
    assert [entry.name for entry in store.entries()] == ["X"]


def test_a_seed_in_the_configuration_counts(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.h5")
    store.put("tstar", "x", Number(1.0), config={"seed": 0})
    assert store.same("tstar", "x", config={"seed": 1}) is None


def test_replacing_gives_space_back(tmp_path: Path, result: Result) -> None:
    store = Store(tmp_path / "s.h5")
    store.put("variance", "one", result, config={})
    size = store.path.stat().st_size
    for i in range(3):
        store.put("variance", "one", result, config={"i": i}, replace=True)
    assert store.path.stat().st_size < 1.1 * size


def test_other_entries_survive(tmp_path: Path, result: Result) -> None:
    store = Store(tmp_path / "s.h5")
    one = store.put("variance", "one", result, config={})
    store.put("tstar", "two", Number(2.0), config={})
    store.put("tstar", "two", Number(3.0), config={"x": 1}, replace=True)
    store.delete("tstar", "TWO")
    assert store.entries() == [one]
    assert same_contents(store.get("variance", "one", Result), result)
    with pytest.raises(NotFound):
        store.delete("tstar", "two")


def test_entries_are_sorted_and_filtered(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.h5")
    for kind, name in [("tstar", "b"), ("tstar", "A"), ("sample", "z")]:
        store.put(kind, name, Number(1.0), config={})
    assert [(e.kind, e.name) for e in store.entries()] == [("sample", "z"), ("tstar", "A"), ("tstar", "b")]
    assert [e.name for e in store.entries("tstar")] == ["A", "b"]


def test_arrays_are_flat(tmp_path: Path, result: Result) -> None:
    store = Store(tmp_path / "s.h5")
    store.put("variance", "one", result, config={})
    flat = store.arrays("variance", "ONE")
    assert np.array_equal(flat["by_block.types.distance"], result.curve.distance)
    assert (flat["tstar"], flat["level"], flat["by_block.types.estimator"]) == (None, 0.95, "quantile")


def test_reading_as_another_type_is_refused(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Text:
        value: str

    @dataclass(frozen=True)
    class More:
        value: float
        more: float

    store = Store(tmp_path / "s.h5")
    store.put("tstar", "x", Number(1.0), config={})
    with pytest.raises(InvalidInput, match="value should be str"):
        store.get("tstar", "x", Text)
    with pytest.raises(InvalidInput, match="more"):
        store.get("tstar", "x", More)


def test_missing_store_reads_as_empty(tmp_path: Path) -> None:
    store = Store(tmp_path / "no" / "s.h5", shipped=False)
    assert store.entries() == []
    assert store.find("tstar", "x") is None
    with pytest.raises(NotFound, match="folder"):
        store.put("tstar", "x", Number(1.0), config={})
    assert not (tmp_path / "no").exists()


def test_not_found_suggests(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.h5", shipped=False)
    store.put("gaussianity", "Identity_to_Gaussian_QM9", Number(1.0), config={})
    with pytest.raises(NotFound) as error:
        store.require("gaussianity", "identity_to_gausian_qm9")
    assert "Did you mean Identity_to_Gaussian_QM9?" in error.value.line
    assert "gaga gaussianity --dataset qm9" in error.value.line
    with pytest.raises(NotFound, match="no tstar result"):
        store.get("tstar", "zzz", Number)


@pytest.mark.parametrize("content", [b"", b"not HDF5 at all", b"\x89HDF\r\n\x1a\n" + b"\0" * 400])
def test_corrupt_file_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.h5"
    path.write_bytes(content)
    for act in (lambda s: s.entries(), lambda s: s.put("tstar", "x", Number(1.0), config={})):
        with pytest.raises(InvalidInput) as error:
            act(Store(path))
        assert "\n" not in error.value.line
        assert str(path) in error.value.line
    assert path.read_bytes() == content


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_truncated_file_is_refused(tmp_path: Path, result: Result, keep: float) -> None:
    path = tmp_path / "s.h5"
    Store(path).put("variance", "one", result, config={})
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(InvalidInput, match="not a gaga store"):
        Store(path).get("variance", "one", Result)


def test_changed_values_are_noticed(tmp_path: Path, result: Result) -> None:
    path = tmp_path / "s.h5"
    Store(path).put("variance", "one", result, config={})
    with h5py.File(path, "r+") as file:
        file["variance/one/elements"][17] = 8
    with pytest.raises(InvalidInput, match="damaged"):
        Store(path).get("variance", "one", Result)


def test_other_files_and_newer_stores_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["data"] = np.arange(3)
    with pytest.raises(InvalidInput, match="not a gaga store"):
        Store(path).put("tstar", "x", Number(1.0), config={})
    with h5py.File(path, "r+") as file:
        file.attrs.update(format="gaga-store", format_version=2)
    with pytest.raises(InvalidInput, match="newer gaga"):
        Store(path).entries()


def test_a_folder_is_not_a_store(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="not a gaga store"):
        Store(tmp_path).entries()


@pytest.mark.parametrize(
    ("victim", "failure", "seen"),
    [
        ("write_tree", KeyboardInterrupt(), KeyboardInterrupt),
        ("_verify", OSError(errno.ENOSPC, "No space left on device"), Unavailable),
        ("_verify", KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_failure_midway_leaves_the_old_file(
    tmp_path: Path,
    result: Result,
    victim: str,
    failure: BaseException,
    seen: type[BaseException],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = Store(tmp_path / "s.h5")
    store.put("variance", "one", result, config={})
    before = store.path.read_bytes()
    original: Callable[..., None] = getattr(store_module, victim)

    def fail(*args: Any) -> None:
        original(*args)
        raise failure

    monkeypatch.setattr(store_module, victim, fail)
    with pytest.raises(seen):
        store.put("variance", "one", result, config={"x": 1}, replace=True)
    assert store.path.read_bytes() == before
    assert leftovers(tmp_path) == []


def test_what_cannot_be_stored_leaves_the_file(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.h5")
    for odd in (object(), np.zeros(2, complex), np.array([object()])):
        with pytest.raises(TypeError, match="value"):
            store.put("tstar", "x", Number(odd), config={})  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="finite"):
        store.put("tstar", "x", Number(1.0), config={"a": float("nan")})
    with pytest.raises(TypeError):
        store.put("tstar", "x", Number(1.0), config={"a": object()})
    assert not store.path.exists()


_FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from dataclasses import dataclass
from gaga.storage.blocks import Blocks, Column
from gaga.core.errors import Unavailable
from gaga.storage.store import Store
@dataclass(frozen=True)
class Result:
    values: Blocks | np.ndarray
values = np.random.default_rng(0).normal(size=10**5)
if sys.argv[2] == "pieces":
    column = Column(Path(sys.argv[1]).parent, float)
    for piece in np.split(values, 100):
        column.append(piece)
    list(column)
    values = column
limit = int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    Store(sys.argv[1]).put("variance", "big", Result(values), config={})
except Unavailable as error:
    print(error.line)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of a file with setrlimit")
@pytest.mark.parametrize(
    ("how", "limit"), [("whole", 100_000), ("pieces", 100_000), ("pieces", 400_000), ("pieces", 1)]
)
def test_full_disk_leaves_the_old_file(tmp_path: Path, how: str, limit: int) -> None:
    store = Store(tmp_path / "s.h5")
    store.put("tstar", "x", Number(1.0), config={})
    before = store.path.read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", _FULL_DISK, str(store.path), how, str(limit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert done.stdout.startswith(f"cannot write {store.path}: File too large."), done.stderr
    assert (done.stdout.count("\n"), done.stderr) == (1, "")
    assert store.path.read_bytes() == before
    assert leftovers(tmp_path) == []


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a folder that not even root writes to")
def test_unwritable_folder() -> None:
    with pytest.raises(Unavailable, match="cannot write"):
        Store("/proc/gaga.h5").put("tstar", "x", Number(1.0), config={})


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder_is_read_and_not_written(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.h5")
    store.put("tstar", "x", Number(1.0), config={})
    before = store.path.read_bytes()
    tmp_path.chmod(0o555)
    try:
        assert store.get("tstar", "x", Number) == Number(1.0)
        with pytest.raises(Unavailable, match="cannot write"):
            store.put("tstar", "y", Number(1.0), config={})
    finally:
        tmp_path.chmod(0o755)
    assert store.path.read_bytes() == before


_PUT_SOME = """
import sys
from gaga.core.statistics import Interval
from gaga.storage.store import Store
for i in range(3):
    Store(sys.argv[1]).put("tstar", f"{sys.argv[2]}-{i}", Interval(float(sys.argv[2]), 0.0, 1.0), config={"i": i})
"""


def test_concurrent_writers_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    writers = [subprocess.Popen([sys.executable, "-c", _PUT_SOME, str(path), str(w)]) for w in range(4)]
    assert [writer.wait() for writer in writers] == [0] * 4
    store = Store(path, shipped=False)
    assert [e.name for e in store.entries()] == [f"{w}-{i}" for w in range(4) for i in range(3)]
    assert all(store.arrays("tstar", e.name)["estimate"] == float(e.name[0]) for e in store.entries())
    assert leftovers(tmp_path) == []


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Entry:
    path = tmp_path / "package" / "results.h5"
    path.parent.mkdir()
    entry = Store(path, shipped=False).put("gaussianity", "Common", Number(1.0), config={"fraction": 1.0})
    monkeypatch.setattr(store_module, "SHIPPED_STORE", path)
    return replace(entry, shipped=True)


def test_shipped_results_are_found(tmp_path: Path, shipped: Entry) -> None:
    store = Store(tmp_path / "s.h5")
    assert store.find("gaussianity", "common") == shipped
    assert store.same("gaussianity", "common", config={"fraction": 1.0}) == shipped
    assert store.get("gaussianity", "common", Number) == Number(1.0)
    assert store.entries() == [shipped]
    assert not store.path.exists()


def test_shipped_results_can_be_ignored(tmp_path: Path, shipped: Entry) -> None:
    store = Store(tmp_path / "s.h5", shipped=False)
    assert store.find("gaussianity", "common") is None
    assert store.entries() == []


def test_own_results_hide_shipped_ones(tmp_path: Path, shipped: Entry) -> None:
    store = Store(tmp_path / "s.h5")
    own = store.put("gaussianity", "common", Number(2.0), config={"fraction": 0.1})
    assert store.get("gaussianity", "Common", Number) == Number(2.0)
    assert store.entries() == [own]
    store.delete("gaussianity", "common")
    assert store.entries() == [shipped]


def test_shipped_results_cannot_be_changed(tmp_path: Path, shipped: Entry) -> None:
    before = store_module.SHIPPED_STORE.read_bytes()
    with pytest.raises(Unavailable, match="comes with gaga"):
        Store(tmp_path / "s.h5").delete("gaussianity", "common")
    for act in (
        lambda s: s.put("tstar", "x", Number(1.0), config={}),
        lambda s: s.delete("gaussianity", "common"),
    ):
        with pytest.raises(Unavailable, match="read-only"):
            act(Store(store_module.SHIPPED_STORE))
    assert store_module.SHIPPED_STORE.read_bytes() == before


def test_another_language_can_read_it(tmp_path: Path, result: Result) -> None:
    """What docs/FORMAT.md says of the file, read with h5py alone."""
    Store(tmp_path / "s.h5").put("variance", "one", result, config={"a": 1}, seed=3)
    with h5py.File(tmp_path / "s.h5", "r") as file:
        assert (file.attrs["format"], file.attrs["format_version"]) == ("gaga-store", 1)
        entry = file["variance/one"]
        assert set(entry.attrs) == {
            "format_version",
            "gaga_version",
            "created",
            "seed",
            "config",
            "inputs",
            "digest",
            "nbytes",
            "members",
        }
        assert json.loads(entry.attrs["config"]) == {"a": 1}
        assert list(entry.attrs["members"]) == list(Result.__dataclass_fields__)
        assert entry["tstar"].shape is None
        assert entry["level"][()] == 0.95
        assert entry["names"].asstr()[1] == "snow ☃"
        assert list(entry["pair"].attrs["members"]) == ["0", "1"]
