"""GEOM-Drugs in each of its forms: one data set, whichever form it came from; what is damaged is refused in a line."""

import dataclasses
import gzip
import json
import os
import pickle
import struct
from contextlib import nullcontext
from pathlib import Path

import msgpack
import numpy as np
import pytest

from gaga.chem.elements import GEOM_VOCABULARY
from gaga.chem.pickled import BinaryReader
from gaga.chem.records import NO_ATOMS, NON_FINITE, TOO_FAR, UNKNOWN_ELEMENT, UNREADABLE
from gaga.core.errors import Conflict, InvalidInput, NotFound
from gaga.data import load_dataset, prepare
from gaga.data.features import FeatureSpace
from gaga.data.geom.conformers import NO_ENERGY, OUTSIDE, TOO_LARGE
from gaga.data.geom.npy import BY_GRAPH, BY_SMILES
from gaga.data.geom.pickles import MISSING
from gaga.data.geom.prepare import open_source, prepare_geom
from gaga.data.streamed import PreparedWriter, unfinished
from gaga.stats.variance import variance
from tests.data import geom_fixtures as made
from tests.models.hostile import hostile_pickles

FORMS = ("npy", "msgpack", "folder", "archive")
README = {
    "standard_deviation_biased": ("2.4912", "0.0494", "0.9909"),
    "variance_biased": ("6.302", "0.0024", "0.9971"),
}  # of positions, types and both: the table that comes with the molecules


def write(form, folder: Path, molecules) -> Path:
    folder.mkdir(exist_ok=True)
    return {
        "npy": lambda: made.write_npy(folder / "mosesaq_edm_format.npy", molecules),
        "msgpack": lambda: made.write_msgpack(folder / "drugs_crude.msgpack", molecules),
        "folder": lambda: made.write_folder(folder / "rdkit_folder", molecules),
        "archive": lambda: made.write_archive(folder / "rdkit_folder.tar.gz", molecules),
    }[form]()


@pytest.fixture(scope="module")
def reader():
    """One process for all pickles of these tests, as it takes seconds to start."""
    with BinaryReader() as found:
        yield found


@pytest.fixture(autouse=True)
def same_reader(reader, monkeypatch):
    monkeypatch.setattr("gaga.data.geom.pickles.BinaryReader", lambda: nullcontext(reader))


@pytest.fixture(scope="module")
def drugs():
    return made.drugs()


@pytest.fixture(scope="module")
def sdf(tmp_path_factory):
    """The example with the vocabulary of GEOM, prepared from its SDF."""
    return load_dataset(prepare(made.SDF, out=tmp_path_factory.mktemp("sdf") / "sdf.h5", vocabulary="geom"))


@pytest.mark.parametrize("form", ["sdf", *FORMS])
def test_the_published_variances_and_the_same_data_set_from_every_form(form, drugs, sdf, tmp_path):
    data = sdf
    if form != "sdf":
        written, _ = prepare_geom(write(form, tmp_path, drugs), tmp_path / "out.h5")
        data = load_dataset(tmp_path / "out.h5")
        assert written.fingerprint == data.fingerprint
        assert (written.conformers, written.molecules, written.skipped) == (1000, 1000, {})
    assert data.fingerprint == sdf.fingerprint == load_dataset(made.SDF).fingerprint
    assert data.groups is None
    assert data.vocabulary == GEOM_VOCABULARY
    result = variance(data.molecules, FeatureSpace(vocabulary=data.vocabulary))
    for statistic, printed in README.items():
        for mean, text in zip(getattr(result, statistic).mean, printed, strict=True):
            assert f"{mean:.{len(text) - 2}f}" == text


