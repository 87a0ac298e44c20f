"""What must hold of every reader and option, whatever it is given. One function for each; a case in, nothing out."""

import gzip
import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.fuzz.bases import bases, forged, header_keys
from tests.fuzz.options import OPTION_CASES, check_options
from tests.fuzz.running import Answer, finite_json, gaga, limited, write
from tests.fuzz.strategies import (
    DAMAGES,
    JSON_VALUES,
    MOLECULE_FILES,
    NAMES,
    SMILES_TABLES,
    Damage,
    MoleculeFile,
    damaged,
)


@dataclass(frozen=True)
class Property:
    """A property, what it is tried on, and its share of a run's cases."""

    name: str
    cases: Callable[[], SearchStrategy[Any]]
    check: Callable[[Any, Path], None]
    share: float = 1.0


def _file(case: tuple[MoleculeFile, bool], folder: Path) -> Path:
    file, zipped = case
    suffix = file.file_suffix + (".gz" if zipped else "")
    return write(folder / f"m{suffix}", file.content())


def _n_usable(file: MoleculeFile) -> int | None:
    """Molecules that a right reader takes; None where a name says something to the format itself."""
    if any("=" in m.name or "<" in m.name for m in file.molecules):
        return None
    return sum(m.usable for m in file.molecules)


def info_counts_the_usable(case: tuple[MoleculeFile, bool], folder: Path) -> None:
    """`data info` counts what is usable, and accounts for the rest."""
    answer = gaga(folder, "data", "info", _file(case, folder), "--json")
    expected = _n_usable(case[0])
    if answer.code == 0:
        told = json.loads(answer.out)
        skipped = sum(row["molecules"] for row in told["skipped"])
        assert expected is None or told["molecules"] == expected
        assert expected is None or told["molecules"] + skipped == len(case[0].molecules)
    else:
        assert not expected


def evaluation_counts_everything(case: tuple[MoleculeFile, bool, str, str], folder: Path) -> None:
    """`evaluate` judges every record, unusable ones as failures; its rates lie in their intervals in [0, 1]."""
    file, zipped, protocol, reference = case
    answer = gaga(folder, "evaluate", _file((file, zipped), folder), "--protocol", protocol, "--reference", reference,
                  "--threads", "1", "--json")  # fmt: skip
    expected = _n_usable(file)
    if answer.code:
        assert not expected
        return
    told = json.loads(answer.out)
    assert expected is None or told["molecules"] == len(file.molecules)
    for rate in told["rates"].values():
        if rate["denominator"]:
            assert 0 <= rate["low"] <= rate["value"] <= rate["high"] <= 1


def variance_is_finite(case: tuple[MoleculeFile, bool], folder: Path) -> None:
    """`variance` gives a finite number for each block that a molecule counted in."""
    answer = gaga(folder, "variance", "--dataset", _file(case, folder), "--json")
    if answer.code:
        assert not _n_usable(case[0])
        return
    for statistic in json.loads(answer.out)["statistics"].values():
        for block in statistic.values():
            assert not block["molecules"] or None not in block.values()


def prepared_is_the_same(case: tuple[MoleculeFile, bool], folder: Path) -> None:
    """A prepared file holds the molecules that it was made of."""
    path = _file(case, folder)
    answer = gaga(folder, "data", "prepare", path, "--out", "d.h5", "--json")
    if answer.code:
        assert not _n_usable(case[0])
        assert not (folder / "d.h5").exists()
        return
    again = gaga(folder, "data", "info", "d.h5", "--json")
    assert again.code == 0, again.err
    assert json.loads(again.out)["fingerprint"] == json.loads(answer.out)["fingerprint"]


def _damaged_file(name: str, damages: list[Damage], folder: Path) -> Path:
    path = folder / name
    path.write_bytes(damaged((bases() / name).read_bytes(), damages))
    return path


def damaged_molecules_are_answered(case: tuple[str, str, list[Damage]], folder: Path) -> None:
    """SDF and XYZ after damages, before or after compression."""
    name, zipping, damages = case
    content = (bases() / name).read_bytes()
    if zipping == "damaged after":
        path = folder / f"{name}.gz"
        path.write_bytes(damaged(gzip.compress(content, mtime=0), damages))
    else:
        path = write(folder / (f"{name}.gz" if zipping else name), damaged(content, damages))
    gaga(folder, "data", "info", path, "--json")
    gaga(folder, "evaluate", path, "--threads", "1", "--json")


def tables_of_smiles_are_accounted_for(case: tuple[str, bytes, list[Damage], list[str]], folder: Path) -> None:
    """CSV and .smi of any rows and after damages: what is read is kept or counted under a reason."""
    name, content, damages, options = case
    path = write(folder / name, damaged(content, damages))
    answer = gaga(folder, "data", "prepare", path, "--embed", *options, "--threads", "1", "--time-limit", "2",
                  "--out", "d.h5", "--json")  # fmt: skip
    assert (answer.code == 0) == (folder / "d.h5").exists()
    assert not list(folder.glob(".*.unfinished*"))
    if answer.code == 0:
        told = json.loads(answer.out)
        left_out = sum(row["molecules"] for row in told["skipped"])
        assert told["preparation"]["read"] == told["molecules"] + left_out
        assert sum(told["preparation"]["force_fields"].values()) == told["molecules"]


