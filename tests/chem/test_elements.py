import pytest

from gaga.chem.elements import (
    GEOM_VOCABULARY,
    QM9_VOCABULARY,
    SYMBOLS,
    atoms_of_formula,
    most_similar,
    number_of,
    symbol_of,
)
from gaga.core.errors import InvalidInput


def test_symbols_agree_with_rdkit():
    from rdkit import Chem

    table = Chem.GetPeriodicTable()
    assert len(SYMBOLS) == 118
    assert [table.GetElementSymbol(z) for z in range(1, 119)] == list(SYMBOLS)


def test_round_trip_of_every_element():
    assert [number_of(symbol_of(z)) for z in range(1, 119)] == list(range(1, 119))


@pytest.mark.parametrize(("symbol", "number"), [("cl", 17), (" BR ", 35), ("D", 1), ("t", 1), ("H", 1)])
def test_symbols_as_files_write_them(symbol, number):
    assert number_of(symbol) == number


@pytest.mark.parametrize("symbol", ["", "Xx", "*", "R1"])
def test_unknown_symbol_is_refused(symbol):
    with pytest.raises(InvalidInput, match="unknown chemical element"):
        number_of(symbol)


@pytest.mark.parametrize("number", [0, 119, -1])
def test_number_beyond_the_table_is_refused(number):
    with pytest.raises(InvalidInput, match="1 to 118"):
        symbol_of(number)


def test_vocabularies_of_the_published_models():
    assert "".join(map(symbol_of, QM9_VOCABULARY)) == "HCNOF"
    assert " ".join(map(symbol_of, GEOM_VOCABULARY)) == "H B C N O F Al Si P S Cl As Br I Hg Bi"


def test_similar_elements_have_as_many_valence_electrons():
    found = {z: most_similar(z, QM9_VOCABULARY) for z in (*GEOM_VOCABULARY, 34)}
    assert found == {1: 1, 5: 6, 6: 6, 7: 7, 8: 8, 9: 9, 13: 9, 14: 6, 15: 7, 16: 8, 17: 9, 33: 7, 35: 9, 53: 9,
                     80: 9, 83: 7, 34: 8}  # fmt: skip
    assert most_similar(53, (9, 35, 52)) == 35


def test_atoms_of_a_formula():
    assert atoms_of_formula("C7H10O2") == {6: 7, 1: 10, 8: 2}
    assert atoms_of_formula("CH3CH2Cl") == {6: 2, 1: 5, 17: 1}
    assert atoms_of_formula("Co") == {27: 1}
    for wrong in ("", "c7", "C-", "C2.5", "H1000000"):
        with pytest.raises(InvalidInput, match="formula"):
            atoms_of_formula(wrong)