@pytest.mark.parametrize("form", FORMS)
def test_the_lowest_conformers_of_each_molecule_split_by_molecule(form, drugs, tmp_path):
    molecules = made.with_conformers(drugs[:40], 7)
    source = write(form, tmp_path, molecules)
    written, rule = prepare_geom(source, tmp_path / "out.h5", conformers=3, split_seed=5)
    data = load_dataset(tmp_path / "out.h5")
    assert (written.conformers, written.molecules) == (len(data), 40) == (120, 40)
    assert ("bond graph" in rule) == (form == "npy")
    np.testing.assert_array_equal(data.groups, np.repeat(np.arange(40), 3))
    for k, (numbers, positions) in enumerate(data.molecules):
        molecule = molecules[k // 3]
        expected = molecule.conformers[int(np.argsort(molecule.energies)[k % 3])]
        np.testing.assert_array_equal(numbers, molecule.numbers)
        np.testing.assert_array_equal(positions, expected.astype(np.float32))
    parts = [set(data.groups[members]) for members in data.splits.values()]
    assert [len(part) for part in parts] == [32, 4, 4]
    assert len(set.union(*parts)) == 40
    if form != "npy":
        assert list(data.smiles[::3]) == [molecule.smiles for molecule in molecules]
    again = load_dataset(tmp_path / "out.h5", split_seed=5)
    assert again.fingerprint == data.fingerprint


def test_all_forms_with_conformers_are_one_data_set(drugs, tmp_path):
    molecules = made.with_conformers(drugs[:30], 4)
    found = {
        prepare_geom(write(form, tmp_path, molecules), tmp_path / f"{form}.h5", conformers=2)[0].fingerprint
        for form in FORMS
    }
    assert len(found) == 1


def test_energies_of_equal_height_keep_the_first(drugs, tmp_path):
    molecules = [
        made.Molecule(m.smiles, m.numbers, m.conformers, [1.0] * 5) for m in made.with_conformers(drugs[:3], 5)
    ]
    prepare_geom(write("msgpack", tmp_path, molecules), tmp_path / "out.h5", conformers=2)
    data = load_dataset(tmp_path / "out.h5")
    for k, (_, positions) in enumerate(data.molecules):
        np.testing.assert_array_equal(positions, molecules[k // 2].conformers[k % 2].astype(np.float32))


def test_all_sixteen_elements_come_back_bismuth_too(tmp_path):
    rng = np.random.default_rng(0)
    molecules = [
        made.Molecule(
            f"m{i}", rng.permutation(np.array(GEOM_VOCABULARY, np.uint8)), [rng.normal(size=(16, 3)) * 3], [0.0]
        )
        for i in range(5)
    ]
    prepare_geom(write("npy", tmp_path, molecules), tmp_path / "out.h5")
    data = load_dataset(tmp_path / "out.h5")
    space = FeatureSpace(vocabulary=data.vocabulary)
    assert space.columns == 3 + 16
    values = space.encode(data.molecules)
    np.testing.assert_array_equal(space.decode_types(values), data.atomic_numbers)
    assert set(data.atomic_numbers) == set(GEOM_VOCABULARY)


def test_a_derived_vocabulary_and_elements_outside_the_other(drugs, tmp_path):
    molecules = [*drugs[:5], made.Molecule("iron", np.array([26, 1], np.uint8), [np.eye(2, 3)], [0.0])]
    source = write("npy", tmp_path, molecules)
    written, _ = prepare_geom(source, tmp_path / "out.h5")
    assert dict(written.skipped) == {OUTSIDE: 1}
    assert written.conformers == 5
    prepare_geom(source, tmp_path / "data.h5", vocabulary="data")
    data = load_dataset(tmp_path / "data.h5")
    assert data.vocabulary == tuple(sorted(set(data.atomic_numbers)))
    assert 26 in data.vocabulary


# What one conformer may be, and does not end the reading.


def _unusable(rows):
    nan, far, element, half = rows.copy(), rows.copy(), rows.copy(), rows.copy()
    nan[1, 2], far[0, 1], element[0, 0], half[0, 0] = np.nan, 1e30, 119, 6.5
    large = np.tile([6.0, 0, 0, 0], (10_001, 1))
    return {NON_FINITE: nan, TOO_FAR: far, UNKNOWN_ELEMENT: element, "half an element": half, TOO_LARGE: large}


@pytest.mark.parametrize("reason", [NON_FINITE, TOO_FAR, UNKNOWN_ELEMENT, "half an element"])
def test_unusable_conformers_of_an_npy_are_counted(reason, drugs, tmp_path):
    path = write("npy", tmp_path, drugs[:4])
    rows = np.load(path)
    second = rows[:, 0] == 1
    rows[second, 1:] = _unusable(rows[second, 1:])[reason]
    np.save(path, rows)
    written, _ = prepare_geom(path, tmp_path / "out.h5")
    assert sum(written.skipped.values()) == 1
    assert set(written.skipped) <= {reason, UNKNOWN_ELEMENT}
    assert written.conformers == 3
    np.testing.assert_array_equal(load_dataset(tmp_path / "out.h5").ids, [0, 2, 3])


def _change(conformer, reason):
    rows = np.array(conformer["xyz"])
    if reason in _unusable(rows):
        return conformer | {"xyz": _unusable(rows)[reason].tolist()}
    return {
        NO_ENERGY: lambda: {key: value for key, value in conformer.items() if key != "totalenergy"},
        "energy nan": lambda: conformer | {"totalenergy": float("nan")},
        "energy text": lambda: conformer | {"totalenergy": "low"},
        NO_ATOMS: lambda: conformer | {"xyz": []},
        "text": lambda: conformer | {"xyz": "rows"},
        "three columns": lambda: conformer | {"xyz": rows[:, 1:].tolist()},
        "ragged": lambda: conformer | {"xyz": [[6.0, 0, 0, 0], [1.0]]},
        "missing": lambda: {key: value for key, value in conformer.items() if key != "xyz"},
        "a list": lambda: [1, 2],
        "null": lambda: None,
    }[reason]()


REASONS = {
    NON_FINITE: NON_FINITE, TOO_FAR: TOO_FAR, UNKNOWN_ELEMENT: UNKNOWN_ELEMENT, "half an element": UNKNOWN_ELEMENT,
    TOO_LARGE: TOO_LARGE, NO_ENERGY: NO_ENERGY, "energy nan": NO_ENERGY, "energy text": NO_ENERGY, NO_ATOMS: NO_ATOMS,
    "text": UNREADABLE, "three columns": UNREADABLE, "ragged": UNREADABLE, "missing": UNREADABLE, "a list": UNREADABLE,
    "null": UNREADABLE,
}  # fmt: skip


@pytest.mark.parametrize("reason", REASONS)
def test_unusable_conformers_of_a_msgpack_are_counted(reason, drugs, tmp_path):
    molecules = {m.smiles: made.as_dictionary(m) for m in drugs[:4]}
    second = molecules["molecule 1"]["conformers"]
    second[0] = _change(second[0], reason)
    path = tmp_path / "drugs_crude.msgpack"
    path.write_bytes(msgpack.packb(molecules))
    written, _ = prepare_geom(path, tmp_path / "out.h5")
    assert dict(written.skipped) == {REASONS[reason]: 1}
    assert (written.conformers, written.molecules) == (3, 3)


# What ends it, in a line.


def refused(path: Path, out: Path, match: str) -> InvalidInput:
    with pytest.raises(InvalidInput, match=match) as error:
        prepare_geom(path, out)
    assert "\n" not in error.value.line
    assert not out.exists()
    return error.value


@pytest.mark.parametrize("form", ["npy", "msgpack", "archive"])
@pytest.mark.parametrize("share", [0.3, 0.97])
def test_a_file_cut_short_is_refused_and_goes_on_when_it_is_whole(form, share, drugs, tmp_path, monkeypatch):
    monkeypatch.setattr("gaga.data.geom.conformers._CONFORMERS", 3)
    monkeypatch.setattr("gaga.data.geom.prepare._FIRST", 64)
    molecules = made.with_conformers(drugs[:12], 2)
    path, out = write(form, tmp_path, molecules), tmp_path / "out.h5"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    refused(path, out, "cut short")
    kept = unfinished(out)
    assert kept.is_file() == (form != "npy")  # which is refused before anything is read
    path.write_bytes(whole)
    if kept.is_file():
        with pytest.raises(Conflict, match="Continue with `resume=True`"):
            prepare_geom(path, out)
        with pytest.raises(Conflict, match="another conformers"):
            prepare_geom(path, out, conformers=7, resume=True)
    resumed, _ = prepare_geom(path, out, resume=True)
    expected, _ = prepare_geom(path, tmp_path / "other.h5")
    assert resumed.fingerprint == expected.fingerprint
    assert not kept.exists()


@pytest.mark.parametrize("form", ["npy", "msgpack", "archive"])
def test_an_empty_file_is_refused(form, drugs, tmp_path):
    path = write(form, tmp_path, drugs[:2])
    path.write_bytes(b"")
    refused(path, tmp_path / "out.h5", "no copy|no usable|no rdkit_folder")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("interrupted", [1, 2, 4])
def test_an_interrupted_reading_goes_on_without_reading_again(form, interrupted, drugs, tmp_path, monkeypatch):
    """Interrupted behind any block, in the middle of a dictionary and of conformers of equal elements too."""
    monkeypatch.setattr("gaga.data.geom.conformers._CONFORMERS", 4)
    path, out = write(form, tmp_path, made.with_conformers(drugs[:11], 2)), tmp_path / "out.h5"
    expected, _ = prepare_geom(path, tmp_path / "other.h5")
    appended = []
    append = PreparedWriter.append

    def stop(self, block):
        if len(appended) == interrupted:
            raise KeyboardInterrupt
        appended.append(len(block.sizes))
        append(self, block)

    monkeypatch.setattr(PreparedWriter, "append", stop)
    with pytest.raises(KeyboardInterrupt):
        prepare_geom(path, out)
    first = sum(appended)
    monkeypatch.setattr(
        PreparedWriter, "append", lambda self, block: (appended.append(len(block.sizes)), append(self, block))
    )
    appended.clear()
    resumed, _ = prepare_geom(path, out, resume=True)
    assert first + sum(appended) == 11
    assert resumed.fingerprint == expected.fingerprint
    assert dict(resumed.notes) == dict(expected.notes)
    assert sorted(file.name for file in tmp_path.iterdir() if "out" in file.name) == ["out.h5"]


def test_a_folder_that_changed_is_not_gone_on_with(drugs, tmp_path, monkeypatch):
    monkeypatch.setattr("gaga.data.geom.conformers._CONFORMERS", 2)
    folder = write("folder", tmp_path, drugs[:6])
    (folder / "summary_drugs.json").unlink()
    torn = folder / "drugs" / "zzz.pickle"
    torn.write_bytes(pickle.dumps(print))
    with pytest.raises(InvalidInput, match="which no molecule"):
        prepare_geom(folder, tmp_path / "out.h5")
    torn.unlink()
    (folder / "drugs" / "0.pickle").write_bytes(made.as_pickle(drugs[7]))
    with pytest.raises(Conflict, match="another pickles"):
        prepare_geom(folder, tmp_path / "out.h5", resume=True)


def test_numbers_that_float32_does_not_tell_apart_are_refused(drugs, tmp_path):
    path = made.write_npy(tmp_path / "drugs.npy", drugs[:3])
    rows = np.load(path)
    rows[:, 0] += 2**24
    np.save(path, rows)
    assert prepare_geom(path, tmp_path / "out.h5")[0].conformers == 3
    np.save(path, rows.astype(np.float32))
    with pytest.raises(InvalidInput, match="does not tell from the next"):
        prepare_geom(path, tmp_path / "other.h5")


def test_a_coordinate_beyond_float32_is_too_far(drugs, tmp_path):
    conformers = [np.full_like(drugs[0].conformers[0], 1e300, dtype=np.float64)]
    path = made.write_npy(tmp_path / "drugs.npy", [*drugs[:2], dataclasses.replace(drugs[0], conformers=conformers)])
    assert dict(prepare_geom(path, tmp_path / "out.h5")[0].skipped) == {TOO_FAR: 1}


@pytest.mark.parametrize("form", ["npy", "msgpack", "archive"])
def test_a_file_cut_short_is_read_once(form, drugs, tmp_path, monkeypatch):
    """At most the beginning, which tells it from others, is read a second time."""
    path = write(form, tmp_path, drugs[:60])
    whole = path.read_bytes()
    path.write_bytes(whole[:-200])
    read = []
    original = Path.open

    def counting(self, *args, **kwargs):
        file = original(self, *args, **kwargs)
        if self == path:
            read.append(file)
        return file

    monkeypatch.setattr(Path, "open", counting)
    monkeypatch.setattr("gaga.data.geom.prepare._FIRST", 16)
    refused(path, tmp_path / "out.h5", "cut short")
    assert len(read) <= 2


NPY_LIES = {
    "no numpy": b"garbage" * 30,
    "four columns": np.zeros((3, 4)),
    "whole numbers": np.zeros((3, 5), dtype=np.int64),
    "by columns": np.asfortranarray(np.zeros((3, 5))),
    "objects": np.array([[{}] * 5], dtype=object),
    "no rows": np.zeros((0, 5)),
    "one axis": np.zeros(5),
    "complex": np.zeros((3, 5), dtype=complex),
}


@pytest.mark.parametrize("lie", NPY_LIES)
def test_what_is_no_copy_is_refused(lie, tmp_path):
    path, content = tmp_path / "geom_drugs_30.npy", NPY_LIES[lie]
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content, allow_pickle=True)
    refused(path, tmp_path / "out.h5", "no copy of GEOM-Drugs")


@pytest.mark.parametrize("rows", [10**15, -5])
def test_a_header_that_lies_is_refused_before_anything_is_read(rows, tmp_path):
    path = tmp_path / "geom_drugs_30.npy"
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({rows}, 5), }}".ljust(117) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + bytes(400))
    refused(path, tmp_path / "out.h5", "cut short|no copy")