def damaged_prepared_files_are_answered(damages: list[Damage], folder: Path) -> None:
    """Prepared data sets after damages."""
    path = _damaged_file("d.h5", damages, folder)
    gaga(folder, "data", "info", path, "--json")
    gaga(folder, "variance", "--dataset", path, "--json")


def damaged_stores_are_answered(damages: list[Damage], folder: Path) -> None:
    """Stores after damages: what can be read is what was written."""
    path = _damaged_file("s.h5", damages, folder)
    answers = [
        gaga(folder, "store", "show", "variance/v", "--store", path, "--json"),
        gaga(folder, "store", "export", "evaluation/e", "--store", path, "--json"),
    ]
    whole = [
        gaga(bases(), "store", "show", "variance/v", "--store", "s.h5", "--json"),
        gaga(bases(), "store", "export", "evaluation/e", "--store", "s.h5", "--json"),
    ]
    for answer, right in zip(answers, whole, strict=True):
        assert answer.code or _values(answer) == _values(right)
    gaga(folder, "store", "list", "--store", path, "--json")
    gaga(folder, "tstar", "g", "--store", path, "--json")
    gaga(folder, "variance", "--dataset", bases() / "m.xyz", "--store", path, "--name", "w", "--json")


def _values(answer: Answer) -> Any:
    return json.loads(answer.out)["values"]


def _sampled(folder: Path, checkpoint: Path) -> Answer:
    return gaga(folder, "sample", "--n", "1", "--method", "dpm++", "--steps", "2", "--checkpoint", checkpoint,
                "--out", "x.xyz", "--device", "cpu", "--threads", "1", "--json")  # fmt: skip


def damaged_checkpoints_are_refused(damages: list[Damage], folder: Path) -> None:
    """Checkpoints after damages: one that is not the same is refused, and nothing is written."""
    path = _damaged_file("model.safetensors", damages, folder)
    answer = _sampled(folder, path)
    if path.read_bytes() != (bases() / "model.safetensors").read_bytes():
        assert answer.code == 1
        assert not (folder / "x.xyz").exists()


def forged_checkpoints_are_answered(case: tuple[str, Any], folder: Path) -> None:
    """Checkpoints whose header has another value somewhere, under a checksum that agrees."""
    key, value = case
    path = folder / "model.safetensors"
    path.write_bytes(forged({key: value}))
    answer = _sampled(folder, path)
    if answer.code == 0:
        assert "nan" not in (folder / "x.xyz").read_text()


def damaged_edm_folders_are_answered(case: tuple[str, list[Damage]], folder: Path) -> None:
    """EDM folders after damages of the pickle or of the weights."""
    name, damages = case
    shutil.copytree(bases() / "edm", folder / "edm")
    path = folder / "edm" / name
    path.write_bytes(damaged(path.read_bytes(), damages))
    answer = gaga(folder, "import-edm", "edm", "--out", "x.safetensors", "--json")
    assert (answer.code == 0) == (folder / "x.safetensors").exists()


def damaged_states_are_refused(damages: list[Damage], folder: Path) -> None:
    """The state of a training run after damages."""
    import torch

    from gaga.core.errors import GagaError
    from gaga.models.training.state import TrainingState

    path = _damaged_file("state.safetensors", damages, folder)
    with limited(), suppress(GagaError):
        TrainingState.load(path, torch.device("cpu")).refuse_other({"seed": 0, "recipe": {"hidden": 8}}, path)


def recipes_are_answered(case: tuple[list[Damage], dict[str, Any]], folder: Path) -> None:
    """TOML after damages, and with values of any type."""
    damages, values = case
    content = (bases() / "r.toml").read_bytes() if damages else b""
    lines = "".join(f"{json.dumps(key)} = {json.dumps(value)}\n" for key, value in values.items())
    (folder / "r.toml").write_bytes(lines.encode("utf-8", "replace") + damaged(content, damages))
    answer = gaga(folder, "train", "--config", "r.toml", "--dataset", "missing.xyz", "--max-t", "550", "--dry-run")
    assert answer.code in (1, 2)


def references_are_read_or_refused(case: tuple[str, Any], folder: Path) -> None:
    """A row of reference rates with another value somewhere."""
    from dataclasses import asdict

    from gaga.core.errors import GagaError
    from gaga.evaluation import ReferenceRow, shipped_reference
    from gaga.storage.serialise import from_tree

    key, value = case
    values = asdict(shipped_reference("qm9", "edm").row)
    rates = values["rates"]
    target = rates if isinstance(rates, dict) and key in rates else values
    target[key] = value
    with suppress(GagaError):
        from_tree(values, ReferenceRow)


