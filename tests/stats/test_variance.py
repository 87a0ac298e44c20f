import numpy as np
import pytest

from gaga.core.errors import InvalidInput
from gaga.core.molecules import pack
from gaga.data.features import FeatureSpace
from gaga.stats.variance import mean_deviations, variance


@pytest.fixture(scope="module")
def of_qm9(qm9, space):
    return variance(qm9, space)


def test_the_means_over_qm9(of_qm9):
    """All 130,831 molecules; 0.848 is what the papers print as a variance."""
    assert of_qm9.n_molecules == 130_831
    assert [f"{v:.4f}" for v in of_qm9.standard_deviation_biased.mean] == ["1.3812", "0.0862", "0.8486"]
    for statistic, printed in [
        (of_qm9.variance_biased, ["1.9266", "0.00745", "0.7271"]),
        (of_qm9.variance_subspace, ["2.0416", "0.00790", "0.7705"]),
    ]:
        positions, types, both = statistic.mean
        assert [f"{positions:.4f}", f"{types:.5f}", f"{both:.4f}"] == printed


def test_the_mean_deviations_alone_are_the_same_numbers(of_qm9, qm9, space):
    np.testing.assert_array_equal(mean_deviations(qm9, space, threads=2), of_qm9.standard_deviation_biased.mean[:2])


def test_positions_spread_with_the_size(of_qm9):
    by_size = dict(zip(of_qm9.sizes.tolist(), of_qm9.variance_subspace.mean_by_size[:, 0], strict=True))
    assert by_size[9] < by_size[18] < by_size[27]
    assert by_size[18] == pytest.approx(2.00, abs=0.01)
    assert of_qm9.molecules_by_size.sum() == 130_831


def test_each_definition_by_hand(space):
    rng = np.random.default_rng(0)
    molecules = pack([([6, 1, 8], rng.normal(size=(3, 3))), ([6, 6], rng.normal(size=(2, 3))), ([7] * 3, np.eye(3))])
    result = variance(molecules, space)
    values = space.encode(molecules)
    for i, (start, stop) in enumerate(zip(molecules.offsets[:-1], molecules.offsets[1:], strict=True)):
        for b, columns in enumerate([slice(0, 3), slice(3, 8), slice(0, 8)]):
            block = values[start:stop, columns]
            expected = {
                "biased": block.var(),
                "unbiased": block.var(ddof=1),
                "subspace": block.var(axis=0, ddof=1).mean(),
            }
            for name, value in expected.items():
                found = getattr(result, f"variance_{name}").per_molecule[i, b]
                deviation = getattr(result, f"standard_deviation_{name}").per_molecule[i, b]
                assert found == pytest.approx(value, rel=1e-6, abs=1e-9)
                assert deviation == pytest.approx(np.sqrt(value), rel=1e-6, abs=1e-9)


def test_summaries_are_over_molecules(space):
    molecules = pack([([6, 1], np.diag([s, s, s])[:2]) for s in (1.0, 2.0, 4.0)] + [([6, 1, 1], np.eye(3))])
    statistic = variance(molecules, space).variance_unbiased
    values = statistic.per_molecule[:, 0].astype(float)
    assert statistic.mean[0] == pytest.approx(values.mean())
    assert statistic.spread[0] == pytest.approx(values.std())
    assert (statistic.minimum[0], statistic.maximum[0]) == pytest.approx((values.min(), values.max()))
    assert statistic.mean_by_size[:, 0] == pytest.approx([values[:3].mean(), values[3]])


def test_a_single_atom_is_left_out_of_the_subspace(space):
    molecules = pack([([6], np.ones((1, 3))), ([6, 1], np.eye(3)[:2])])
    result = variance(molecules, space)
    assert result.variance_subspace.counted.tolist() == [1, 1, 1]
    assert result.variance_subspace.mean[0] == pytest.approx(result.variance_subspace.per_molecule[1, 0])
    assert result.variance_biased.counted.tolist() == [2, 2, 2]


def test_columns_that_are_not_centred_and_charges():
    space = FeatureSpace((1, 6), include_charges=True, centred_features=False)
    result = variance(pack([([6, 1, 1], np.eye(3))]), space)
    assert result.blocks == ("positions", "types", "charges", "all")
    charges = np.array([0.6, 0.1, 0.1])
    assert result.variance_biased.mean[2] == pytest.approx(charges.var())
    types = np.array([[0, 0.25], [0.25, 0], [0.25, 0]])
    assert result.variance_biased.mean[1] == pytest.approx(types.var())
    assert result.variance_subspace.mean[1] == pytest.approx(types.var(axis=0, ddof=1).mean())


def test_no_molecules(space):
    with pytest.raises(InvalidInput, match="at least one"):
        variance(pack([]), space)
