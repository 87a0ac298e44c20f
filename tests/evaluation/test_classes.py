"""Classes of molecules: known ones, shares with intervals, and the distance of mixtures."""

from dataclasses import replace

import numpy as np
import pytest

from gaga.core.molecules import pack
from gaga.data import load_dataset
from gaga.evaluation import Evaluation, evaluate, shipped_reference
from gaga.evaluation.class_shares import class_shares, mixture_distance, relative_radius, reweighted_stability
from gaga.evaluation.classes import ELEMENTS, Classes, heavy_atoms
from gaga.evaluation.distributions import distributions_of
from gaga.evaluation.support import support_of
from gaga.evaluation.verdicts import judge
from gaga.storage.serialise import from_tree, to_tree


def ring(n, bond, number, hydrogens=None):
    """A regular flat polygon of n atoms, with a hydrogen outside each at this distance."""
    angles, radius = 2 * np.pi * np.arange(n) / n, bond / (2 * np.sin(np.pi / n))
    unit = np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
    if hydrogens is None:
        return np.full(n, number), radius * unit
    return np.repeat([number, 1], n), np.concatenate([radius * unit, (radius + hydrogens) * unit])


def benzene():
    return ring(6, 1.395, 6, 1.087)


def propyne():
    angles = 2 * np.pi * np.arange(3) / 3
    methyl = np.stack([1.02 * np.cos(angles), 1.02 * np.sin(angles), np.full(3, -0.37)], axis=1)
    line = np.array([[0, 0, 0], [0, 0, 1.46], [0, 0, 2.67], [0, 0, 3.73]])
    return np.array([6, 6, 6, 1, 1, 1, 1]), np.concatenate([line, methyl])


def allene():
    line = np.array([[0, 0, -1.308], [0, 0, 0], [0, 0, 1.308]])
    ends = np.array([[0.93, 0, 1.86], [-0.93, 0, 1.86], [0, 0.93, -1.86], [0, -0.93, -1.86]])
    return np.array([6, 6, 6, 1, 1, 1, 1]), np.concatenate([line, ends])


def cubane():
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=float)
    carbons = 0.785 * corners
    return np.repeat([6, 1], 8), np.concatenate([carbons, carbons + 1.09 * corners / np.sqrt(3)])


def nitric_oxide():
    return np.array([7, 8]), np.array([[0, 0, 0], [0, 0, 1.15]])


def sulphur():
    """S8: a crown, a ring of eight."""
    angles, heights = 2 * np.pi * np.arange(8) / 8, 0.5 * (-1.0) ** np.arange(8)
    return np.full(8, 16), np.stack([2.34 * np.cos(angles), 2.34 * np.sin(angles), heights], axis=1)


def nothing():
    return np.zeros(0), np.zeros((0, 3))


MAKERS = (benzene, propyne, allene, cubane, nitric_oxide, sulphur, nothing)
KNOWN = {
    "known": [1, 1, 1, 1, 0, 1, 0],
    "aromatic": [1, 0, 0, 0, 0, 0, 0],
    "triple_bond": [0, 1, 0, 0, 0, 0, 0],
    "sp_carbon": [0, 1, 1, 0, 0, 0, 0],
    "odd_electrons": [0, 0, 0, 0, 1, 0, 0],
    "heavy_atoms": [6, 3, 3, 8, 2, 8, 0],
    "rings": [[0, 0, 0, 1, 0], [0] * 5, [0] * 5, [0, 5, 0, 0, 0], [0] * 5, [0, 0, 0, 0, 1], [0] * 5],
}


@pytest.fixture(scope="module")
def molecules():
    return pack([maker() for maker in MAKERS])


