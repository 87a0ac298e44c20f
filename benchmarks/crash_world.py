"""What crash.py and writers.py break: real commands on small molecules, run in forks of one warm process.

A fork of a process that has imported everything runs a command in a tenth of a second, and is killed like any other.
"""

import hashlib
import importlib
import json
import os
import pkgutil
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import h5py
import numpy as np
from safetensors.torch import load_file
from torch import Tensor

import gaga
from gaga.cli.main import main
from gaga.models.checkpoint import load_checkpoint

STORE = "gaga.h5"
GOLDEN = Path(__file__).parents[1] / "tests" / "golden" / "gaga_tiny"
METHANE = np.array([[0, 0, 0], [1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]]) * 0.629
WATER = np.array([[0, 0, 0.119], [0, 0.763, -0.477], [0, -0.763, -0.477]])

_DATA = ("--dataset", "tiny.xyz")
_TINY = ("--max-t", "60", "--preset", "tiny", "--hidden", "8", "--layers", "1", "--batch-size", "8", "--steps", "5",
         "--stability-samples", "1", "--validate-every", "3", "--save-every-s", "0", "--threads", "1")  # fmt: skip
_CURVES = ("--timesteps", "200:1000:400", "--n-null", "60", "--n-resamples", "20", "--threads", "1")
_MODEL = ("--checkpoint", "runs/old/model.safetensors", "--threads", "1")
_FAST = ("--method", "ddpm", "--stride", "6")


@dataclass(frozen=True)
class Case:
    """A command that writes.

    Attributes:
        name: what to call it.
        words: the command.
        resumes: whether `--resume` is added where the kill left something to go on with.
        gone: whether the command may find its work done, and say so with exit code 1.
        anew: what makes it write even where it finds its work done.
    """

    name: str
    words: tuple[str, ...]
    resumes: bool = False
    gone: bool = False
    anew: tuple[str, ...] = ()


# What is there before, and by which cases it is needed: all of them where it names none.
BEFORE: tuple[tuple[tuple[str, ...], str], ...] = (
    (("variance", *_DATA, "--name", "old"), ""),
    (("variance", *_DATA, "--name", "victim", "--fraction", "0.5"), ""),
    (("gaussianity", *_DATA, *_CURVES, "--name", "old"), ""),
    (("tstar", "old", "--name", "old", "--plot", "old.png"), "tstar|truncation"),
    (("train", *_DATA, *_TINY, "--name", "old"), "train|sample|evaluate|truncation"),
    (("sample", *_MODEL, *_FAST, "--n", "6", "--out", "old.sdf"), "sample|evaluate"),
    (("evaluate", "old.sdf", "--reference", "none", "--name", "old"), "evaluate"),
    (("store", "export", "variance/old", "--out", "old.csv"), ""),
    (("data", "prepare", "tiny.xyz", "--out", "old.h5"), ""),
)
ANY_WRITER = ("variance", *_DATA, "--name", "another")
CASES: tuple[Case, ...] = (
    Case("variance", ("variance", *_DATA, "--name", "new")),
    Case("variance --replace", ("variance", *_DATA, "--name", "old", "--fraction", "0.4", "--replace")),
    Case("gaussianity", ("gaussianity", *_DATA, *_CURVES, "--name", "new", "--seed", "1"), resumes=True,
         anew=("--replace",)),
    Case("tstar --plot", ("tstar", "old", "--name", "new", "--eps-ds", "0.3", "--plot", "new.png",
                           "--overwrite")),
    Case("train", ("train", *_DATA, *_TINY, "--name", "new", "--seed", "1"), resumes=True, anew=("--replace",)),
    Case("train --replace", ("train", *_DATA, *_TINY, "--name", "old", "--seed", "2", "--replace")),
    Case("sample", ("sample", *_MODEL, *_FAST, "--n", "6", "--out", "new.sdf", "--trajectory", "1", "--frames", "5"),
         resumes=True, anew=("--overwrite",)),
    Case("sample --overwrite", ("sample", *_MODEL, *_FAST, "--n", "5", "--out", "old.sdf", "--seed", "9",
                                "--overwrite")),
    Case("evaluate", ("evaluate", "old.sdf", "--reference", "none", "--protocol", "strict", "--name", "new"),
         resumes=True, anew=("--replace",)),
    Case("truncation --plot", ("truncation", *_MODEL, *_DATA, "--max-molecules", "5", "--timesteps", "30,60",
                               "--split", "all", "--name", "new", "--plot", "new.png", "--overwrite")),
    Case("store delete", ("store", "delete", "variance/victim"), gone=True),
    Case("store export", ("store", "export", "gaussianity/old", "--out", "old.csv", "--overwrite")),
    Case("data prepare", ("data", "prepare", "tiny.xyz", "--out", "old.h5", "--split-seed", "3", "--overwrite")),
    Case("import-edm", ("import-edm", str(GOLDEN), "--dataset", "tiny.xyz", "--out", "edm.safetensors",
                        "--overwrite")),
)  # fmt: skip


def build(folder: Path, cases: Sequence[Case]) -> None:
    """Molecules, a store of earlier results and their outputs; runs in this process, which is warm afterwards."""
    if any(case.words[0] not in ("store", "data", "variance") for case in cases):
        _import_everything()
    folder.mkdir(parents=True)
    (folder / "tiny.xyz").write_text("".join(_frame(i) for i in range(24)))
    for words, needed in BEFORE:
        if any(re.match(needed, case.name) for case in cases):
            code = run_here(folder, words)
            if code:
                raise SystemExit(f"gaga {' '.join(words)} ended with {code}; see {folder}.log")


