import numpy as np
import pytest

from gaga.core.errors import InvalidInput
from gaga.core.molecules import pack
from gaga.data.features import FeatureSpace

GEOM = (1, 5, 6, 7, 8, 9, 13, 14, 15, 16, 17, 33, 35, 53, 80, 83)


@pytest.mark.parametrize("include_charges", [True, False])
@pytest.mark.parametrize("centred_features", [True, False])
@pytest.mark.parametrize("vocabulary", [GEOM, (1, 6, 7, 8, 9), (6, 1), (83,), tuple(range(255, 0, -1))], ids=len)
def test_every_type_is_decoded_the_last_one_too(vocabulary, include_charges, centred_features):
    """The published decoder cuts a column where there are no charges, and with it the last type."""
    space = FeatureSpace(vocabulary, include_charges=include_charges, centred_features=centred_features)
    numbers = np.array([*vocabulary, *[vocabulary[-1]] * 3, *vocabulary], dtype=np.uint8)
    sizes = [len(vocabulary), 1, 2, len(vocabulary)]
    molecules = pack(zip(np.split(numbers, np.cumsum(sizes)[:-1]), [np.zeros((n, 3)) for n in sizes], strict=True))
    values = space.encode(molecules)
    assert values.shape[1] == space.columns == 3 + len(vocabulary) + include_charges
    assert space.blocks["types"] == slice(3, 3 + len(vocabulary))
    if centred_features and len(vocabulary) > 1:
        alone = np.repeat(np.array(sizes) <= 2, sizes)  # centred, molecules of a single element look alike
        np.testing.assert_array_equal(space.decode_types(values)[~alone], numbers[~alone])
        values[alone, 3 + len(vocabulary) - 1] += 1e-9
    np.testing.assert_array_equal(space.decode_types(values), numbers)


@pytest.mark.parametrize("include_charges", [True, False])
def test_molecules_whose_centred_types_tell_no_element(include_charges):
    """Noise of a tenth of a one-hot, far more than a sample has, hides neither kind."""
    numbers = [[1] * 2, [16] * 8, [1, 8], [6], [6] + [1] * 4, [1] * 180 + [83]]
    molecules = pack((z, np.zeros((len(z), 3))) for z in numbers)
    space = FeatureSpace(GEOM, include_charges=include_charges)
    values = space.encode(molecules)
    values[:, 3 : 3 + len(GEOM)] += 0.025 * np.random.default_rng(0).uniform(-1, 1, (len(values), len(GEOM)))
    found = space.tell_no_element(values, molecules.offsets)
    assert found.tolist() == [True, True, False, True, False, False]
    for tells in (FeatureSpace(GEOM, centred_features=False), FeatureSpace((6,))):
        some = pack([([6, 6], np.zeros((2, 3)))])
        assert not tells.tell_no_element(tells.encode(some), some.offsets).any()
        assert tells.decode_types(tells.encode(some)).tolist() == [6, 6]


def test_elements_of_a_vocabulary_need_not_occur():
    molecules = pack([(np.array([6, 1, 83]), np.eye(3))])
    values = FeatureSpace(GEOM).encode(molecules)
    assert np.isfinite(values).all()
    absent = [3 + i for i, z in enumerate(GEOM) if z not in (1, 6, 83)]
    assert not values[:, absent].any()


def test_an_element_outside_the_vocabulary_is_named():
    with pytest.raises(InvalidInput, match=r"outside the vocabulary.*92"):
        FeatureSpace(GEOM).encode(pack([(np.array([92]), np.zeros((1, 3)))]))