def test_a_conformer_without_an_end_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((300_000, 5)))
    refused(tmp_path / "x.npy", tmp_path / "out.h5", "no copy")


MSGPACK_LIES = {
    "a list": msgpack.packb([1, 2]),
    "text": msgpack.packb("x"),
    "a number as SMILES": msgpack.packb({1: {}}),
    "no dictionary": msgpack.packb({"C": [1]}),
    "conformers that are a number": msgpack.packb({"C": {"conformers": 3}}),
    "an array of 2^32": b"\x81\xa1C\x81\xaaconformers\x91\xdd\xff\xff\xff\xff",
    "text of 2^32": b"\x81\xdb\xff\xff\xff\xff",
    "nested for ever": b"\x81\xa1C\x81\xaaconformers\x91" + b"\x91" * 100_000,
    "an extension": b"\x81\xa1C\x81\xaaconformers\x91" + b"\xc7\x05\x01hello",
    "bytes that are no text": b"\x81\xa2\xff\xff",
    "never used": b"\xc1",
}


@pytest.mark.parametrize("lie", MSGPACK_LIES)
def test_a_msgpack_of_something_else_is_refused(lie, tmp_path):
    path = tmp_path / "drugs_crude.msgpack"
    path.write_bytes(MSGPACK_LIES[lie])
    refused(path, tmp_path / "out.h5", "msgpack|cut short")