def names_lead_nowhere_else(case: tuple[str, str], folder: Path) -> None:
    """Results, runs and files by any name: nothing is written outside the folder."""
    name, suffix = case
    inner = folder / "inner"
    inner.mkdir()
    gaga(inner, "variance", "--dataset", bases() / "m.xyz", "--name", name, "--json")
    path = inner / ("f" + name.replace("/", "_")[:60] + suffix)
    path.write_bytes((bases() / "m.xyz").read_bytes())
    for words in (["data", "info", path.name], ["variance", "--dataset", path.name], ["evaluate", path.name]):
        options = ["--threads", "1"] if words[0] == "evaluate" else []
        answer = gaga(inner, *words[:-1], f"./{words[-1]}", *options, "--json")
        if answer.code == 0:
            finite_json(answer.out)
    assert [p.name for p in folder.iterdir()] == ["inner"]


def no_file_is_answered(case: tuple[list[str], str], folder: Path) -> None:
    """Empty files, folders and nothing at all where a file is named."""
    words, kind = case
    path = folder / f"x{words[-1]}"
    if kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    elif kind == "a link to itself":
        path.symlink_to(path)
    answer = gaga(folder, *words[:-1], path)
    assert answer.code in (1, 2) or "--store" in words


_FILE_ARGUMENTS = [
    ["data", "info", ".sdf"], ["data", "info", ".xyz.gz"], ["data", "info", ".h5"], ["evaluate", ".sdf"],
    ["variance", "--dataset", ".xyz"], ["data", "info", ".smi"],
    ["data", "prepare", "--out", "d.h5", "--embed", ".csv"],
    ["store", "list", "--store", ".h5"], ["tstar", "g", "--store", ".h5"],
    ["import-edm", ""], ["sample", "--n", "1", "--checkpoint", ".safetensors"],
    ["train", "--dry-run", "--max-t", "550", "--dataset", "y.xyz", "--config", ".toml"],
    ["data", "prepare", "qm9", "--out", "q.h5", "--cache", "c", "--from", ".tar.bz2"],
]  # fmt: skip
_FILES = st.tuples(MOLECULE_FILES, st.booleans())
_ROW = ["description", "rates", "bond_lengths", "rdkit", "valid", "novel", "connected", "surprise"]

PROPERTIES = (
    Property("data info counts usable molecules", lambda: _FILES, info_counts_the_usable, 2),
    Property(
        "evaluate counts every record",
        lambda: st.tuples(
            MOLECULE_FILES, st.booleans(), st.sampled_from(["edm", "strict"]), st.sampled_from(["qm9", "none"])
        ),
        evaluation_counts_everything,
        2,
    ),
    Property("variance is finite", lambda: _FILES, variance_is_finite),
    Property("a prepared file is the same data set", lambda: _FILES, prepared_is_the_same),
    Property(
        "damaged SDF, XYZ and gzip",
        lambda: st.tuples(
            st.sampled_from(["m.sdf", "m.xyz"]), st.sampled_from(["", "damaged before", "damaged after"]), DAMAGES
        ),
        damaged_molecules_are_answered,
        2,
    ),
    Property("tables of SMILES", lambda: SMILES_TABLES, tables_of_smiles_are_accounted_for, 0.5),
    Property("damaged prepared data", lambda: DAMAGES, damaged_prepared_files_are_answered),
    Property("damaged stores", lambda: DAMAGES, damaged_stores_are_answered),
    Property("damaged checkpoints", lambda: DAMAGES, damaged_checkpoints_are_refused),
    Property(
        "forged checkpoints", lambda: st.tuples(st.sampled_from(header_keys()), JSON_VALUES),
        forged_checkpoints_are_answered,
    ),
    Property(
        "damaged EDM folders", lambda: st.tuples(st.sampled_from(["args.pickle", "generative_model_ema.npy"]), DAMAGES),
        damaged_edm_folders_are_answered,
    ),
    Property("damaged training states", lambda: DAMAGES, damaged_states_are_refused, 0.5),
    Property(
        "recipes in TOML",
        lambda: st.tuples(
            st.one_of(st.just([]), DAMAGES),
            st.dictionaries(
                st.sampled_from(["hidden", "steps", "factors", "learning_rate", "schedule", "amsgrad", "x", "preset"]),
                st.one_of(st.booleans(), st.integers(), st.text(max_size=3), st.lists(st.integers(), max_size=4)),
                max_size=2,
            ),
        ),
        recipes_are_answered,
    ),
    Property(
        "reference rows in JSON", lambda: st.tuples(st.sampled_from(_ROW), JSON_VALUES), references_are_read_or_refused,
        0.5,
    ),
    Property(
        "names lead nowhere else", lambda: st.tuples(NAMES, st.sampled_from([".xyz", ".XYZ", ".sdf", ".smi", ""])),
        names_lead_nowhere_else,
    ),
    Property(
        "empty files, folders, nothing",
        lambda: st.tuples(
            st.sampled_from(_FILE_ARGUMENTS), st.sampled_from(["empty", "folder", "missing", "a link to itself"])
        ),
        no_file_is_answered, 0.5,
    ),
    Property("options of every command", lambda: OPTION_CASES, check_options, 3),
)  # fmt: skip
