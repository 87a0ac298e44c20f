"""What `gaga evaluate` does: judge molecules by a protocol, check a sample of them, and compare both with a data set.

Every result is stored once: the evaluation, the data set's own reference, and each check of a sample.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int16

from gaga.chem import xtb
from gaga.chem.poses import require_posebusters
from gaga.core.molecules import PackedMolecules
from gaga.core.progress import Reporter
from gaga.data.dataset import Dataset
from gaga.data.loading import found_prepared
from gaga.evaluation.config import PROTOCOLS, EvaluateConfig
from gaga.evaluation.evaluation import Evaluation
from gaga.evaluation.evaluation import evaluate as judge_and_compare
from gaga.evaluation.molecule_set import charges_of, molecule_set
from gaga.evaluation.reference import (
    DataReference,
    picked,
    rdkit_version,
    reference_of,
    row_split,
    shipped_reference,
)
from gaga.evaluation.sampled_checks import (
    POSES_TIME_LIMIT,
    RELAXATION_TIME_LIMIT,
    PoseChecks,
    Relaxation,
    check_poses,
    relax_molecules,
)
from gaga.runs.inputs import NO_HYDROGENS, read_dataset
from gaga.runs.molecule_file import MoleculeFile
from gaga.runs.molecule_table import TableParts, parts_of
from gaga.runs.once import Key, Outcome, Policy, once, slug
from gaga.runs.one_element import note_of_formulas
from gaga.storage.store import Store
from gaga.version import __version__

NO_REFERENCE, SHIPPED = "none", "qm9"
STRICT_TIME_LIMIT = 60.0
POSEBUSTERS, RELAXATION = "posebusters", "relaxation"
_CHARGES = {"charges": "as given"}  # earlier versions took all molecules for neutral
_ROW_SHARE = 10  # the row has one molecule for ten of the training split


@dataclass(frozen=True, kw_only=True)
class SampledCheck:
    """One check of a sample of the molecules, and of the reference's own if they are on this machine."""

    kind: str
    outcome: Outcome[Any]
    real: Outcome[Any] | None
    real_label: str


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """What `evaluate` found: the evaluation, checks of samples, and what the table of molecules is made of."""

    label: str
    evaluation: Outcome[Evaluation]
    checks: tuple[SampledCheck, ...]
    table: TableParts | None


def evaluate(
    file: str | Path,
    store: Store,
    config: EvaluateConfig = EvaluateConfig(),
    *,
    name: str | None = None,
    resume: bool = False,
    replace: bool = False,
    seed: int = 0,
    threads: int | None = None,
    cache: Path | None = None,
    with_table: bool = False,
    report: Reporter = Reporter(),
) -> Evaluated:
    """Stability, validity, uniqueness, novelty and geometry of the molecules of a file or folder, from the store if
    they were computed before.

    Args:
        file: molecules; bonds in it are ignored.
        store: where results are kept.
        config: what is computed.
        name: of the result; by default made of the file, the protocol, the reference and the content's hash.
        resume, replace: as in `runs.once.Policy`.
        seed: of the bootstrap and of samples.
        threads: processes; all cores if None.
        cache: folder of prepared data sets; None for the user's.
        with_table: judge by the other protocol too, for a table of molecules.
        report: receives notes and progress.

    Raises:
        InvalidInput, NotFound, Unavailable: as `gaga.evaluate`, `load_dataset`, `check_poses` and `relax_molecules`.
        Conflict: as `runs.once.once`.
    """
    if config.posebusters:
        require_posebusters()
    if config.relax:
        xtb.require()
    run = _Run(MoleculeFile.of(Path(file)), store, config, name, resume, replace, seed, threads, cache, report)
    evaluation = run.judged(config.protocol, run.reference)
    wanted = {POSEBUSTERS: config.posebusters, RELAXATION: config.relax}
    checks = tuple(run.checked(kind) for kind in wanted if wanted[kind])
    table = run.table(evaluation, checks) if with_table else None
    if (records := evaluation.result.records) is not None:
        if not records.has_hydrogens:
            report.note(NO_HYDROGENS)
        note_of_formulas((formula for piece in records.formulas for formula in piece), report)
    return Evaluated(label=run.file.label, evaluation=evaluation, checks=checks, table=table)