def test_a_conformer_of_endless_bytes_is_refused(tmp_path):
    path = tmp_path / "drugs_crude.msgpack"
    path.write_bytes(b"\x81\xa1C\x81\xaaconformers\x91\xdc\xff\xff" + (b"\xda\xff\xff" + b"x" * 65535) * 120)
    refused(path, tmp_path / "out.h5", "a conformer has over")


# Pickles.


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("numpy_energies", [True, False])
def test_pickles_of_every_protocol(protocol, numpy_energies, drugs, tmp_path):
    molecules = made.with_conformers(drugs[:3], 3)
    (tmp_path / "drugs").mkdir()
    for i, molecule in enumerate(molecules):
        content = made.as_pickle(molecule, protocol, numpy_energies=numpy_energies)
        (tmp_path / "drugs" / f"{i}.pickle").write_bytes(content)
    written, _ = prepare_geom(tmp_path / "drugs", tmp_path / "out.h5", conformers=2)
    expected, _ = prepare_geom(write("msgpack", tmp_path, molecules), tmp_path / "other.h5", conformers=2)
    assert written.fingerprint == expected.fingerprint


@pytest.mark.parametrize("number", range(len(list(hostile_pickles(Path())))))
def test_no_pickle_is_executed(number, drugs, tmp_path):
    name, content = list(hostile_pickles(tmp_path / "trap"))[number]
    folder = write("folder", tmp_path, drugs[:2])
    (folder / "drugs" / "zzz.pickle").write_bytes(content)
    line = ""
    try:
        written, _ = prepare_geom(folder, tmp_path / "out.h5")
    except InvalidInput as error:
        line = error.line
    if line:
        assert "which no molecule of GEOM needs" in line
        assert "\n" not in line
    else:
        assert (written.conformers, dict(written.skipped)) == (2, {UNREADABLE: 1}), name
    assert not (tmp_path / "trap").exists(), name


