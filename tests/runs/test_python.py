"""From Python, what the commands do: each finds what the other stored."""

import io

import numpy as np
import pytest

import gaga as package
from gaga.core.errors import Conflict, InvalidInput
from gaga.core.progress import Reporter
from gaga.runs import sample as runs
from tests.cli.conftest import gaga as gaga
from tests.cli.conftest import xyz as xyz
from tests.standins import xtb as xtb

QUICK = {"timesteps": (200, 600, 1000), "n_null": 20, "n_resamples": 10}
WORDS = ("--timesteps", "200:1000:400", "--n-null", 20, "--n-resamples", 10, "--device", "cpu")


class Notes(Reporter):
    def __init__(self):
        self.said = []

    def note(self, line):
        self.said.append(line)


def test_every_public_name_is_there():
    assert {"gaussianity", "tstar", "train", "variance", "sample", "evaluate", "Store"} <= set(dir(package))
    for name in package.__all__:
        assert getattr(package, name) is not None


def test_variance_is_found_by_the_command_and_the_other_way_round(gaga, xyz):
    mine = package.variance(xyz, store="gaga.h5", threads=1)
    assert gaga("variance", "--dataset", xyz, "--json").json["stored"]["found"]
    assert gaga("variance", "--dataset", xyz, "--charges", "--name", "charged").code == 0
    before = (xyz.parent / "gaga.h5").read_bytes()
    package.variance(xyz, store="gaga.h5", include_charges=True, name="charged")
    assert (xyz.parent / "gaga.h5").read_bytes() == before
    again = package.variance(xyz)
    np.testing.assert_array_equal(mine.variance_subspace.mean, again.variance_subspace.mean)
    with pytest.raises(Conflict, match="`name`, or add `replace=True`"):
        package.variance(xyz, store="gaga.h5", include_charges=True)


def test_gaussianity_and_tstar(gaga, xyz):
    curves = package.gaussianity(xyz, store="gaga.h5", threads=1, device="cpu", **QUICK)
    assert gaga("gaussianity", "--dataset", xyz, *WORDS, "--json").json["stored"]["found"]
    found = package.tstar("identity_to_gaussian_tiny", store="gaga.h5", eps_dependence=9.0, eps_distance=0.9)
    words = ("tstar", "identity_to_gaussian_tiny", "--eps-dep", 9, "--eps-ds", 0.9, "--json")
    assert gaga(*words).json["stored"]["found"]
    assert package.tstar(curves).tstar == found.tstar == int(np.ceil(found.price.step.value))
    assert package.tstar(curves, estimator="paper", eps_dependence=9.0, eps_distance=0.9).tstar == 200
    with pytest.raises(InvalidInput, match="alpha must be above 0 and below 1"):
        package.gaussianity(xyz, alpha=2.0)


def test_an_interrupted_gaussianity_is_resumed_by_the_command(gaga, xyz, monkeypatch):
    from gaga.runs import gaussianity

    measure = gaussianity.measure

    def stopped(*args, pieces, **how):
        measure(*args, pieces=pieces, **how)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(gaussianity, "measure", stopped)
        with pytest.raises(KeyboardInterrupt, match="`resume=True` continues"):
            package.gaussianity(xyz, store="gaga.h5", device="cpu", **QUICK)
    with pytest.raises(Conflict, match="is unfinished"):
        package.gaussianity(xyz, store="gaga.h5", device="cpu", **QUICK)
    resumed = gaga("gaussianity", "--dataset", xyz, *WORDS, "--resume")
    assert resumed.code == 0
    assert "Resuming gaussianity/identity_to_gaussian_tiny, which was interrupted." in resumed.err


def test_an_evaluation_is_found_by_the_command_and_the_other_way_round(gaga, xyz, tmp_path):
    stored = package.evaluate(xyz, store="gaga.h5", threads=1, reference=None, csv=tmp_path / "rows.csv")
    payload = gaga("evaluate", xyz, "--reference", "none", "--csv", "-").out
    assert payload == (tmp_path / "rows.csv").read_text()
    assert gaga("evaluate", xyz, "--reference", "none", "--json").json["stored"]["found"]
    assert stored.rates == package.evaluate(xyz, reference=None, workers=1).rates
    assert gaga("evaluate", xyz, "--protocol", "strict", "--name", "mine", "--threads", 1).code == 0
    before = (tmp_path / "gaga.h5").read_bytes()
    found = package.evaluate(str(xyz), protocol="strict", store="gaga.h5", name="mine", workers=1)
    assert (tmp_path / "gaga.h5").read_bytes() == before
    assert found.real_data.n_train > 90_000
    with pytest.raises(Conflict, match="`name`, or add `replace=True`"):
        package.evaluate(xyz, store="gaga.h5", name="mine", reference=None)


