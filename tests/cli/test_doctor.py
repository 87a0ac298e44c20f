"""gaga doctor: what is there, what is missing, each with its remedy."""

import importlib.metadata
import os
import shutil

import pytest

from gaga.cli import doctor
from gaga.models.network.kernels import products
from gaga.models.network.kernels.products import Measured


def checks(ran):
    return {check["name"]: check for check in ran.json["checks"]}


def test_a_sound_machine(gaga):
    found = checks(gaga("doctor", "--json"))
    for name in ("gaga", "python", "torch", "rdkit", "store", "cache", "qm9"):
        assert found[name]["state"] == "ok", found[name]
    assert "thread" in found["device"]["found"]
    assert "not made yet" in found["store"]["found"]


@pytest.fixture
def auto():
    yield
    products.ask_for("auto")


@pytest.mark.usefixtures("auto")
def test_which_library_computes_float32_products(gaga, monkeypatch):
    monkeypatch.setattr(products, "why_not", lambda: "")
    monkeypatch.setattr(products, "measure", lambda: Measured(error=2e-7, speedup=2.1))
    products.ask_for("auto")
    words = "float32 on the CPU by oneDNN: exact to 2e-07 and 2.10 times as fast as MKL"
    assert checks(gaga("doctor", "--json"))["products"]["found"] == words
    monkeypatch.setenv("GAGA_PRODUCTS", "mkl")
    assert checks(gaga("doctor", "--json"))["products"]["found"] == "float32 on the CPU by MKL: asked for by name"
    monkeypatch.setenv("GAGA_PRODUCTS", "onednn")
    assert "by oneDNN: asked for by name" in checks(gaga("doctor", "--json"))["products"]["found"]
    monkeypatch.setattr(products, "why_not", lambda: "the processor has AMX")
    ran = gaga("doctor")
    assert ran.code == 1
    assert "oneDNN cannot compute float32 products here: the processor has AMX" in ran.out
    assert "products: set GAGA_PRODUCTS to auto or mkl." in ran.out
    monkeypatch.setenv("GAGA_PRODUCTS", "fast")
    ran = gaga("doctor")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("gaga: unknown library for float32 products (received fast)")


def test_everything_that_is_not_in_order_has_a_remedy(gaga, tmp_path, monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    monkeypatch.setattr(doctor, "SHIPPED", [doctor.Shipped(name="s", file="none.h5", without="nothing works")])
    monkeypatch.setattr("gaga.data.qm9.installed_qm9pack", lambda: None)
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    (tmp_path / "gaga.h5").write_text("not HDF5")
    ran = gaga("doctor", "--cache", tmp_path / "cache")
    assert ran.code == 1
    found = {check.name: check for check in doctor.run_checks(tmp_path / "gaga.h5", tmp_path / "cache")}
    for name in ("numpy", "torch", "store"):
        assert found[name].state == "broken"
    for name in ("rdkit", "qm9", "s"):
        assert found[name].state == "missing"
    for check in found.values():
        assert bool(check.remedy) == (check.state != "ok")
        assert check.remedy in ran.out


def test_folders_that_cannot_be_written(gaga, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    found = checks(gaga("doctor", "--json"))
    assert found["store"]["state"] == found["cache"]["state"] == "missing"
    assert "GAGA_STORE" in found["store"]["remedy"]
    assert "GAGA_CACHE" in found["cache"]["remedy"]


@pytest.mark.parametrize("shipped", doctor.SHIPPED, ids=lambda shipped: shipped.file)
def test_shipped_files_are_looked_for_where_they_are(shipped):
    check = doctor.check_shipped(shipped)
    assert (check.state == "ok") == (doctor.Path(doctor.__file__).parents[1] / "shipped" / shipped.file).is_file()


@pytest.fixture
def homeless(monkeypatch):
    """A user without HOME and without an entry in passwd, as in many a container."""

    def unknown(uid):
        raise KeyError(uid)

    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)


@pytest.mark.skipif(os.name == "nt", reason="the passwd of POSIX")
def test_without_a_home_folder_the_cache_is_to_be_named(gaga, xyz, tmp_path, homeless):
    found = checks(gaga("doctor", "--json"))
    assert found["cache"]["state"] == "missing"
    assert "no home folder" in found["cache"]["found"]
    assert "--cache" in found["cache"]["remedy"]
    assert found["qm9"]["state"] == "ok"
    assert checks(gaga("doctor", "--json", "--cache", tmp_path / "c"))["cache"]["state"] == "ok"
    assert gaga("data", "list").code == 0
    for words in (("data", "info", "geom"), ("variance", "--dataset", "qm9"), ("data", "prepare", "qm9")):
        ran = gaga(*words)
        assert (ran.code, ran.out) == (1, "")
        assert "no home folder, and so no cache of prepared data sets. Name one with --cache or GAGA_CACHE" in ran.err
    assert gaga("variance", "--dataset", xyz).code == 0
    assert gaga("data", "info", "~/none.sdf").err == "gaga: no such file or folder (received ~/none.sdf).\n"
    assert "no home folder: set HOME" in gaga("--install-completion").err