def _growing_dtypes():
    """Types of numpy that hold each other: a billion of them if they were unfolded."""
    kind = b"cnumpy\ndtype\n(X\x02\x00\x00\x00f8\x89\x88tR"
    return b"\x80\x02" + kind + b"q\x00" + b"".join(kind + b"h%ch%c\x86bq%c" % (i, i, i + 1) for i in range(50)) + b"."


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\x80\x03N.", b"\x80\x03}.", pickle.dumps({"conformers": 3}), pickle.dumps({"conformers": ["x"]}),
        pickle.dumps([1]), pickle.dumps({"conformers": [{"totalenergy": 1.0, "rd_mol": b"no molecule"}]}),
        b"\x80\x03}X\x0a\x00\x00\x00conformers]}(X\x0b\x00\x00\x00totalenergyK\x01X\x06\x00\x00\x00rd_mol"
        b"crdkit.Chem.rdchem\nMol\nC\x04\xef\xbe\xad\xde\x85Ruas.",
        _growing_dtypes(), b"\x80\x02" + b"]" * 5000 + b".",
        b"\x80\x02}X\x0a\x00\x00\x00conformers]}X\x0b\x00\x00\x00totalenergycnumpy.core.multiarray\nscalar\n"
        b"cnumpy\ndtype\n)RC\x08" + bytes(8) + b"\x86Rsas.",
    ],
    ids=["empty", "none", "nothing", "number", "text", "list", "bytes", "torn", "dtypes", "endless", "no type"],
)  # fmt: skip
def test_a_damaged_pickle_is_counted(content, drugs, tmp_path, monkeypatch):
    monkeypatch.setattr("gaga.storage.pickles.MAX_STEPS", 4000)
    folder = write("folder", tmp_path, drugs[:2])
    (folder / "drugs" / "zzz.pickle").write_bytes(content)
    written, _ = prepare_geom(folder, tmp_path / "out.h5")
    assert written.conformers == 2
    assert set(written.skipped) <= {UNREADABLE, MISSING, NO_ENERGY}


