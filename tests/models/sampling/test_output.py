import gzip
import subprocess
import sys

import numpy as np
import pytest

from gaga.chem.writers import trajectory_path
from gaga.models.sampling.judge import Judge
from gaga.models.sampling.molecules import Sampled
from gaga.models.sampling.output import SampleOutput, write_trajectory
from gaga.models.sampling.record import SampleRecord, SampleSummary
from gaga.models.sampling.unfinished import Keys, UnfinishedSamples
from gaga.storage.store import Store

METHANE = np.array([[0, 0, 0], [1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]], dtype=np.float32) * 0.629
CH4 = np.array([6, 1, 1, 1, 1], dtype=np.uint8)
# Methane, the same far apart, methane, and one that was not finite; and so on.
PLACES = [METHANE, 4 * METHANE, METHANE, np.nan * METHANE]


def run_of(tmp_path, order, name="mols.sdf", n=4, seeds=1):
    """An output written while molecules come in this order, with its stored record."""
    out, keys, store = tmp_path / name, Keys(5, n, seeds), Store(tmp_path / "s.h5", shipped=False)
    judge = Judge(out=out, keep="all", label="model:abc")
    with UnfinishedSamples(out, {}, keys) as spool, SampleOutput(out, keys, tmp_path) as written:
        for seed, index in order:
            spool.add(judge(seed, [Sampled(index, CH4, PLACES[index % 4], index % 4 != 3)]))
            written.write_next(spool)
        record = written.finish()
        store.put("sample", name, record, config={}, replace=True)
        summary = SampleSummary.of(vars(record), keys)
        spool.remove()
    return out, store, summary


def test_the_output_is_in_the_order_of_the_keys_whatever_came_first(tmp_path):
    orders = [[(5, i) for i in range(4)], [(5, 3), (5, 1), (5, 0), (5, 2)]]
    one, other = (run_of(tmp_path, order, name=f"{k}.sdf") for k, order in enumerate(orders))
    assert one[0].read_bytes() == other[0].read_bytes()
    assert one[0].read_text().count("$$$$") == 4
    assert one[1].find("sample", "0.sdf").digest == other[1].find("sample", "1.sdf").digest


def test_the_record_is_what_was_drawn(tmp_path):
    keys = [(seed, i) for seed in (5, 6) for i in range(4)]
    _, store, summary = run_of(tmp_path, keys, seeds=2)
    record = store.get("sample", "mols.sdf", SampleRecord)
    assert list(zip(record.seeds.tolist(), record.indices.tolist(), strict=True)) == keys
    assert record.offsets.tolist() == list(range(0, 45, 5))
    np.testing.assert_array_equal(record.positions[5:10], PLACES[1])
    assert record.atomic_numbers[:5].tolist() == [6, 1, 1, 1, 1]
    assert record.finite.tolist() == [True, True, True, False] * 2
    assert record.valid.tolist() == record.stable.tolist() == [True, False, True, False] * 2
    assert [bool(text) for text in record.smiles] == record.valid.tolist()
    assert record.written == 8
    with store.opened("sample", "mols.sdf") as tree:
        read = SampleSummary.of(tree, Keys(5, 4, 2))
    for found in (summary, read):
        assert (found.molecules, found.not_finite, found.written) == (8, 2, 8)
        assert found.by_seed() == {
            seed: {"atom_stable_edm": 0.5, "molecule_stable_edm": 0.5, "valid_strict": 0.5} for seed in (5, 6)
        }
        rates = found.rates()
        assert rates.keys() == {"molecule_stable_edm", "valid_strict"}
        assert rates["valid_strict"].low < rates["valid_strict"].estimate == 0.5 < rates["valid_strict"].high


def test_without_rdkit_nothing_is_called_valid(tmp_path, monkeypatch):
    from gaga.chem import annotate

    monkeypatch.setattr(annotate, "find_spec", lambda name: None)
    _, store, summary = run_of(tmp_path, [(5, i) for i in range(4)], name="m.xyz")
    assert summary.valid is None
    assert summary.rates().keys() == {"molecule_stable_edm"}
    assert len(store.get("sample", "m.xyz", SampleRecord).valid) == 0


def test_a_gzipped_output_is_whole(tmp_path):
    plain, *_ = run_of(tmp_path, [(5, i) for i in range(4)], name="m.sdf")
    zipped, *_ = run_of(tmp_path, [(5, i) for i in range(4)], name="m.sdf.gz")
    assert gzip.decompress(zipped.read_bytes()) == plain.read_bytes()


def test_a_trajectory_ends_where_it_is_not_finite_any_more(tmp_path):
    numbers = np.array([6], dtype=np.uint8)
    frames = tuple((numbers, np.full((1, 3), x, dtype=np.float32)) for x in (0.0, 1.0, np.nan, 2.0))
    write_trajectory(tmp_path / "m.sdf", Sampled(3, numbers, np.zeros((1, 3), np.float32), False, frames))
    assert trajectory_path(tmp_path / "m.sdf", 3).read_text().count("frame") == 2


_MEMORY = """
import resource, sys
from pathlib import Path
import numpy as np
from gaga.models.sampling.molecules import JudgedMolecule
from gaga.models.sampling.unfinished import Keys, UnfinishedSamples
from gaga.models.sampling.output import SampleOutput
from gaga.models.sampling.record import SampleSummary
from gaga.storage.store import Store
folder = Path(sys.argv[1])
rng = np.random.default_rng(0)
def draw(n, name):
    out, keys = folder / name, Keys(0, n)
    with UnfinishedSamples(out, {}, keys) as spool, SampleOutput(out, keys, folder) as written:
        for first in range(0, n, 100):
            spool.add([
                JudgedMolecule(seed=0, index=first + i, atomic_numbers=np.full(200, 6, np.uint8), finite=True,
                        positions=rng.normal(size=(200, 3)).astype(np.float32), n_stable_atoms=9, valid=True,
                        stable=True, smiles="C" * 20, text=b"x" * 1000)
                for i in rng.permutation(100).tolist()
            ])
            written.write_next(spool)
        record = written.finish()
        Store(folder / "s.h5", shipped=False).put("sample", name, record, config={})
        SampleSummary.of(vars(record), keys).rates()
        spool.remove()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
few = draw(500, "few.sdf")
print(draw(20_000, "many.sdf") - few)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory in kB")
def test_memory_does_not_grow_with_the_number_of_molecules(tmp_path):
    """20,000 molecules of 200 atoms: 52 MB of arrays and 20 MB of texts."""
    done = subprocess.run([sys.executable, "-c", _MEMORY, tmp_path], capture_output=True, text=True, check=False)
    assert float(done.stdout) < 20, done.stderr


def test_the_output_is_there_when_it_is_whole_and_until_then_what_was_there_stays(tmp_path):
    out, keys = tmp_path / "mols.sdf", Keys(5, 4, 1)
    out.write_text("before")
    judge = Judge(out=out, keep="all", label="model:abc")

    def interrupted():
        with UnfinishedSamples(out, {}, keys) as spool, SampleOutput(out, keys, tmp_path) as written:
            spool.add(judge(5, [Sampled(0, CH4, METHANE, True)]))
            written.write_next(spool)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert out.read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mols.sdf.unfinished", "mols.sdf"]
