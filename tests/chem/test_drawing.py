"""Drawings of molecules: perceived ones by RDKit's rules, others as projections, none a reason to stop."""

import numpy as np
import pytest

from gaga.chem.drawing import HASH, MOST_PICTURES, WEDGE, Cell, depict, draw_grid
from gaga.chem.embed import parse
from gaga.core.errors import InvalidInput


def embedded(smiles):
    """Elements and positions of a SMILES, by RDKit."""
    from rdkit import Chem
    from rdkit.Chem import AllChem

    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(mol, randomSeed=7) == 0
    numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()], dtype=np.uint8)
    return numbers, mol.GetConformer().GetPositions()


def test_hydrogens_are_written_and_stereocentres_have_a_wedge():
    numbers, positions = embedded("C[C@H](N)O")
    found = depict(numbers, positions)
    assert found.perceived
    assert parse(found.smiles).canonical == parse("C[C@H](N)O").canonical
    assert numbers[found.atoms].tolist() == [6, 6, 7, 8]
    assert found.hydrogens.tolist() == [3, 1, 2, 1]
    assert len({WEDGE, HASH} & set(found.orders.tolist())) == 1
    lengths = np.linalg.norm(np.diff(found.places[found.bonds], axis=1)[:, 0], axis=1)
    assert ((lengths > 1.2) & (lengths < 1.8)).all()


def test_orders_and_charges():
    found = depict(*embedded("C#CC(=O)[O-]"), charge=-1)
    assert sorted(found.orders.tolist()) == [1, 1, 2, 3]
    assert found.charges.sum() == -1


def test_what_has_no_bonds_is_projected_with_all_atoms():
    numbers, positions = np.full(6, 9, np.uint8), np.random.default_rng(0).normal(size=(6, 3))
    found = depict(numbers, positions)
    assert not found.perceived
    assert (found.atoms.tolist(), found.smiles) == (list(range(6)), "")
    widest = np.linalg.svd(positions - positions.mean(axis=0), compute_uv=False)
    np.testing.assert_allclose(np.linalg.norm(found.places, axis=0), widest[:2], rtol=1e-5)


def test_few_atoms_and_none():
    assert depict(np.zeros(0, np.uint8), np.zeros((0, 3))) is None
    assert depict(np.ones(1, np.uint8), np.full((1, 3), np.nan)) is None
    assert len(depict(np.array([18], np.uint8), np.zeros((1, 3))).atoms) == 1
    assert len(depict(np.ones(2, np.uint8), np.array([[0, 0, 0], [0, 0, 0.74]])).atoms) == 2


@pytest.mark.parametrize(("form", "begin"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_a_grid_has_every_molecule(form, begin):
    numbers, positions = embedded("c1ccncc1")
    cells = [
        Cell(numbers=numbers, depiction=depict(numbers, positions), caption="pyridine", kept=range(6)),
        Cell(numbers=numbers[:0], depiction=None, caption="no atoms"),
        Cell(numbers=numbers, depiction=depict(np.full(11, 9, np.uint8), positions), caption="<b>&\u202eé</svg>"),
    ]
    found = draw_grid(cells, form, columns=2)
    assert found.startswith(begin)
    assert len(found) > 3000
    assert found.count(b"</svg>") == (form == "svg")


def test_a_grid_without_molecules_or_with_too_many_is_refused():
    for n in (0, MOST_PICTURES + 1):
        with pytest.raises(InvalidInput, match="a picture has 1 to"):
            draw_grid([Cell(numbers=np.zeros(0, np.uint8), depiction=None, caption="")] * n, "png", columns=4)
    with pytest.raises(InvalidInput, match=r"\.png or \.svg"):
        draw_grid([], "gif", columns=1)
