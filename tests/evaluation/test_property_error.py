"""Errors of a property: EDM's two rows that need no network, the intervals, and what a file says was asked."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gaga import load_dataset
from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules, pack
from gaga.core.statistics import Interval
from gaga.data.dataset import Annotations, Dataset
from gaga.data.targets import Scale
from gaga.evaluation import property_error as errors
from gaga.evaluation.property_error import asked_of, property_error, rows_of_data, shown_in
from gaga.models.predictor.checkpoint import Predictor
from gaga.models.predictor.network import PredictorConfig, PredictorNetwork

PUBLISHED = {  # of shuffled labels, and by number of atoms: EDM, table 2, measured again on its second half
    "alpha": (9.04, 3.82), "gap": (1470, 861), "homo": (648, 423), "lumo": (1457, 804), "mu": (1.628, 1.048),
    "Cv": (6.94, 1.968),
}  # fmt: skip


def molecules(n: int) -> PackedMolecules:
    rng = np.random.default_rng(0)
    return pack((np.full(2 + k % 3, 6), rng.normal(size=(2 + k % 3, 3))) for k in range(n))


def dataset(n: int, values: np.ndarray, unit: str = "") -> Dataset:
    order = np.arange(n)
    annotations = Annotations(properties={"p": values.astype(np.float64)}, units={"p": unit})
    splits = {"train": order[: n // 2], "valid": order[:0], "test": order[n // 2 :]}
    return Dataset(
        name="mine", molecules=molecules(n), ids=order, splits=splits, vocabulary=(6,),
        read_annotations=lambda: annotations,
    )  # fmt: skip


def constant(value: float, half: str = "none") -> Predictor:
    """Predicts the same for all molecules: its last layer is zero."""
    config = PredictorConfig(types=1, hidden=4, n_layers=1)
    network = PredictorNetwork(config)
    torch.nn.init.zeros_(network.of_molecule[2].weight)
    torch.nn.init.zeros_(network.of_molecule[2].bias)
    return Predictor(
        property="p", unit="Ha", network=config, vocabulary=(6,), scale=Scale((value,), (1.0,)),
        weights=network.state_dict(), dataset="mine", fingerprint="", half=half,
    )  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_rows_of_qm9_are_the_published_ones(name, monkeypatch):
    def without_bootstrap(values, statistic, *, rng):
        return Interval(float(statistic(values)), np.nan, np.nan)

    monkeypatch.setattr(errors, "interval_of", without_bootstrap)
    qm9 = load_dataset("qm9")
    rows = rows_of_data(qm9, name, halves=True)
    unit, by = shown_in(qm9.annotations.units[name])
    assert unit == ("meV" if name in ("gap", "homo", "lumo") else qm9.annotations.units[name])
    assert [row.n for row in rows] == [50_000, 50_000]
    np.testing.assert_allclose([by * row.mae.estimate for row in rows], PUBLISHED[name], rtol=0.02)


def test_sizes_alone_may_tell_everything():
    values = molecules(300).n_atoms * 10.0
    random, by_size, found = rows_of_data(dataset(300, values), "p", halves=False, predictor=constant(20.0))
    assert by_size.mae == Interval(0.0, 0.0, 0.0)
    assert random.mae.low < random.mae.estimate < random.mae.high
    assert found.mae.estimate == pytest.approx(np.abs(values[150:] - 20).mean())
    assert (random.n, found.n) == (150, 150)
    assert "mine's test split" in found.description


def test_rows_of_halves_are_of_the_second():
    values = np.arange(300.0)
    rows = rows_of_data(dataset(300, values), "p", halves=True, predictor=constant(0.0, "first"))
    assert {row.n for row in rows} == {75}
    assert all("second half" in row.description for row in rows)


def test_molecules_without_a_value_are_left_out():
    values = molecules(100).n_atoms * 1.0
    values[::2] = np.nan
    assert {row.n for row in rows_of_data(dataset(100, values), "p", halves=False)} == {25}
    values[:50] = np.nan
    with pytest.raises(InvalidInput, match="too few molecules have a value of p"):
        rows_of_data(dataset(100, values), "p", halves=False)


def test_errors_are_of_all_molecules_and_of_the_valid_ones():
    packed = pack([*([(np.array([6, 6]), np.eye(3)[:2])] * 30), (np.zeros(0, np.uint8), np.zeros((0, 3)))])
    targets = np.append(np.where(np.arange(30) < 20, 5.0, 8.0), 5.0)
    targets[3] = np.nan
    valid = np.append(np.arange(30) < 10, False)
    found = property_error(constant(6.0), packed, targets, valid, seed=1)
    every, of_valid = found.rows
    assert (every.name, every.n, of_valid.name, of_valid.n) == ("all", 29, "valid", 9)
    assert every.mae.estimate == pytest.approx((19 * 1 + 10 * 2) / 29)
    assert every.mae.low < every.mae.estimate < every.mae.high
    assert of_valid.mae == Interval(1.0, 1.0, 1.0)
    assert np.isnan(found.predicted[30])
    none = property_error(constant(6.0), packed, targets, np.zeros(31, dtype=bool)).rows[1]
    assert none.n == 0
    assert np.isnan(none.mae.estimate)


def frames(tags: list[str]) -> str:
    return "".join(f"2\n{tag}\nH 0 0 0\nH 0 0 0.74\n" for tag in tags)


def test_targets_are_read_from_tags(tmp_path: Path):
    path = tmp_path / "m.xyz"
    path.write_text(frames(["target_p=1.5", "other=3", "target_p=x", "target_p=2"]))
    np.testing.assert_array_equal(asked_of(path, "p"), [1.5, np.nan, np.nan, 2.0])
    with pytest.raises(InvalidInput, match=r"does not say what q was asked .*\(received no target_q\)"):
        asked_of(path, "q")
