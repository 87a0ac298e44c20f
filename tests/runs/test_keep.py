"""Which molecules are written among the others of an output."""

import numpy as np
import pytest

from gaga.core.errors import InvalidInput
from gaga.models.sampling.molecules import JudgedMolecule
from gaga.models.sampling.output import SampleOutput
from gaga.models.sampling.unfinished import Keys, UnfinishedSamples
from gaga.runs.keep import KEPT, FirstOfEach, among_others, judged_as


def test_unique_molecules_are_the_first_of_each():
    chosen = among_others("unique", "")
    assert [chosen(smiles) for smiles in ("CC", "", "CO", "CC", "CO", "C=O")] == [True, False, True, False, False, True]


def test_novel_molecules_are_unique_and_not_in_the_training_split():
    """Methane, ethane and benzene are molecules of QM9's training split; no molecule of QM9 has bromine."""
    chosen = among_others("novel", "qm9")
    assert [chosen(smiles) for smiles in ("CC", "CBr", "c1ccccc1", "CBr")] == [False, True, False, False]


def test_the_others_ask_nothing_of_one_another():
    assert [among_others(keep, "") for keep in ("all", "valid", "stable")] == [None] * 3
    assert [judged_as(keep) for keep in KEPT] == ["all", "valid", "stable", "valid", "valid"]


@pytest.mark.parametrize(
    ("keep", "dataset", "what"), [("best", "qm9", "unknown choice"), ("novel", "drugs", "of qm9 only")]
)
def test_what_cannot_be_chosen_is_said(keep, dataset, what):
    with pytest.raises(InvalidInput, match=what):
        among_others(keep, dataset)


def test_the_output_leaves_out_what_is_not_chosen_and_the_record_has_all(tmp_path):
    def molecule(index, smiles):
        return JudgedMolecule(
            seed=0, index=index, atomic_numbers=np.array([6], np.uint8), positions=np.zeros((1, 3), np.float32),
            finite=True, stable=True, n_stable_atoms=1, valid=True, smiles=smiles, text=f"{index} {smiles}\n".encode(),
        )  # fmt: skip

    out, keys = tmp_path / "m.xyz", Keys(0, 4, 1)
    with UnfinishedSamples(out, {}, keys) as drawn, SampleOutput(out, keys, tmp_path, FirstOfEach(None)) as written:
        drawn.add([molecule(2, "CC"), molecule(3, "CO")])
        written.write_next(drawn)
        drawn.add([molecule(0, "CC"), molecule(1, "N")])
        written.write_next(drawn)
        record = written.finish()
        assert (record.written, record.smiles.shape[0]) == (3, 4)
    assert out.read_text() == "0 CC\n1 N\n3 CO\n", "the first of the output, not the first that was drawn"
