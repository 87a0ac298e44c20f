"""Properties as targets: chosen by name, on EDM's scale, and the two rows of its table that need no network."""

import numpy as np
import pytest

from gaga import load_dataset
from gaga.core.errors import InvalidInput
from gaga.core.molecules import pack
from gaga.data.dataset import Annotations, Dataset
from gaga.data.targets import halves_of, scale_of, targets_of


def dataset(name: str = "mine", **properties: list[float]) -> Dataset:
    molecules = pack((np.array([6, 1, 1]), np.random.default_rng(k).normal(size=(3, 3))) for k in range(4))
    annotations = Annotations(
        properties={key: np.array(values, dtype=np.float64) for key, values in properties.items()}, units={"Cv": "cal"}
    )
    splits = {"train": np.array([0, 1]), "valid": np.array([2, 3]), "test": np.zeros(0, dtype=np.int64)}
    return Dataset(
        name=name, molecules=molecules, ids=np.arange(4), splits=splits, vocabulary=(1, 6),
        read_annotations=lambda: annotations,
    )  # fmt: skip


def test_values_are_taken_in_the_order_asked_for():
    targets = targets_of(dataset(a=[1, 2, 3, 4], Cv=[5, 6, 7, 9]), ["Cv", "a"])
    assert targets.units == ("cal", "")
    assert targets.values.tolist() == [[5, 1], [6, 2], [7, 3], [9, 4]]


def test_heat_capacities_of_qm9_are_less_those_of_its_atoms():
    targets = targets_of(dataset("qm9", Cv=[10, 11, 12, 13]), ["Cv"])
    np.testing.assert_allclose(targets.values[:, 0], np.array([10, 11, 12, 13]) - 3 * 2.981)


def test_the_scale_is_of_the_molecules_given_and_can_be_undone():
    targets = targets_of(dataset(a=[100, 200, 3, 5]), ["a"])
    scale = scale_of(targets, np.array([2, 3]))
    assert (scale.mean, scale.deviation) == ((4.0,), (1.0,))
    np.testing.assert_allclose(scale.undone(scale(targets.values)), targets.values)


@pytest.mark.parametrize("names", [["b"], [], ["a", "a"]])
def test_names_that_cannot_be_used_are_rejected(names):
    with pytest.raises(InvalidInput):
        targets_of(dataset(a=[1, 2, 3, 4]), names)


@pytest.mark.parametrize("values", [[1, 2, 7, 7], [1, 2, np.nan, np.nan]])
def test_a_property_without_spread_is_rejected(values):
    with pytest.raises(InvalidInput, match="nothing can be learnt of a"):
        scale_of(targets_of(dataset(a=values), ["a"]), np.array([2, 3]))


def test_an_infinite_value_is_rejected():
    with pytest.raises(InvalidInput, match="infinite"):
        targets_of(dataset(a=[1, 2, 3, np.inf]), ["a"])


def test_shuffled_labels_and_sizes_alone_have_the_errors_that_edm_prints():
    """EDM, table 2: 9.01 and 3.86 for alpha (Bohr^3), 6.857 and 1.971 for Cv (cal/mol K)."""
    qm9 = load_dataset("qm9")
    targets = targets_of(qm9, ["alpha", "Cv"])
    judge, generator = halves_of(qm9)
    assert len(judge) == len(generator) == 50_000
    assert not set(judge) & set(generator)
    values = targets.values[generator]
    shuffled = values[np.random.default_rng(0).permutation(len(values))]
    np.testing.assert_allclose(np.abs(values - shuffled).mean(axis=0), [9.01, 6.857], rtol=0.02)
    of_size = np.full((30, 2), np.nan)
    for n in np.unique(qm9.n_atoms[judge]):
        of_size[n] = np.median(targets.values[judge][qm9.n_atoms[judge] == n], axis=0)
    error = np.abs(values - of_size[qm9.n_atoms[generator]])
    np.testing.assert_allclose(np.nanmean(error, axis=0), [3.86, 1.971], rtol=0.02)
