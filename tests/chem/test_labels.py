"""Labels of atoms: which element each is, and which are no atoms."""

import pytest

from gaga.chem.elements import element_of, is_dummy


@pytest.mark.parametrize(
    ("labels", "number"),
    [
        ("H h D T d D1 1 1.0 H1 H1A H12' H(3) H+", 1),
        ("O 8 8. 8.0 8.000 O1 O2- O-2 O_3 O.co2 o", 8),
        ("C c C12 C.ar C_R C+ 6", 6),
        ("Na NA na Na+ Na1 Na1+ 11", 11),
        ("Cl CL cl Cl- CL1 Cl1 17", 17),
        ("Fe FE Fe3+ Fe+2 Fe++", 26),
        ("Ca CA ca", 20),
    ],
)
def test_elements(labels, number):
    assert {label: element_of(label) for label in labels.split()} == dict.fromkeys(labels.split(), number)


@pytest.mark.parametrize(
    "label", ["X", "x", "X1", "Xx", "XX", "Du", "DA", "*", "LP", "Bq", "Bq1", "bqO", "O-Bq", "@O", "@H1", "O:", "Gh(O)"]
)
def test_dummies_and_ghosts_are_no_atoms(label):
    assert is_dummy(label)
    assert element_of(label) == 0


@pytest.mark.parametrize(
    "label",
    ["", "0", "119", "-8", "8.5", "1_2", "٨", "Qq", "R#", "R1", "A", "CA1", "HO1", "Na+x", "O1" * 10, "9" * 5000],
)
def test_others_are_neither(label):
    assert element_of(label) == 0
    assert not is_dummy(label)