def test_an_evaluation_with_a_check_of_a_sample(xyz, xtb, monkeypatch):
    monkeypatch.chdir(xyz.parent)
    how = {"reference": None, "relax": True, "sample_size": 2, "threads": 1}
    stored = package.evaluate(xyz, store="gaga.h5", **how)
    assert stored.relaxation.relaxed == package.evaluate(xyz, **how).relaxation.relaxed
    assert stored.relaxation.relaxed.denominator == 2
    assert stored.posebusters is None
    kinds = {entry.kind for entry in package.Store("gaga.h5").entries() if not entry.shipped}
    assert kinds == {"evaluation", "relaxation"}


def test_what_cannot_be_stored_is_a_line(xyz):
    molecules = package.load_dataset(xyz).molecules
    with pytest.raises(InvalidInput, match="Write the molecules to a file first"):
        package.evaluate(molecules, store="gaga.h5")
    with pytest.raises(InvalidInput, match="Name a `store`"):
        package.evaluate(xyz, reference=None, csv=io.StringIO(), threads=1)


def test_molecules_into_a_file(gaga, tmp_path):
    counts = package.sample("qm9_small", 2, out=tmp_path / "m.xyz", store="gaga.h5", method="ddpm", stride=100)
    assert (counts.molecules, counts.written) == (2, 2)
    words = ("--checkpoint", "qm9_small", "--method", "ddpm", "--stride", 100, "--json")
    assert gaga("sample", "--n", 2, "--out", "m.xyz", *words).json["stored"]["found"]
    drawn = package.sample("qm9_small", 2, method="ddpm", stride=100)
    assert (tmp_path / "m.xyz").read_text().startswith(f"{drawn.n_atoms[0]}\n")
    with pytest.raises(Conflict, match="`overwrite=True`"):
        package.sample("qm9_small", 3, out=tmp_path / "m.xyz", method="ddpm", stride=100)
    with pytest.raises(InvalidInput, match="drawn from a checkpoint"):
        package.sample(package.load_model("qm9_small"), 1, out="x.xyz")


def test_an_interrupted_file_is_resumed_by_the_command(gaga, tmp_path, monkeypatch):
    how = {"method": "ddpm", "stride": 100, "batch_size": 1}
    put = runs.write_trajectory
    calls = []

    def stop_at_the_second(out, molecule):
        calls.append(molecule.index)
        if len(calls) == 2:
            raise KeyboardInterrupt
        put(out, molecule)

    monkeypatch.setattr(runs, "write_trajectory", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt, match="`resume=True` continues"):
        package.sample("qm9_small", 2, out="m.xyz", store="gaga.h5", trajectory=2, frames=2, **how)
    words = ("--checkpoint", "qm9_small", "--method", "ddpm", "--stride", 100, "--batch-size", 1, "--trajectory", 2)
    resumed = gaga("sample", "--n", 2, "--out", "m.xyz", *words, "--frames", 2, "--resume")
    assert resumed.code == 0, resumed.err
    assert "Resuming after 1 molecules" in resumed.err


def test_training(gaga, xyz):
    small = {"preset": "tiny", "hidden": 8, "n_layers": 1, "batch_size": 8, "stability_samples": 2, "steps": 3}
    report = Notes()
    record = package.train(xyz, max_t=60, store="gaga.h5", report=report, **small)
    assert record.finished
    assert any("steps 0 to 60" in line for line in report.said)
    words = (
        "--preset",
        "tiny",
        "--hidden",
        8,
        "--layers",
        1,
        "--batch-size",
        8,
        "--stability-samples",
        2,
        "--steps",
        3,
    )
    assert gaga("train", "--dataset", xyz, "--max-t", 60, *words, "--json").json["stored"]["found"]
    assert len(package.sample(record.checkpoint, 2, steps=2)) == 2
    with pytest.raises(Conflict, match="learning_rate"):
        package.train(xyz, max_t=60, store="gaga.h5", learning_rate=0.002, **small)