def _import_everything() -> None:
    """So that no command takes longer the first time; kernels for other machines may be missing their packages."""
    for module in pkgutil.walk_packages(gaga.__path__, "gaga."):
        if not re.search(r"__main__|fused|\.device", module.name):
            importlib.import_module(module.name)


def _frame(i: int) -> str:
    symbols, places = (("O", "H", "H"), WATER) if i % 2 else (("C", "H", "H", "H", "H"), METHANE)
    rows = zip(symbols, places * (1 + 0.001 * i), strict=True)
    lines = [f"{symbol} {x:.5f} {y:.5f} {z:.5f}" for symbol, (x, y, z) in rows]
    return "\n".join([str(len(symbols)), f"molecule {i}", *lines, ""])


def run_here(folder: Path, words: Sequence[str]) -> int:
    """A command in this process, in a folder, its words appended to a log beside the folder."""
    with open(f"{folder}.log", "a") as log:
        return _run(folder, words, log, log)


def _run(folder: Path, words: Sequence[str], out: TextIO, err: TextIO) -> int:
    before, argv = os.getcwd(), sys.argv
    os.chdir(folder)
    sys.argv = ["gaga", *words]
    try:
        with redirect_stdout(out), redirect_stderr(err):
            return main(list(words))
    finally:
        os.chdir(before)
        sys.argv = argv


def forked(folder: Path, words: Sequence[str], prepare: Callable[[], None] = lambda: None) -> int:
    """The id of a new process that runs a command, after `prepare`."""
    return _fork(lambda: (prepare(), run_here(folder, words))[1])


def _fork(work: Callable[[], int]) -> int:
    sys.stdout.flush()
    process = os.fork()
    if process:
        return process
    code = 70
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        code = work()
    finally:
        os._exit(code)


def ended(process: int) -> int:
    """The exit code of a process; the negative of the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def timed(folder: Path, words: Sequence[str]) -> tuple[int, float]:
    """Exit code and seconds of a command in a process of its own."""
    began = time.monotonic()
    return ended(forked(folder, words)), time.monotonic() - began


def told(folder: Path, words: Sequence[str], prepare: Callable[[], None]) -> tuple[int, str]:
    """Exit code and stderr of a command in a process of its own, after `prepare`; nothing is written to a disk."""
    reading, writing = os.pipe()

    def work() -> int:
        with open(writing, "w") as err, open(os.devnull, "w") as out:
            prepare()
            return _run(folder, words, out, err)

    process = _fork(work)
    os.close(writing)
    with open(reading) as err:
        words_of_it = err.read()
    return ended(process), words_of_it


def copy(world: Path, to: Path) -> Path:
    """A fresh copy of a world."""
    shutil.rmtree(to, ignore_errors=True)
    Path(f"{to}.log").unlink(missing_ok=True)
    return shutil.copytree(world, to)


def files_of(folder: Path) -> dict[str, str]:
    """A hash of each file; of what carries the time it took, of the part that does not."""
    return {str(path.relative_to(folder)): _hash(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def is_left_behind(path: Path) -> bool:
    """Whether it is the temporary file of an atomic write, a lock, or a state on its way to being a former one."""
    return path.name.startswith(".gaga-tmp-") or path.name.endswith((".lock", ".former"))


def _hash(path: Path) -> str:
    if path.name == STORE or is_left_behind(path):
        return ""  # a store is looked at entry by entry, what is left behind not at all
    if path.name in ("state.1.safetensors", "state.2.safetensors"):
        return ""  # of which steps the former states are depends on when somebody saved
    if path.name == "metrics.jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        content = str([row | {"seconds": 0, "data_wait": 0} for row in rows]).encode()
    elif path.name == "state.safetensors":
        content = _bytes_of(load_file(path))
    elif path.suffix == ".safetensors":  # the order of its metadata is up to chance
        content = _bytes_of(load_checkpoint(path).weights)  # which holds the file against its checksum
    else:
        content = path.read_bytes()
    return hashlib.sha256(content).hexdigest()


def _bytes_of(tensors: Mapping[str, Tensor]) -> bytes:
    return b"".join(name.encode() + value.numpy().tobytes() for name, value in sorted(tensors.items()))


def entries_of(store: Path) -> dict[str, tuple[str, str]]:
    """Two hashes of each entry: of all its data sets and attributes, and of the values' own digest and their origin."""
    with h5py.File(store, "r", locking=False) as file:
        return {
            f"{kind}/{name}": (_hash_of_group(group), _identity(group))
            for kind, names in file.items()
            for name, group in names.items()
        }


def _identity(group: h5py.Group) -> str:
    """What the same computation gives again; a training run's values hold the time it took."""
    timed_values = group.name.startswith("/train/")
    return json.dumps([group.attrs["config"], "" if timed_values else group.attrs["digest"]])


def _hash_of_group(group: h5py.Group) -> str:
    digest = hashlib.sha256()

    def add(name: str, item: h5py.Group | h5py.Dataset) -> None:
        digest.update(repr((name, sorted((key, repr(value)) for key, value in item.attrs.items()))).encode())
        if isinstance(item, h5py.Dataset):
            value = None if item.shape is None else np.asarray(item[()])
            digest.update(repr((item.dtype, item.shape)).encode())
            if value is not None:
                digest.update(repr(value.tolist()).encode() if value.dtype == object else value.tobytes())

    add("", group)
    group.visititems(add)
    return digest.hexdigest()