@pytest.mark.parametrize("smiles", ["C\ud800", "C\0", "Ç", "C" * 600])
def test_what_is_no_smiles_is_none(smiles, drugs, tmp_path):
    folder = write("folder", tmp_path, drugs[:2])
    (folder / "drugs" / "zzz.pickle").write_bytes(made.as_pickle(dataclasses.replace(drugs[2], smiles=smiles)))
    prepare_geom(folder, tmp_path / "out.h5")
    assert load_dataset(tmp_path / "out.h5").smiles.tolist() == ["molecule 0", "molecule 1", ""]


def test_a_summary_names_the_order_and_what_is_missing(drugs, tmp_path):
    folder = write("folder", tmp_path, drugs[:6])
    assert sorted(os.listdir(folder / "drugs")) != [f"{(7 * i) % 10007:05d}_å.pickle" for i in (5, 0, 1, 2, 3, 4)]
    summary = json.loads((folder / "summary_drugs.json").read_text())
    (folder / "summary_drugs.json").write_text(
        json.dumps(dict(reversed(summary.items())) | {"x": {"pickle_path": "drugs/no.pickle"}})
    )
    written, _ = prepare_geom(folder, tmp_path / "out.h5")
    assert dict(written.skipped) == {MISSING: 1}
    assert list(load_dataset(tmp_path / "out.h5").smiles) == [f"molecule {i}" for i in range(5, -1, -1)]


