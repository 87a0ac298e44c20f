"""gaga variance, on a small file and on the real QM9."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gaga import load_dataset
from gaga.cli.variance import STATISTICS
from gaga.data.prepared import write_prepared


def test_qm9_has_the_known_moments(gaga):
    """Computed before on all 130,831 molecules; printed digits."""
    payload = gaga("variance", "--dataset", "qm9", "--json").json
    assert payload["molecules"] == 130_831
    known = {
        "standard_deviation_biased": ("1.3812", "0.0862", "0.8486"),
        "variance_biased": ("1.9266", "0.00745", "0.7271"),
        "variance_subspace": ("2.0416", "0.00790", "0.7705"),
    }
    for statistic, digits in known.items():
        for block, shown in zip(("positions", "types", "all"), digits, strict=True):
            mean = payload["statistics"][statistic][block]["mean"]
            assert f"{mean:.{len(shown.split('.')[1])}f}" == shown


def test_the_numbers_are_those_of_numpy(gaga, xyz):
    payload = gaga("variance", "--dataset", xyz, "--json").json
    water = np.array([[0, 0, 0.119], [0, 0.763, -0.477], [0, -0.763, -0.477]])
    scales = 1 + 0.001 * np.arange(1, 60, 2)
    squares = ((water - water.mean(0)) ** 2).sum() * scales**2
    (row,) = (row for row in payload["by_size"] if row["n_atoms"] == 3)
    assert row["molecules"] == 30
    # Positions are written with five decimals.
    assert row["statistics"]["variance_subspace"]["positions"] == pytest.approx(squares.mean() / 6, rel=1e-4)
    assert row["statistics"]["variance_biased"]["positions"] == pytest.approx(squares.mean() / 9, rel=1e-4)
    assert set(payload["statistics"]) == set(STATISTICS)


def test_charges_make_a_third_block(gaga, xyz):
    assert gaga("variance", "--dataset", xyz, "--json").json["blocks"] == ["positions", "types", "all"]
    ran = gaga("variance", "--dataset", xyz, "--charges", "--name", "c", "--json")
    assert ran.json["blocks"] == ["positions", "types", "charges", "all"]


def test_the_same_command_finds_its_result_and_another_one_is_refused(gaga, xyz):
    assert "Stored as variance/variance_tiny in gaga.h5." in gaga("variance", "--dataset", xyz).out
    assert "Found variance/variance_tiny in gaga.h5" in gaga("variance", "--dataset", xyz, "--seed", 5).out
    refused = gaga("variance", "--dataset", xyz, "--split", "train")
    assert (refused.code, refused.out) == (1, "")
    assert "split all (asked for train)" in refused.err
    assert "--name, or add --replace" in refused.err
    assert gaga("variance", "--dataset", xyz, "--split", "train", "--replace").code == 0
    assert gaga("variance", "--dataset", xyz, "--name", "another").code == 0


def test_a_fraction_depends_on_the_seed(gaga, xyz):
    for seed in (1, 2):
        ran = gaga("variance", "--dataset", xyz, "--fraction", 0.2, "--seed", seed, "--name", seed, "--json")
        assert ran.json["molecules"] < 20
        assert ran.json["stored"]["seed"] == seed
    assert gaga("variance", "--dataset", xyz, "--json").json["stored"]["seed"] is None


def test_the_table_has_every_block_and_the_sizes_on_demand(gaga, xyz):
    ran = gaga("variance", "--dataset", xyz, "--by-size")
    assert "Over 60 molecules" in ran.out
    assert "Mean variance_subspace by size" in ran.out
    assert ran.out.count("standard_deviation_biased") == 4


def test_what_papers_print_stands_beside_what_it_is(gaga, xyz):
    """The published 0.952 of GEOM-Drugs is a mean standard deviation, and so is QM9's 0.848."""
    write_prepared(replace(load_dataset(xyz), name="geom"), Path("geom.h5"))
    ran = gaga("variance", "--dataset", "geom.h5", "--json")
    assert ran.json["published"] == {"positions": 2.393, "types": 0.049, "all": 0.952}
    table = gaga("variance", "--dataset", "geom.h5").out.splitlines()
    assert [line.split()[-1] for line in table if "published as" in line or "standard_deviation_biased  " in line] == [
        '"variance"',
        "2.393",
        "0.049",
        "0.952",
    ]
    assert sum("published as" in line for line in table) == 1
    other = gaga("variance", "--dataset", "geom.h5", "--charges", "--name", "c", "--json")
    assert other.json["published"] is None


def test_a_data_set_that_no_paper_knows_has_nothing_published(gaga, xyz):
    assert gaga("variance", "--dataset", xyz, "--json").json["published"] is None
    assert "published as" not in gaga("variance", "--dataset", xyz).out


def test_values_of_each_molecule_are_stored(gaga, xyz):
    gaga("variance", "--dataset", xyz)
    ran = gaga("store", "export", "variance_tiny", "--field", "variance_subspace.per_molecule")
    rows = list(csv.reader(ran.out.splitlines()))
    assert len(rows) == 61
    assert len(rows[0]) == 4


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (("--dataset", "nope"), 1, "unknown data set (received nope)"),
        (("--dataset", "nope.sdf"), 1, "no such file or folder (received nope.sdf)"),
        (("--dataset", "empty.xyz"), 1, "the file is empty"),
        (("--dataset", "tiny.xyz", "--fraction", "0"), 2, "invalid value for --fraction: 0"),
        (("--dataset", "tiny.xyz", "--split", "half"), 2, "invalid value for --split: 'half'"),
        (("--dataset", "tiny.xyz", "--seed", "-1"), 2, "'--seed'"),
        (("--dataset", "tiny.xyz", "--threads", "0"), 2, "'--threads'"),
        (("--dataset", "tiny.xyz", "--store", "no/such/folder/s.h5"), 1, "the folder of the store does not exist"),
        (("--dataset", "tiny.xyz", "--store", "tiny.xyz"), 1, "is not a gaga store"),
    ],
)
def test_what_cannot_be_is_a_line(gaga, xyz, words, code, line):
    xyz.with_name("empty.xyz").touch()
    ran = gaga("variance", *words, "--json")
    assert (ran.code, ran.out) == (code, "")
    assert line in ran.err
    assert len(ran.err.splitlines()) <= 2