@dataclass(frozen=True, kw_only=True)
class _Reference:
    """What molecules are compared with; without a name, nothing.

    `data` is None if the data set was not read; `config` and `inputs` are part of a result's header.
    """

    name: str | None = None
    reference: DataReference | None = None
    data: Dataset | None = None
    config: Mapping[str, object] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Sampled:
    """Molecules that a check draws from; `of` says whether they are the user's file or the reference's data."""

    of: str
    label: str
    name: str
    inputs: Mapping[str, str]
    molecules: Callable[[], tuple[PackedMolecules, Int16[np.ndarray, " M"]]]


@dataclass(frozen=True)
class _Run:
    file: MoleculeFile
    store: Store
    config: EvaluateConfig
    name: str | None
    resume: bool
    replace: bool
    seed: int
    threads: int | None
    cache: Path | None
    report: Reporter

    @cached_property
    def reference(self) -> _Reference:
        """What the molecules are compared with; a data set of the user's is judged once and kept in the store."""
        wanted = self.config.dataset.lower()
        if wanted == NO_REFERENCE:
            return _Reference()
        if wanted == SHIPPED:
            return _Reference(name=SHIPPED, reference=shipped_reference(SHIPPED, self.config.protocol))
        data, protocol = read_dataset(self.config.dataset, self.report, cache=self.cache), self.config.protocol
        train = self.config.reference_size
        sizes = {"reference_size": train, "row_size": max(1, train // _ROW_SHARE)}
        limit = self._limit(protocol)
        key = Key(
            kind="reference",
            name=f"{slug(data.name)}_{protocol}_{data.fingerprint[:8]}",
            # A row that an older program judged would stand next to molecules that this one judges.
            config={"protocol": protocol, "time_limit": limit, **sizes, "rdkit": engine(), "gaga": __version__},
            inputs=_inputs_of(data),
        )
        with self.report.progress(f"judging {data.name}") as progress:
            found = once(
                self.store,
                key,
                DataReference,
                lambda pieces: reference_of(
                    data, protocol, train=train, test=sizes["row_size"], workers=self.threads, time_limit=limit,
                    progress=progress, pieces=pieces,
                ),
                Policy(resume=None, replace=True, engine=engine),  # it follows from the command: replaced if it differs
                self.report,
            )  # fmt: skip
        return _Reference(name=data.name, reference=found.result, data=data, config=sizes, inputs=key.inputs)

    def judged(self, protocol: str, reference: _Reference, *, asked: bool = True) -> Outcome[Evaluation]:
        """The evaluation by a protocol; one that is not `asked` for is made on the way to the table of molecules."""
        limit, name = self._limit(protocol), self.name
        if name is None:
            compared = f"_vs_{slug(reference.name)}" if reference.name else ""
            # The content's hash in the name: a file that was written anew is another result.
            name = f"{self.file.stem}_{protocol}{compared}_{self.file.digest[:8]}"
        elif not asked:
            name = f"{name}_{protocol}"
        config = {"file": self.file.label, "protocol": protocol, "reference": reference.name, **_CHARGES}
        key = Key(
            kind="evaluation",
            name=name,
            config={**config, "time_limit": limit, **reference.config},
            inputs={self.file.label: self.file.digest, **reference.inputs},
            seed=self.seed,
        )
        with self.report.progress(f"evaluating by {protocol}") as progress:
            return once(
                self.store,
                key,
                Evaluation,
                lambda pieces: judge_and_compare(
                    self.file.path, protocol=protocol, workers=self.threads, time_limit=limit, seed=self.seed,
                    reference=reference.reference, progress=progress, pieces=pieces,
                ),
                self._policy(engine, asked=asked),
                self.report,
            )  # fmt: skip

    def checked(self, kind: str) -> SampledCheck:
        """One check of a sample of the molecules, and of the reference's own."""
        data = self._sample_of_data
        return SampledCheck(
            kind=kind,
            outcome=self._check(kind, self._sample_of_file),
            real=self._check(kind, data) if data else None,
            real_label=data.label if data else "real data",
        )

    def table(self, evaluation: Outcome[Evaluation], checks: tuple[SampledCheck, ...]) -> TableParts:
        """What the table of molecules is made of; the verdicts by the other protocol are computed if need be."""
        other = parts_of(self.store, evaluation.entry).other
        if other is None:
            protocol = next(name for name in PROTOCOLS if name != self.config.protocol)
            # Compared with nothing: the table's novelty is that of the protocol that was asked for.
            other = self.judged(protocol, _Reference(), asked=False).entry
        of = {check.kind: check.outcome.entry for check in checks}
        return TableParts(
            evaluation=evaluation.entry, other=other, relaxation=of.get(RELAXATION), poses=of.get(POSEBUSTERS)
        )

    @property
    def _sample_of_file(self) -> _Sampled:
        def molecules() -> tuple[PackedMolecules, Int16[np.ndarray, " M"]]:
            found = molecule_set(self.file.path)
            return found.molecules, found.charges

        name = self.name or f"{self.file.stem}_{self.file.digest[:8]}"
        inputs = {self.file.label: self.file.digest}
        return _Sampled(of="file", label=self.file.label, name=name, inputs=inputs, molecules=molecules)

    @cached_property
    def _sample_of_data(self) -> _Sampled | None:
        """The data set's molecules of the split that its row is of; None if they are not on this machine."""
        data = self.reference.data
        if data is None and self.reference.name == SHIPPED:
            if found_prepared(SHIPPED, self.cache) is None:
                self.report.note(f"The row of {SHIPPED} itself needs its molecules: gaga data prepare {SHIPPED}")
                return None
            data = read_dataset(SHIPPED, self.report, cache=self.cache)
        if data is None:
            return None
        own, _ = picked(data, row_split(data), len(data))
        charges, _ = charges_of(data)
        return _Sampled(
            of="data",
            label=data.name,
            name=f"{slug(data.name)}_data_{data.fingerprint[:8]}",
            inputs=_inputs_of(data),
            molecules=lambda: (data.molecules.take(own), charges[own]),
        )

    def _check(self, kind: str, sampled: _Sampled) -> Outcome[Any]:
        as_type, check, usual, program = _CHECKS[kind]
        limit, size = self.config.time_limit or usual, self.config.sample_size
        key = Key(
            kind=kind,
            name=sampled.name,
            config={"sample_size": size, "time_limit": limit, "of": sampled.of, **_CHARGES},
            inputs=sampled.inputs,
            seed=self.seed,
        )
        with self.report.progress(f"{kind}, {sampled.label}") as progress:

            def compute(pieces: Any) -> Any:
                molecules, charges = sampled.molecules()
                return check(
                    molecules, charges=charges, sample_size=size, seed=self.seed, workers=self.threads,
                    time_limit=limit, progress=progress, pieces=pieces,
                )  # fmt: skip

            policy = self._policy(program, asked=sampled.of == "file")
            return once(self.store, key, as_type, compute, policy, self.report)

    def _policy(self, program: Callable[[], str], *, asked: bool) -> Policy:
        """For a result that is asked for; one on the way to it is resumed, or replaced if it differs."""
        return Policy(resume=self.resume if asked else None, replace=self.replace or not asked, engine=program)

    def _limit(self, protocol: str) -> float | None:
        """Seconds for one molecule."""
        limit = self.config.time_limit
        return STRICT_TIME_LIMIT if limit is None and protocol == "strict" else limit


# Each check's result, function, seconds for one molecule, and program.
_CHECKS: dict[str, tuple[type[Any], Callable[..., Any], float, Callable[[], str]]] = {
    POSEBUSTERS: (PoseChecks, check_poses, POSES_TIME_LIMIT, lambda: f"posebusters {require_posebusters()}"),
    RELAXATION: (Relaxation, relax_molecules, RELAXATION_TIME_LIMIT, lambda: "xtb"),
}


def engine() -> str:
    """What verdicts are computed with."""
    return f"rdkit {rdkit_version()}"


def _inputs_of(data: Dataset) -> dict[str, str]:
    """A data set by its hash, and its total charges by theirs if any is not 0: the fingerprint knows no charges."""
    charges, _ = charges_of(data)
    found = {data.name: data.fingerprint}
    if charges.any():
        found[f"charges of {data.name}"] = hashlib.sha256(charges.astype("<i2").tobytes()).hexdigest()
    return found