@pytest.mark.parametrize(
    "path", ["../secret.pickle", "/etc/x.pickle", "drugs/../../x.pickle", "other/x.pickle", "a\\u0000b"]
)
def test_a_summary_that_leads_elsewhere_is_refused(path, drugs, tmp_path):
    folder = write("folder", tmp_path, drugs[:2])
    (folder / "summary_drugs.json").write_text(f'{{"C": {{"pickle_path": "{path}"}}}}')
    refused(folder, tmp_path / "out.h5", "leads out of its folder")


# Archives.


def test_names_in_an_archive_lead_nowhere(drugs, tmp_path):
    members = [
        (f"{where}/drugs/{i}.pickle", made.as_pickle(m))
        for i, (where, m) in enumerate(zip(["..", "/tmp", "a/../../b"], drugs[:3], strict=True))
    ]
    (tmp_path / "in").mkdir()
    path = made.write_members(tmp_path / "in" / "rdkit_folder.tar.gz", members)
    written, _ = prepare_geom(path, tmp_path / "in" / "out.h5")
    assert written.conformers == 3
    assert sorted(file.name for file in (tmp_path / "in").iterdir()) == ["out.h5", "rdkit_folder.tar.gz"]
    assert [file.name for file in tmp_path.iterdir()] == ["in"]


def test_a_gzip_bomb_is_refused(tmp_path):
    path = tmp_path / "rdkit_folder.tar.gz"
    with gzip.open(path, "wb", compresslevel=9) as file:
        for _ in range(100):
            file.write(bytes(1 << 20))
    refused(path, tmp_path / "out.h5", "cut short|no usable|times its size")
    header = made.write_members(tmp_path / "x.tar", [("rdkit_folder/drugs/a.pickle", b"")], "w").read_bytes()[:512]
    with gzip.open(path, "wb", compresslevel=9) as file:
        file.write(header.replace(b"00000000000\x00", b"00777777777\x00", 1))
        for _ in range(100):
            file.write(bytes(1 << 20))
    refused(path, tmp_path / "out.h5", "times its size|no rdkit_folder")


@pytest.mark.parametrize(
    "content", [b"", b"garbage" * 200, gzip.compress(b"garbage" * 200)], ids=["empty", "text", "gzip"]
)
def test_what_is_no_archive_is_refused(content, tmp_path):
    (tmp_path / "rdkit_folder.tar.gz").write_bytes(content)
    refused(tmp_path / "rdkit_folder.tar.gz", tmp_path / "out.h5", "no rdkit_folder|no usable|cut short")


