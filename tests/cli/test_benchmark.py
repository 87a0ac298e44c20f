"""gaga benchmark, on tiny networks."""

import subprocess
import sys
from datetime import datetime

import pytest

from gaga.benchmark import machine
from gaga.benchmark.parity import Variant
from gaga.core.errors import Unavailable
from gaga.models.network.kernels import products
from tests.benchmark.conftest import break_torch  # noqa: F401 - a fixture
from tests.cli.test_json import check

TINY = ("--hidden", 8, "--layers", 1, "--batch-size", 3, "--rounds", 2, "--device", "cpu")
FAST = (*TINY, "--case", "qm9-train", "--kernel", "naive", "--kernel", "torch", "--precision", "float32")


@pytest.fixture(autouse=True)
def small_products(monkeypatch):
    """A small floor, and one library of float32 products unless a test asks for both."""
    monkeypatch.setattr(machine, "_CPU_SIDES", (64,))
    products.ask_for("mkl")
    yield
    products.ask_for("auto")


def test_a_table_with_the_machine_the_floor_and_the_ratio(gaga):
    ran = gaga("benchmark", *FAST)
    assert ran.code == 0, ran.err
    assert "cpu: " in ran.out
    assert "allocator: " in ran.out
    assert "Floor of float32: " in ran.out
    assert "agrees (allowed: 1e-04, 1e-04, 1e-04)" in ran.out
    assert "qm9-train, 3 molecules, " in ran.out
    assert "naive, padded to 29" in ran.out
    assert "Stored as benchmark/cpu_" in ran.out


def test_the_keys_of_json(gaga):
    payload = gaga("benchmark", *FAST, "--case", "qm9-sampling", "--json").json
    check("gaga benchmark", payload)
    states = {(row["case"], row["kernel"]): row["state"] for row in payload["rows"]}
    assert states == {
        ("qm9-train", "naive"): "measured",
        ("qm9-train", "naive, padded to 29"): "measured",
        ("qm9-train", "torch"): "measured",
        ("qm9-sampling", "naive"): "measured",
        ("qm9-sampling", "torch"): "measured",
    }
    naive, padded, torch = payload["rows"][:3]
    assert naive["times_naive"] == padded["times_padded"] == 1
    assert torch["times_padded"] == pytest.approx(padded["seconds"] / torch["seconds"])


def test_a_kernel_that_disagrees_gets_no_figure_and_the_others_do(gaga, break_torch):  # noqa: F811
    break_torch("output")
    ran = gaga("benchmark", *FAST)
    assert ran.code == 1
    line = next(line for line in ran.out.splitlines() if line.startswith("torch "))
    assert "refused: outputs are off by 1.0e-03, more than 1e-04" in line
    assert "molecules/s" in ran.out
    assert "Stored as benchmark/" in ran.out
    assert ran.err == ""


def test_a_kernel_that_cannot_run_here_says_why(gaga, monkeypatch):
    right = Variant.network

    def open_network(variant, config, device):
        if variant.kernel == "triton":
            raise Unavailable("the fused kernels need a CUDA device", remedy="use --kernel torch")
        return right(variant, config, device)

    monkeypatch.setattr(Variant, "network", open_network)
    ran = gaga("benchmark", *TINY, "--case", "qm9-forward", "--kernel", "triton", "--precision", "bfloat16")
    assert ran.code == 1, "nothing that was asked for can run"
    line = next(line for line in ran.out.splitlines() if line.startswith("triton "))
    assert "unavailable: the fused kernels need a CUDA device" in line


def test_check_times_nothing(gaga):
    ran = gaga("benchmark", "--check", "--case", "qm9-train", "--kernel", "torch", "--hidden", 8, "--json")
    assert ran.json["rows"] == []
    assert [(a["kernel"], a["precision"]) for a in ran.json["parity"]] == [("torch", "float32"), ("torch", "bfloat16")]
    assert all(a["refused"] == "" for a in ran.json["parity"])
    refused = gaga("benchmark", "--check", "--quick")
    assert (refused.code, refused.out) == (2, "")
    assert "--check times nothing" in refused.err


def test_quick_gives_way_to_what_is_asked_for(gaga):
    config = gaga("benchmark", "--quick", *FAST, "--json").json["stored"]["config"]
    assert config["cases"] == ["qm9-train"]
    assert (config["rounds"], config["batch_sizes"], config["budget_s"]) == (2, [3], 8.0)


def test_timings_are_stored_under_their_time_or_a_name_that_is_replaced_on_demand(gaga):
    entry = gaga("benchmark", *FAST, "--json").json["stored"]
    assert (entry["kind"], entry["found"]) == ("benchmark", False)
    assert gaga("store", "show", entry["name"]).code == 0
    assert gaga("benchmark", *FAST, "--name", "mine").code == 0
    refused = gaga("benchmark", *FAST, "--name", "mine")
    assert (refused.code, refused.out) == (1, "")
    assert "Give this one another --name, or add --replace" in refused.err
    first = gaga("store", "show", "mine", "--json").json["digest"]
    assert gaga("benchmark", *FAST, "--name", "mine", "--replace").code == 0
    assert gaga("store", "show", "mine", "--json").json["digest"] != first


def test_two_in_one_second_have_names_of_their_own(gaga, monkeypatch):
    class Stopped(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2026, 1, 2, tzinfo=tz)

    monkeypatch.setattr("gaga.runs.benchmark.datetime", Stopped)
    check = ("benchmark", "--check", "--case", "qm9-train", "--kernel", "naive", "--hidden", 8, "--layers", 1, "--json")
    names = [gaga(*check).json["stored"]["name"] for _ in range(2)]
    assert names == ["cpu_2026-01-02T00-00-00", "cpu_2026-01-02T00-00-00-2"]


def test_the_tables_as_markdown(gaga, tmp_path):
    assert gaga("benchmark", *FAST, "--out", "figures.md").code == 0
    text = (tmp_path / "figures.md").read_text(encoding="utf-8")
    assert "### qm9-train, 3 molecules" in text
    assert "| naive, padded to 29 | float32 |" in text
    assert "Floor of float32" in text
    refused = gaga("benchmark", *FAST, "--out", "figures.md")
    assert (refused.code, refused.out) == (1, "")
    assert "figures.md" in refused.err
    assert gaga("benchmark", *FAST, "--out", "figures.md", "--overwrite").code == 0


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (("--case", "qm9"), 2, "qm9 is not one of qm9-train, qm9-forward"),
        (("--kernel", "fast"), 2, "fast is not one of naive, torch"),
        (("--precision", "float8"), 2, "float8 is not one of float32, bfloat16"),
        (("--batch-size", "0"), 2, "'--batch-size'"),
        (("--rounds", "0"), 2, "'--rounds'"),
        (("--device", "tpu"), 2, "invalid value for --device"),
        (("--out", "no/such/folder/f.md"), 1, "there is no such folder"),
        (("--store", "no/such/folder/s.h5"), 1, "the folder of the store does not exist"),
    ],
)
def test_what_cannot_be_is_a_line(gaga, words, code, line):
    ran = gaga("benchmark", *words)
    assert (ran.code, ran.out) == (code, "")
    assert line in ran.err


def test_help_imports_no_torch():
    code = (
        "import sys; from gaga.cli.main import main; main(['benchmark', '--help']); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'h5py')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--quick" in done.stdout
