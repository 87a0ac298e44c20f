"""A cell of a study: so many molecules from one checkpoint in one way, judged, as one line of JSON.

Molecules are drawn as `gaga sample` draws them and judged as `gaga evaluate` judges them, so that numbers agree.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gaga import __version__
from gaga.core.molecules import PackedMolecules, pack
from gaga.core.progress import Progress, silent
from gaga.evaluation import Evaluation, Verdicts, evaluate
from gaga.evaluation.rates import first_occurrences
from gaga.evaluation.reference import REFERENCES
from gaga.models.api import model_file
from gaga.models.checkpoint import file_digest, load_checkpoint
from gaga.models.model import Model
from gaga.models.sampling.config import BY_STEP, SampleConfig
from gaga.models.sampling.engine import parameters_of
from gaga.models.sampling.molecules import JudgedMolecule, Sampled
from gaga.models.sampling.stream import sample_batches
from gaga.models.sampling.unfinished import Keys, UnfinishedSamples, unfinished_files

Row = dict[str, Any]
_NOT_IN_KEY = ("batch_size", "frames")  # molecules depend on them up to the order of sums
_EVALUATIONS = 50  # SampleConfig's, of the methods of few evaluations


@dataclass(frozen=True, kw_only=True)
class Source:
    """A checkpoint: where it is, what to call it, its hash, and what its header says."""

    path: Path
    name: str
    digest: str
    max_t: int
    dataset: str
    seed: int | None
    steps: int | None

    @classmethod
    def of(cls, path: Path, name: str | None = None) -> "Source":
        """The checkpoint of a file or a run's folder."""
        file = model_file(path)
        checkpoint = load_checkpoint(file)
        about = checkpoint.provenance
        return cls(
            path=path, name=name or path.name, digest=file_digest(file), max_t=checkpoint.max_t,
            dataset=checkpoint.dataset, seed=about.get("seed"), steps=about.get("steps"),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What is to be drawn.

    Attributes:
        study: which study it belongs to. labels: what tells it from the study's other cells, by column.
        source: the checkpoint. config: how to sample. precision: of matrix products.
        n, seed: molecules 0 to n - 1 under this seed.
        against: id of the cell of the same molecule keys that it is compared with.
    """

    study: str
    labels: Mapping[str, Any]
    source: Source
    config: SampleConfig
    n: int
    seed: int = 0
    precision: str = "float32"
    against: str | None = field(default=None)

    @property
    def key(self) -> dict[str, Any]:
        """All that its molecules depend on."""
        return key_of(self.source.digest, self.config, self.source.max_t, self.precision, self.n, self.seed)

    @property
    def id(self) -> str:
        """A short name of the key."""
        return id_of(self.key)

    @property
    def evaluations(self) -> int:
        """Evaluations of the network for each molecule."""
        return evaluations_of(self.config, self.source.max_t)

    @property
    def title(self) -> str:
        """A few words for a line of progress."""
        return " ".join(str(value) for value in self.labels.values())


def key_of(checkpoint: str, config: SampleConfig, max_t: int, precision: str, n: int, seed: int) -> dict[str, Any]:
    """What molecules depend on, as JSON has it."""
    asked = {name: value for name, value in config.effective().items() if name not in _NOT_IN_KEY}
    asked["t_start"] = config.t_start or max_t
    key = {"checkpoint": checkpoint, "config": asked, "precision": precision, "n": n, "seed": seed}
    plain: dict[str, Any] = json.loads(json.dumps(key))
    return plain


def id_of(key: Mapping[str, Any]) -> str:
    """Sixteen digits that stand for a key."""
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]


def evaluations_of(config: SampleConfig, max_t: int) -> int:
    """How often the network is evaluated for a molecule, as `gaga.models.sampling.solvers.solver_of` counts."""
    if config.steps is None and config.method in BY_STEP:
        return len(range(config.t_start or max_t, 0, -config.stride)) + 1
    asked = config.steps or _EVALUATIONS
    return asked - (asked % 2 == 0) if config.method == "heun" else asked


def measure(
    cell: Cell, model: Model, folder: Path, protocols: Sequence[str], *, workers: int | None = None,
    progress: Progress = silent,
) -> Row:  # fmt: skip
    """Draw and judge a cell.

    Args:
        cell: what to draw.
        model: its checkpoint, on its device.
        folder: where molecules are kept until the cell is finished: a killed run goes on from them.
        protocols: of gaga.evaluation.
        workers: processes that judge.
        progress: called with molecule-evaluations done and to be done.
    """
    began = time.monotonic()
    drawn, new = _draw(cell, model, folder, progress)
    seconds = (time.monotonic() - began) / new if new else None
    network: Any = model.network
    return row_of(
        cell.key, judged_molecules(drawn), protocols, study=cell.study, labels=cell.labels, against=cell.against,
        checkpoint=cell.source.name, dataset=cell.source.dataset, evaluations=cell.evaluations,
        seconds_per_molecule=seconds, device=str(parameters_of(model).device),
        kernel=getattr(network, "kernel", "none"), workers=workers,
    )  # fmt: skip


def forget(cell: Cell, folder: Path) -> None:
    """Remove the molecules of a cell that is finished."""
    for path in unfinished_files(_spool(cell, folder)):
        path.unlink(missing_ok=True)


def row_of(
    key: Mapping[str, Any], molecules: PackedMolecules, protocols: Sequence[str], *, study: str,
    labels: Mapping[str, Any], dataset: str, against: str | None = None, workers: int | None = None, **about: Any,
) -> Row:  # fmt: skip
    """The line of molecules that were drawn for this key: rates by each protocol, and edm's verdict on each."""
    reference = dataset if dataset in REFERENCES else None
    judged = {p: evaluate(molecules, protocol=p, workers=workers, reference=reference) for p in protocols}
    edm = judged["edm"]
    return {
        "study": study, "labels": dict(labels), "id": id_of(key), "against": against, "key": dict(key),
        "dataset": dataset, **about,
        "not_finite": sum(not np.isfinite(positions).all() for _, positions in molecules),
        "rates": {name: _rates(evaluation) for name, evaluation in judged.items()},
        "classes": _classes(edm), "molecules": _molecules(edm.verdicts),
        "versions": {"gaga": __version__, "torch": torch.__version__, "rdkit": edm.rdkit},
    }  # fmt: skip


def judged_molecules(drawn: Iterable[JudgedMolecule]) -> PackedMolecules:
    """Molecules to be judged; where the network gave numbers that are not finite, positions that fail everything."""
    return pack((m.atomic_numbers, m.positions if m.finite else m.positions * np.nan) for m in drawn)


def _draw(cell: Cell, model: Model, folder: Path, progress: Progress) -> tuple[list[JudgedMolecule], int]:
    """All molecules of a cell, and how many of them are new."""
    with UnfinishedSamples(_spool(cell, folder), cell.key, Keys(cell.seed, cell.n)) as spool:
        there = spool.done(cell.seed).copy()
        batches = sample_batches(
            model, range(cell.n), cell.config, seed=cell.seed, done=there.copy(), progress=progress
        )  # fmt: skip
        for batch in batches:
            spool.add([_spooled(cell.seed, molecule) for molecule in batch if not there[molecule.index]])
        return [spool[place] for place in range(cell.n)], int((~there).sum())


def _spool(cell: Cell, folder: Path) -> Path:
    return folder / f"cell_{cell.id}"


def _spooled(seed: int, molecule: Sampled) -> JudgedMolecule:
    """As it is kept until all are there; the verdicts come then."""
    return JudgedMolecule(
        seed=seed, index=molecule.index, atomic_numbers=molecule.atomic_numbers, positions=molecule.positions,
        finite=molecule.finite, stable=False, n_stable_atoms=0, valid=None, smiles="", text=b"",
    )  # fmt: skip


def _rates(evaluation: Evaluation) -> dict[str, dict[str, Any]]:
    return {name: asdict(rate) for name, rate in evaluation.rates.items()}


def _classes(evaluation: Evaluation) -> dict[str, Any] | None:
    """Shares of classes and mean smallest rings of valid molecules, and how far the mixture is from the data's."""
    found = evaluation.classes
    if found is None:
        return None
    shares = {name: asdict(rate) for name, rate in found.classes.items()}
    shares["rings"] = asdict(dict(found.rings.items())["all"])
    return shares | {"distance": None if found.distance is None else asdict(found.distance)}


def _molecules(verdicts: Verdicts) -> dict[str, Any]:
    """What paired differences need of each molecule; flags as a text of 0 and 1."""
    flags = {
        "stable": verdicts.stable,
        "valid": verdicts.valid,
        "connected": verdicts.connected,
        "valid_and_unique": first_occurrences(verdicts.smiles),
    }
    return {
        "n_atoms": verdicts.n_atoms.tolist(),
        "stable_atoms": verdicts.n_stable_atoms.tolist(),
        **{name: "".join("01"[int(flag)] for flag in values) for name, values in flags.items()},
    }
