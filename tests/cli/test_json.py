"""docs/JSON.md lists exactly the keys that commands print."""

import re
from pathlib import Path

import numpy as np
import pytest

from gaga.cli import commands

DOCUMENT = Path(__file__).parents[2] / "docs" / "JSON.md"


def sections() -> dict[str, list[tuple[str, str]]]:
    """(key, type) of every table row, by heading; rows without a key name a shared object."""
    found: dict[str, list[tuple[str, str]]] = {}
    title = ""
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            title = line.lstrip("# ")
        elif line.startswith("|") and not line.startswith(("| key", "|---")):
            key, kind, _ = (cell.strip() for cell in line.strip("|").split("|"))
            found.setdefault(title, []).append((key.strip("`"), kind))
    return found


def documented(title: str, prefix: str = "") -> dict[str, str]:
    """Every key of a command with its type, shared objects put in."""
    keys: dict[str, str] = {}
    for key, kind in sections()[title]:
        shared = re.fullmatch(r"\*(\w+)\*", kind) or re.fullmatch(r"the keys of \*(\w+)\*", key)
        if shared:
            within = f"{prefix}{key}." if "*" not in key else prefix
            keys |= documented(shared[1], within)
        else:
            keys[prefix + key] = kind
    return keys


def printed(value: object, open_objects: set[str], path: str = "") -> dict[str, object]:
    """Every key of a JSON value with one of its values; the contents of open objects are left out."""
    if path in open_objects and isinstance(value, dict):
        return {path: value}
    if isinstance(value, dict):
        pairs = [(f"{path}.{key}" if path else key, item) for key, item in value.items()]
    elif isinstance(value, list) and value:
        pairs = [(f"{path}[]", item) for item in value]
    else:
        return {path: value}
    found: dict[str, object] = {}
    for key, item in pairs:
        found |= printed(item, open_objects, key)
    return found


def pattern(key: str) -> re.Pattern[str]:
    """What matches a documented key; `<name>` is any one name."""
    return re.compile(re.sub(r"<\w+>", r"[^.]+", re.escape(key)))


TYPES = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "object": dict, "null": type(None)}


def fits(value: object, kind: str) -> bool:
    if kind == "any" or (isinstance(value, bool) and kind != "boolean"):
        return kind == "any"
    return any(isinstance(value, TYPES[name]) for name in kind.split(" or "))


def check(title: str, payload: dict[str, object]) -> None:
    """Every key that is printed is documented with its type, and every documented key is printed.

    What lies within an empty list or a null object cannot be printed.
    """
    keys = documented(title)
    found = printed(payload, {key for key, kind in keys.items() if kind == "object"})
    empty = [f"{key}[" for key, value in found.items() if value == []]
    empty += [f"{key}." for key, value in found.items() if value is None and keys.get(key) == "object or null"]
    for key, value in found.items():
        kinds = [kind for known, kind in keys.items() if pattern(known).fullmatch(key)]
        assert kinds or value == [], f"{title} prints {key}, which docs/JSON.md does not list"
        assert value == [] or fits(value, kinds[0]), f"{title} prints {key} = {value!r}, listed as {kinds[0]}"
    for known, kind in keys.items():
        there = kind == "object or null" or any(pattern(known).fullmatch(key) for key in found)
        assert there or known.startswith(tuple(empty)), f"{title} does not print {known}, which docs/JSON.md lists"


GAUSSIANITY = ("--timesteps", "200:1000:400", "--n-null", "20", "--n-resamples", "10", "--threads", "1")


@pytest.fixture
def filled(gaga, xyz):
    """A store with a result in it."""
    assert gaga("variance", "--dataset", xyz, "--name", "v").code == 0
    return gaga


COMMANDS = {
    "gaga variance": ("variance", "--dataset", "tiny.xyz"),
    "gaga gaussianity": ("gaussianity", "--dataset", "tiny.xyz", *GAUSSIANITY),
    "gaga evaluate": ("evaluate", "tiny.xyz", "--threads", "1"),
    "gaga data list": ("data", "list"),
    "gaga data prepare": ("data", "prepare", "tiny.xyz", "--out", "tiny.h5"),
    "gaga store list": ("store", "list"),
    "gaga store show": ("store", "show", "v"),
    "gaga store export": ("store", "export", "v", "--out", "v.csv"),
    "gaga store delete": ("store", "delete", "v"),
    "gaga doctor": ("doctor",),
}


@pytest.mark.parametrize("title", COMMANDS)
def test_keys(filled, title):
    ran = filled(*COMMANDS[title], "--json")
    assert ran.code == 0, ran.err
    check(title, ran.json)