def test_a_tar_without_its_end_is_cut_short(drugs, tmp_path):
    path = made.write_archive(tmp_path / "rdkit_folder.tar", drugs[:5], "w")
    content = path.read_bytes()
    path.write_bytes(content[: len(content.rstrip(b"\0")) // 512 * 512])
    refused(path, tmp_path / "out.h5", "cut short")


# Which conformers are one molecule.


def _isomers():
    """C2H6O twice, with the same elements in the same order, and water."""
    ethanol = np.array([[-1.2, 0.2, 0], [0.2, -0.4, 0], [1.2, 0.6, 0], [-1.9, -0.6, 0.1], [-1.3, 0.8, 0.9],
                        [-1.3, 0.8, -0.9], [0.3, -1.0, 0.9], [0.3, -1.0, -0.9], [2.0, 0.1, 0]])  # fmt: skip
    ether = np.array([[-1.2, 0.2, 0], [1.2, 0.2, 0], [0, -0.5, 0], [-2.0, -0.5, 0], [-1.2, 0.8, 0.9],
                      [-1.2, 0.8, -0.9], [2.0, -0.5, 0], [1.2, 0.8, 0.9], [1.2, 0.8, -0.9]])  # fmt: skip
    numbers = np.array([6, 6, 8, 1, 1, 1, 1, 1, 1], np.uint8)
    water = np.array([[0, 0, 0.1], [0, 0.76, -0.48], [0, -0.76, -0.48]])
    return (
        made.Molecule("CCO", numbers, [ethanol, ethanol + 0.02, ethanol - 0.01], [0.0, 1.0, 2.0]),
        made.Molecule("COC", numbers, [ether, ether + 0.01], [0.0, 1.0]),
        made.Molecule("O", np.array([8, 1, 1], np.uint8), [water], [0.0]),
    )


@pytest.mark.parametrize(
    ("lines", "groups", "notes", "smiles"),
    [
        (None, [0, 0, 0, 1, 1, 2], {BY_GRAPH: 3}, None),
        (["CCO", "COC", "O"], [0, 0, 0, 1, 1, 2], {BY_SMILES: 3}, ["CCO", "COC", "O"]),
        (["C", "CCO", "not a SMILES", "COC", "O"], [0, 0, 0, 0, 0, 1], {BY_SMILES: 2}, ["CCO", "O"]),
        (["CCO", "O"], [0, 0, 0, 0, 0, 1], {BY_SMILES: 2}, ["CCO", "O"]),
        (["CCC"], [0, 0, 0, 1, 1, 2], {BY_GRAPH: 3}, ["", "", ""]),
        (["O"], [0, 0, 0, 1, 1, 2], {BY_GRAPH: 2, BY_SMILES: 1}, ["", "", "O"]),
        (["CCO"] * 3 + ["COC"] * 2 + ["O"], [0, 0, 0, 1, 1, 2], {BY_SMILES: 3}, ["CCO", "COC", "O"]),
    ],
)  # fmt: skip
def test_the_rule_by_which_conformers_are_one_molecule(lines, groups, notes, smiles, tmp_path):
    path = made.write_npy(tmp_path / "geom_drugs_30.npy", _isomers())
    np.save(tmp_path / "geom_drugs_n_30.npy", [9, 9, 9, 9, 9, 3])
    if lines is not None:
        (tmp_path / "geom_drugs_smiles.txt").write_text("\n".join(lines) + "\n")
    written, rule = prepare_geom(path, tmp_path / "out.h5")
    data = load_dataset(tmp_path / "out.h5")
    np.testing.assert_array_equal(data.groups, groups)
    assert dict(written.notes) == notes
    assert ("bond graph" in rule) == (BY_GRAPH in notes)
    assert ("geom_drugs_smiles.txt" in rule) == (lines is not None)
    found = data.smiles if smiles is None else list(data.smiles[np.unique(data.groups, return_index=True)[1]])
    assert found == smiles


def test_sizes_that_are_not_the_files_own_are_refused(tmp_path):
    path = made.write_npy(tmp_path / "geom_drugs_30.npy", _isomers())
    for sizes in ([9, 9, 9, 9, 9, 4], [9, 9], np.zeros((2, 2)), np.array(["x"])):
        np.save(tmp_path / "geom_drugs_n_30.npy", sizes)
        refused(path, tmp_path / "out.h5", "atoms")


def test_a_damaged_npy_beside_it_is_refused(tmp_path):
    path = made.write_npy(tmp_path / "geom_drugs_30.npy", _isomers())
    (tmp_path / "geom_drugs_n_30.npy").write_bytes(b"x")
    refused(path, tmp_path / "out.h5", "delete it; it is not needed|no array of numbers")


# Which form it is, and what is in the way.


def test_forms_are_found_in_their_folder(drugs, tmp_path):
    for form in FORMS:
        path = write(form, tmp_path / form, drugs[:2])
        if form == "npy":
            path = path.rename(path.with_name("geom_drugs_30.npy"))
        assert open_source(path.parent).path == path
    write("archive", tmp_path / "folder", drugs[:2])
    with pytest.raises(InvalidInput, match=r"rdkit_folder\.tar\.gz, rdkit_folder"):
        open_source(tmp_path / "folder")
    with pytest.raises(InvalidInput, match="none of its forms"):
        open_source(tmp_path)
    with pytest.raises(NotFound):
        open_source(tmp_path / "nothing")
    (tmp_path / "x.sdf").write_text("x")
    with pytest.raises(InvalidInput, match="not a copy of GEOM-Drugs"):
        open_source(tmp_path / "x.sdf")


def test_what_is_there_stays(drugs, tmp_path):
    path, out = write("npy", tmp_path, drugs[:3]), tmp_path / "out.h5"
    prepare_geom(path, out)
    with pytest.raises(Conflict, match="overwrite"):
        prepare_geom(path, out)
    assert prepare_geom(path, out, overwrite=True)[0].conformers == 3
