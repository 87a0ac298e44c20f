"""The first command a newcomer types."""

import json

from rdkit import Chem

from tests.cli import processes


def test_it_leaves_molecules_curves_and_results(gaga, tmp_path):
    ran = json.loads(processes.run(tmp_path, "quickstart", "--n", "2", "--threads", "2", "--json").stdout)
    assert ran["molecules"] == 2
    assert round(ran["variance"]["standard deviation of all columns (published as the variance)"], 4) == 0.8486
    assert 0 < ran["tstar"]["value"] <= ran["tstar"]["T"] == 1000
    molecules = list(Chem.SDMolSupplier(str(tmp_path / "mols.sdf"), sanitize=False, removeHs=False))
    assert len(molecules) == 2
    assert all(molecule.GetConformer().Is3D() for molecule in molecules)
    assert "gaga-0-1" in (tmp_path / "mols.html").read_text(encoding="utf-8")
    assert (tmp_path / "tstar.png").read_bytes().startswith(b"\x89PNG")
    kinds = {entry["kind"] for entry in gaga("store", "list", "--json").json["results"] if not entry["shipped"]}
    assert {"variance", "gaussianity", "tstar", "sample"} <= kinds
    again = gaga("quickstart", "--n", "2")
    assert again.code == 1
    assert "--overwrite" in again.err