def test_keys_of_gaussianity_until_a_width(gaga, xyz):
    words = ("--timesteps", "200:1000:400", "--n-resamples", "10", "--threads", "1", "--until", "0.2")
    check("gaga gaussianity", gaga("gaussianity", "--dataset", xyz, *words, "--json").json)


def test_keys_of_variance_of_a_published_data_set(gaga, xyz):
    xyz.rename("geom.xyz")
    check("gaga variance", gaga("variance", "--dataset", "geom.xyz", "--json").json)


def test_keys_of_tstar(gaga, xyz):
    assert gaga("gaussianity", "--dataset", xyz, "--name", "g", *GAUSSIANITY).code == 0
    check("gaga tstar", gaga("tstar", "g", "--json").json)


def test_keys_of_sample(gaga, pytestconfig):
    folder = pytestconfig.rootpath / "tests" / "golden" / "gaga_tiny"
    assert gaga("import-edm", folder, "--dataset", "qm9", "--out", "m.safetensors").code == 0
    words = ("--checkpoint", "m.safetensors", "--n", 2, "--steps", 3, "--out", "m.xyz", "--device", "cpu")
    check("gaga sample", gaga("sample", *words, "--json").json)
    check("gaga sample", gaga("sample", *words, "--composition", "CH4", "--json", "--overwrite").json)


def test_keys_of_a_property(gaga, xyz):
    xyz.write_text(xyz.read_text().replace("molecule ", "stretch="))
    words = ("--dataset", xyz, "--hidden", 4, "--layers", 1, "--steps", 2, "--threads", 1)
    trained = gaga("train-property", "stretch", *words, "--json").json
    check("gaga train-property", trained)
    xyz.write_text(xyz.read_text().replace("stretch=", "target_stretch="))
    judged = gaga("evaluate", xyz, "--predictor", trained["checkpoint"], "--threads", 1, "--json").json
    assert len(judged["property"]["rows"]) == 2
    check("gaga evaluate", judged)


def test_keys_of_truncation(gaga, xyz, pytestconfig):
    folder = pytestconfig.rootpath / "tests" / "golden" / "gaga_tiny"
    assert gaga("import-edm", folder, "--dataset", xyz, "--out", "m.safetensors").code == 0
    words = ("--checkpoint", "m.safetensors", "--dataset", xyz, "--max-molecules", 2, "--device", "cpu")
    check("gaga truncation", gaga("truncation", *words, "--json").json)


def test_keys_of_price(gaga, xyz):
    check("gaga price", gaga("price", "--dataset", xyz, "--n-pairs", 500, "--threads", 1, "--json").json)


def test_keys_of_modalities(gaga, tmp_path):
    np.save(tmp_path / "mine.npy", np.random.default_rng(0).normal(size=(12, 6, 1)))
    check("gaga modalities", gaga("modalities", "--dataset", "mine.npy", "--threads", 1, "--json").json)


def test_keys_of_evaluate_without_a_reference(gaga, xyz):
    payload = gaga("evaluate", xyz, "--threads", "1", "--reference", "none", "--json").json
    assert payload["real_data"] is None
    assert payload["rates"]["novel"]["value"] is None
    check("gaga evaluate", payload)


def test_keys_of_evaluate_with_everything(gaga, xyz, xtb, posebusters):
    words = ("--dataset", xyz, "--posebusters", "--relax", "--sample-size", "2", "--threads", "1")
    payload = gaga("evaluate", xyz, *words, "--json").json
    assert payload["posebusters"]["real_data"]["version"] == "9.9"
    assert payload["relaxation"]["real_data"]["drawn"] == 2
    check("gaga evaluate", payload)


def test_keys_of_info_with_skipped_molecules(gaga, xyz):
    xyz.write_text(xyz.read_text() + "1\nbroken\nH nowhere 0 0\n")
    ran = gaga("data", "info", xyz, "--json")
    assert ran.code == 0, ran.err
    assert [row["molecules"] for row in ran.json["skipped"]] == [1]
    check("gaga data info", ran.json)


def test_keys_of_info_of_qm9(gaga):
    payload = gaga("data", "info", "qm9", "--json").json
    assert payload["molecules"] == 130_831
    assert {"name": "gap", "unit": "Ha"} in payload["properties"]
    check("gaga data info", payload)


def test_an_export_is_one_object(filled):
    ran = filled("store", "export", "v", "--json")
    header = documented("header")
    assert {key.split(".")[0] for key in header} | {"values"} == set(ran.json)
    assert len(ran.json["values"]["n_atoms"]) == 60


def test_every_command_is_documented():
    titles = set(sections())
    for name in commands.COMMANDS:
        inner = getattr(commands.load(name), "commands", {"": None})
        assert {f"gaga {name} {leaf}".strip() for leaf in inner} <= titles
