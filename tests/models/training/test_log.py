import numpy as np
import pytest

from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules, offsets_of
from gaga.data import Dataset
from gaga.models.training.log import History, Metrics, Window, validated


def row(step, stable=None):
    return Metrics(step=step, epoch=0, seconds=1.0, learning_rate=1e-3, train_loss=0.5, gradient_norm=2.0,
                   atom_stable=stable)  # fmt: skip


def test_the_log_is_written_whole_and_read_again(tmp_path):
    path, history = tmp_path / "metrics.jsonl", History()
    for step in (3, 6):
        history.add(row(step))
        history.write(path)
    assert [line.count("step") for line in path.read_text().splitlines()] == [1, 1]
    assert History.at(6, path, {}).rows == history.rows


def test_a_state_goes_on_with_the_rows_up_to_it_and_with_its_window(tmp_path):
    path, history = tmp_path / "metrics.jsonl", History([row(3), row(6)])
    history.write(path)
    window = {"losses": [1.0, 2.0], "norms": [3.0, 4.0], "clipped": 1}
    between = History.at(5, path, window)
    assert (between.rows, between.window) == ([row(3)], Window(**window))
    measured = History.at(6, path, window)  # killed after the row was written: it is about this window already
    assert (measured.rows, measured.window) == ([row(3), row(6)], Window())


def test_the_part_of_the_time_that_steps_waited():
    window = Window()
    assert window.means()["data_wait"] is None
    window.add(0.5, 1.0, 2.0)
    window.spend(3.0, 0.0)
    assert window.note() == "loss 0.5000"
    window.spend(1.0, 0.5)
    assert window.means()["data_wait"] == 0.125
    assert window.note() == "loss 0.5000, waits for data 12%"


def test_a_row_without_a_stable_atom_is_a_sampled_one():
    assert History([row(6, stable=0.0)]).reaches(6, sampled=True)
    assert not History([row(6)]).reaches(6, sampled=True)
    assert not History([row(6, stable=0.5)]).reaches(7)
    assert not History().reaches(0)


def test_a_file_that_is_no_log_is_told(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("{")
    with pytest.raises(InvalidInput, match="no log"):
        History.at(1, tmp_path / "metrics.jsonl", {})


@pytest.mark.parametrize("conformers", [1, 30])
def test_validation_sees_many_molecules_whatever_the_number_of_their_conformers(conformers):
    n = 6000
    splits = {"train": np.arange(1500), "valid": np.arange(1500, n), "test": np.arange(0)}
    atoms = PackedMolecules(np.zeros((n, 3), np.float32), np.ones(n, np.uint8), offsets_of([1] * n))
    groups = None if conformers == 1 else np.arange(n) // conformers
    dataset = Dataset(name="d", molecules=atoms, ids=np.arange(n), splits=splits, vocabulary=(1,), groups=groups)
    seen = validated(dataset)
    assert len(np.unique(seen)) == 2000
    assert set(seen) <= set(splits["valid"])
    if groups is None:
        np.testing.assert_array_equal(seen, np.arange(1500, 3500))
    else:
        assert set(groups[seen]) == set(groups[1500:])