@pytest.mark.parametrize("protocol", ["strict", "edm"])
def test_known_molecules_have_known_classes(molecules, protocol):
    found = judge(molecules, protocol, workers=1).verdicts.classes
    for name, values in KNOWN.items():
        if protocol == "edm" and name in ("known", "rings"):  # EDM's rule knows no bonds of S8
            values = [*values[:5], getattr(found, name)[5].tolist(), values[6]]
        assert getattr(found, name).astype(int).tolist() == values, name
    counts = dict(zip(ELEMENTS, found.elements.sum(axis=0).tolist(), strict=True))
    assert {symbol: n for symbol, n in counts.items() if n} == {"H": 22, "C": 20, "N": 1, "O": 1, "S": 8}


def test_torsions_and_radii_by_hand(molecules):
    """Of cubane's 48 torsions half are 0 and half 90 degrees; of propyne and allene, three carbons are in a line."""
    found = judge(molecules, "strict", workers=1).verdicts.classes
    assert found.torsions.sum(axis=1).tolist() == [6, 0, 0, 48, 0, 8, 0]
    assert found.torsions[:, 0].tolist() == [6, 0, 0, 24, 0, 0, 0]
    assert found.torsions[3, 8:10].sum() == 24
    radii = [np.sqrt((1.395**2 + 2.482**2) / 2), np.sqrt(3) * np.hypot(0.785, 0.785 + 1.09 / np.sqrt(3)) / np.sqrt(2)]
    np.testing.assert_allclose(found.radius[[0, 3, 4]], [*radii, 1.15 / 2], rtol=1e-6)
    assert np.isnan(found.radius[6])
    torsions = dict(class_shares(found, found.known, None, None, np.random.default_rng(0)).torsions.items())
    assert (torsions["near_0"].numerator, torsions["near_0"].denominator) == (30, 62)
    assert torsions["near_180"].numerator == 0


def test_the_radius_of_gyration_over_the_datas(molecules):
    found = judge(molecules, "strict", workers=1).verdicts.classes
    radii = np.zeros(17)
    radii[[12, 16]] = 2.0, 1.5  # those of benzene and of cubane; no others
    ratio = relative_radius(found, radii, np.random.default_rng(0))
    expected = float(np.mean(found.radius[[0, 3]] / [2.0, 1.5]))
    assert (ratio.value, ratio.n_molecules) == (pytest.approx(expected), 2)
    assert ratio.low < ratio.value < ratio.high
    assert relative_radius(found, np.zeros(5), np.random.default_rng(0)) is None
    assert relative_radius(found, None, np.random.default_rng(0)) is None
    rng = np.random.default_rng(0)
    many = replace(
        found, known=np.ones(900, bool), radius=(2 + 0.1 * rng.normal(size=900)).astype(np.float32),
        elements=np.tile([12] + [0] * 11, (900, 1)),
    )  # fmt: skip
    wide = relative_radius(many, radii, rng)
    assert wide.high - wide.low == pytest.approx(2 * 1.96 * 0.05 / 30, rel=0.15)


def test_classes_do_not_depend_on_the_order_of_atoms():
    rng = np.random.default_rng(0)
    real = load_dataset("qm9").molecules.take(np.arange(5000, 9000, 200))
    orders = [rng.permutation(n) for n in real.n_atoms]
    shuffled = pack([(n[order], p[order]) for (n, p), order in zip(real, orders, strict=True)])
    first, second = (judge(each, "strict", workers=1).verdicts.classes for each in (real, shuffled))
    for name, values in vars(first).items():
        np.testing.assert_array_equal(values, getattr(second, name), err_msg=name)


def test_a_charge_makes_the_number_of_electrons_even(molecules):
    found = judge(molecules, "strict", charges=np.array([0, 0, 0, 0, 1, 0, 0], np.int16), workers=1).verdicts.classes
    assert not found.odd_electrons.any()


def test_shares_by_hand(molecules):
    found = judge(molecules, "strict", workers=1).verdicts.classes
    shares = class_shares(found, found.known, 7, None, np.random.default_rng(0))
    counted = {name: (rate.numerator, rate.denominator) for name, rate in shares.classes.items()}
    assert counted == {
        "aromatic": (1, 5), "triple_bond": (1, 5), "sp_carbon": (2, 5), "beyond_data": (2, 5), "odd_electrons": (1, 6),
    }  # fmt: skip
    rings = dict(shares.rings.items())
    assert (rings["all"].value, rings["all"].denominator, rings["4"].numerator) == (7 / 5, 5, 5)
    assert all(rate.low <= rate.value <= rate.high for _, rate in (*shares.classes.items(), *shares.elements.items()))
    assert sum(rate.value for _, rate in shares.elements.items()) == pytest.approx(1)
    assert sum(shares.mixture) == 5
    assert shares.distance is None


def test_molecules_without_a_reference_are_beyond_nothing(molecules):
    evaluation = evaluate(molecules, protocol="strict", reference=None)
    assert evaluation.classes.largest is None
    assert "beyond_data" not in dict(evaluation.classes.classes.items())
    assert evaluate(pack([nothing(), nitric_oxide()]), protocol="strict").classes.distance is None


def test_total_variation_by_hand():
    rng = np.random.default_rng(0)
    assert mixture_distance(np.array([50, 50]), np.array([25, 75]), rng).value == pytest.approx(0.25)
    assert mixture_distance(np.array([50, 0]), np.array([0, 5]), rng).value == 1
    same = mixture_distance(np.array([500, 500]), np.array([500, 500]), rng)
    # Of two shares of 1,000 molecules each: the mean of |N(0, 2 / 4000)|.
    assert (same.value, same.floor) == (0, pytest.approx(np.sqrt(2 / np.pi * 2 / 4000), rel=0.1))
    assert same.low == 0 <= same.high < same.floor_high
    far = mixture_distance(np.array([500, 500]), np.array([250, 750]), rng)
    assert far.low < far.value == 0.25 < far.high
    assert far.high - far.low == pytest.approx(2 * 1.96 * np.sqrt(0.25 / 1000), rel=0.1)


def test_stability_at_the_share_of_aromatics_of_the_data(molecules):
    """Ten of 40 stable aromatic molecules, 54 of 60 others; one of ten that are not valid."""
    aromatic, known = np.repeat([True, False], [40, 70]), np.repeat([True, False], [100, 10])
    stable = np.concatenate([np.arange(40) < 10, np.arange(60) < 54, np.arange(10) < 1])
    none = np.zeros(110, bool)
    found = Classes(known, aromatic, none, none, np.zeros((110, 5), np.int16), none * 1, none, np.zeros((110, 12)))
    rng = np.random.default_rng(0)
    as_it_is = reweighted_stability(found, stable, 0.4, rng)
    assert as_it_is.estimate == pytest.approx(stable.mean())
    other = reweighted_stability(found, stable, 0.8, rng)
    assert other.estimate == pytest.approx((1 + 100 * (0.8 * 0.25 + 0.2 * 0.9)) / 110)
    assert other.low < other.estimate < other.high
    assert reweighted_stability(replace(found, aromatic=none), stable, 0.4, rng) is None


def test_the_number_of_molecules_to_be_drawn():
    """Chao1 is the number itself if all are equally likely; nothing is known if none came twice."""
    found = support_of(map(str, np.random.default_rng(3).integers(0, 2000, 1000)))
    assert found.low < 2000 < found.high
    assert found.estimate == pytest.approx(2000, rel=0.15)
    by_hand = support_of(["a", "a", "b", "c", "", "d"])
    assert (by_hand.valid, by_hand.distinct, by_hand.once, by_hand.twice) == (5, 4, 3, 1)
    assert by_hand.estimate == pytest.approx(4 + 4 / 5 * 9 / 2)
    assert np.isnan(support_of(["a", "b"]).estimate)
    assert support_of(["a", "a"]).estimate == 1


def test_the_floor_is_what_two_halves_of_the_data_have():
    """Of QM9's own mixture: as far as a half is from the other half, over 40 ways to halve it."""
    row, rng = shipped_reference("qm9", "strict").row.classes, np.random.default_rng(1)
    cells = np.repeat(np.arange(len(row.mixture)), row.mixture)
    halves = []
    for _ in range(40):
        shuffled = rng.permutation(cells)
        counts = [np.bincount(half, minlength=32) for half in np.array_split(shuffled, 2)]
        halves.append(mixture_distance(*counts, rng))
    found, floors = np.mean([d.value for d in halves]), np.mean([d.floor for d in halves])
    assert found == pytest.approx(floors, rel=0.15)
    assert sum(d.value > d.floor_high for d in halves) < 6


@pytest.mark.parametrize("protocol", ["edm", "strict"])
def test_data_is_as_far_from_itself_as_the_floor(protocol):
    data = load_dataset("qm9")
    part = data.molecules.take(np.random.default_rng(2).choice(data.splits["valid"], 300, replace=False))
    found = evaluate(part, protocol=protocol).classes
    assert found.largest == 9
    assert found.distance.value < found.distance.floor_high * 1.2
    row = dict(shipped_reference("qm9", protocol).row.classes.classes.items())
    for name, rate in found.classes.items():
        assert abs(rate.value - row[name].value) < 0.1, name


def test_the_shipped_row_is_that_of_both_protocols():
    rows = [shipped_reference("qm9", protocol).row.classes for protocol in ("edm", "strict")]
    for row in rows:
        shares, torsions = dict(row.classes.items()), dict(row.torsions.items())
        assert torsions["near_0"].value == pytest.approx(0.188, abs=0.001)
        assert torsions["near_180"].value == pytest.approx(0.109, abs=0.001)
        assert row.radius.low < row.radius.value < row.radius.high
        assert row.radius.value == pytest.approx(1, abs=0.002)
        assert shares["aromatic"].value == pytest.approx(0.172, abs=0.002)
        assert shares["beyond_data"].numerator == shares["odd_electrons"].numerator == 0
    for name in ("aromatic", "triple_bond"):
        first, second = (dict(row.classes.items())[name].value for row in rows)
        assert first == pytest.approx(second, abs=1e-3)


def test_classes_survive_the_store_and_may_be_missing(molecules):
    evaluation = evaluate(molecules, protocol="strict")
    tree = to_tree(evaluation)
    back = from_tree(tree, Evaluation)
    assert back.classes == evaluation.classes
    np.testing.assert_array_equal(back.verdicts.classes.rings, evaluation.verdicts.classes.rings)
    del (
        tree["classes"],
        tree["support"],
        tree["real_data"]["n_in_all"],
        tree["verdicts"]["classes"],
        tree["real_data"]["classes"],
    )
    old = from_tree(tree, Evaluation)
    assert old.classes is old.verdicts.classes is old.real_data.classes is None


def test_heavy_atoms(molecules):
    assert heavy_atoms(molecules).tolist() == KNOWN["heavy_atoms"]


def test_a_piece_of_an_earlier_version_has_no_classes(molecules):
    kept = {}

    class Pieces:
        def __contains__(self, name):
            return name in kept

        def get(self, name):
            return kept.get(name)

        def put(self, name, piece):
            kept[name] = piece

    judge(molecules, "strict", workers=1, pieces=Pieces())
    for name in ("torsions", "radius"):
        del kept["0"][name]
    again = judge(molecules, "strict", workers=1, pieces=Pieces())
    assert again.verdicts.classes.aromatic.sum() == 1
    assert again.verdicts.classes.torsions is again.verdicts.classes.radius is None
    assert distributions_of(again) is None
    for name in ("aromatic", "rings"):
        del kept["0"][name]
    again = judge(molecules, "strict", workers=1, pieces=Pieces()).verdicts
    assert again.classes is None
    assert again.valid.sum() == 5
