"""What `gaga evaluate` does: judge molecules by a protocol, check a sample of them, and compare both with a data set.

Every result is stored once: the evaluation, the data set's own reference, and each check of a sample.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
from jaxtyping import Int16

from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules
from gaga.core.progress import Reporter
from gaga.data.dataset import Dataset
from gaga.data.loading import found_prepared
from gaga.evaluation.config import PROTOCOLS, EvaluateConfig
from gaga.evaluation.evaluation import Evaluation
from gaga.evaluation.evaluation import evaluate as judge_and_compare
from gaga.evaluation.extras import EXTRAS, check_sample
from gaga.evaluation.molecule_set import charges_of, molecule_set
from gaga.evaluation.plots import plot_quality
from gaga.evaluation.reference import DataReference, picked, rdkit_version, reference_of, row_split, shipped_reference
from gaga.runs.inputs import NO_HYDROGENS, MoleculeFile, read_dataset
from gaga.runs.molecule_table import TableParts, Written, check_csv, parts_of, write_table
from gaga.runs.once import Key, Outcome, Policy, once, slug
from gaga.runs.one_element import note_of_formulas
from gaga.storage.images import check_plot
from gaga.storage.partial import PartialResults
from gaga.storage.store import Store
from gaga.version import __version__

if TYPE_CHECKING:
    from gaga.evaluation.property_error import PropertyError
    from gaga.runs.evaluate_property import PropertyQuestion

NO_REFERENCE, SHIPPED = "none", "qm9"
STRICT_TIME_LIMIT = 60.0
_CHARGES = {"charges": "as given"}  # earlier versions took all molecules for neutral
_ROW_SHARE = 10  # the row has one molecule for ten of the training split


@dataclass(frozen=True, kw_only=True)
class EvaluateRequest:
    """Which molecules, and what is computed.

    Attributes:
        file: a file or folder of molecules; bonds in it are ignored.
        config: what is computed.
        name: of the result in the store; None is made of the file, the protocol, the reference and the content's hash.
        seed: of the bootstrap and of samples. threads: processes; None: one for each core.
        cache: folder of prepared data sets.
        csv: a .csv or an open file for a table with a row for each molecule, judged by both protocols; None for none.
        plot: a .png, .pdf or .svg for a picture of distributions and classes; None for none.
        overwrite: write over a table or picture that exists.
    """

    file: Path
    config: EvaluateConfig = EvaluateConfig()
    name: str | None = None
    seed: int = 0
    threads: int | None = None
    cache: Path | None = None
    csv: Path | TextIO | None = None
    plot: Path | None = None
    overwrite: bool = False


@dataclass(frozen=True, kw_only=True)
class SampledCheck:
    """One check of a sample of the molecules, and of the reference's own if they are on this machine."""

    kind: str
    outcome: Outcome[Any]
    real: Outcome[Any] | None
    real_label: str


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """What `run` found: the evaluation, the checks of samples, what the table of molecules holds, errors of a property.

    The last two are None if they were not asked for.
    """

    label: str
    evaluation: Outcome[Evaluation]
    checks: tuple[SampledCheck, ...]
    table: Written | None
    property: "Outcome[PropertyError] | None" = None


def run(request: EvaluateRequest, store: Store | None, policy: Policy, report: Reporter) -> Evaluated:
    """Find or compute and store the evaluation and what else is asked for; `policy.engine` is set here.

    Raises:
        InvalidInput, NotFound, Unavailable: as `gaga.evaluation.evaluate`, `load_dataset` and `check_sample`; or the
            table of molecules or the picture cannot be written, or there is no store from which the table is made, or
            a stored result of an earlier version has nothing to draw.
        Conflict: as `once`, or the table or the picture exists.
    """
    config = request.config
    if request.csv is not None and store is None:
        raise InvalidInput("the table of molecules is made of stored results", remedy="name a `store`")
    if isinstance(request.csv, Path):
        check_csv(request.csv, overwrite=request.overwrite)
    check_plot(request.plot, overwrite=request.overwrite)
    kinds = [kind for kind, asked in (("posebusters", config.posebusters), ("relaxation", config.relax)) if asked]
    for kind in kinds:
        EXTRAS[kind].require()
    of = _Run(request, MoleculeFile.of(request.file), store, policy, report)
    question = of.question()
    evaluation = of.judged(config.protocol, of.reference)
    if request.plot is not None:
        plot_quality(evaluation.result, request.plot, label=of.file.label)
        report.note(f"Drew {request.plot}.")
    checks = tuple(of.checked(kind) for kind in kinds)
    asked = None if question is None else of.answered(question, evaluation.result)
    parts = of.table(store, evaluation, checks, asked) if store and request.csv else None
    if (records := evaluation.result.records) is not None:
        if not records.has_hydrogens:
            report.note(NO_HYDROGENS)
        note_of_formulas((formula for piece in records.formulas for formula in piece), report)
    table = write_table(request.csv, store, parts) if store and request.csv and parts else None
    return Evaluated(label=of.file.label, evaluation=evaluation, checks=checks, table=table, property=asked)


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


_Charged = tuple[PackedMolecules, Int16[np.ndarray, " M"]]
"""Molecules and their total charges."""


@dataclass(frozen=True)
class _Run:
    request: EvaluateRequest
    file: MoleculeFile
    store: Store | None
    policy: Policy
    report: Reporter

    @cached_property
    def reference(self) -> _Reference:
        """What the molecules are compared with; a data set of the user's is judged once and kept in the store."""
        config = self.request.config
        wanted, protocol, train = config.dataset.lower(), config.protocol, config.reference_size
        if wanted == NO_REFERENCE:
            return _Reference()
        if wanted == SHIPPED:
            return _Reference(name=SHIPPED, reference=shipped_reference(SHIPPED, protocol))
        data = read_dataset(config.dataset, self.report, cache=self.request.cache)
        sizes = {"reference_size": train, "row_size": max(1, train // _ROW_SHARE)}
        key = Key(
            kind="reference",
            name=f"{slug(data.name)}_{protocol}_{data.fingerprint[:8]}",
            # A row that an older program judged would stand next to molecules that this one judges.
            config={
                "protocol": protocol, "time_limit": self._limit(protocol), **sizes, "rdkit": engine(),
                "gaga": __version__,
            },
            inputs=_inputs_of(data),
        )  # fmt: skip
        compute = partial(reference_of, data, protocol, train=train, test=sizes["row_size"])
        found = self._once(
            f"judging {data.name}", key, DataReference, compute, engine, asked=False,
            complete=lambda stored: stored.row.distributions is not None,
        )  # fmt: skip
        return _Reference(name=data.name, reference=found.result, data=data, config=sizes, inputs=key.inputs)

    def judged(self, protocol: str, reference: _Reference, *, asked: bool = True) -> Outcome[Evaluation]:
        """The evaluation by a protocol; one that is not `asked` for is made on the way to the table of molecules."""
        name = self.request.name
        if name is None:
            compared = f"_vs_{slug(reference.name)}" if reference.name else ""
            # The content's hash in the name: a file that was written anew is another result.
            name = f"{self.file.stem}_{protocol}{compared}_{self.file.digest[:8]}"
        elif not asked:
            name = f"{name}_{protocol}"
        key = Key(
            kind="evaluation",
            name=name,
            config={
                "file": self.file.label, "protocol": protocol, "reference": reference.name, **_CHARGES,
                "time_limit": self._limit(protocol), **reference.config,
            },
            inputs={self.file.label: self.file.digest, **reference.inputs},
            seed=self.request.seed,
        )  # fmt: skip
        compute = partial(
            judge_and_compare, self.file.path, protocol=protocol, seed=self.request.seed, reference=reference.reference
        )
        return self._once(
            f"evaluating by {protocol}", key, Evaluation, compute, engine, asked=asked,
            complete=lambda stored: stored.distributions is not None or not (asked and self.policy.replace),
        )  # fmt: skip

    def checked(self, kind: str) -> SampledCheck:
        """One check of a sample of the molecules, and of the reference's own."""
        data, digest = self._data, self.file.digest
        name = self.request.name or f"{self.file.stem}_{digest[:8]}"
        outcome = self._check(kind, "file", self.file.label, name, {self.file.label: digest}, self._given_molecules)
        if data is None:
            return SampledCheck(kind=kind, outcome=outcome, real=None, real_label="real data")
        name = f"{slug(data.name)}_data_{data.fingerprint[:8]}"
        real = self._check(kind, "data", data.name, name, _inputs_of(data), partial(_own_molecules, data))
        return SampledCheck(kind=kind, outcome=outcome, real=real, real_label=data.name)

    def question(self) -> "PropertyQuestion | None":
        """The property that is asked about, if one is."""
        config = self.request.config
        if config.property is None and config.predictor is None:
            return None
        from gaga.runs.evaluate_property import PropertyQuestion  # here: other evaluations need no torch

        return PropertyQuestion.of(config.property, config.predictor, self.file, self._data, self.report)

    def answered(self, question: "PropertyQuestion", evaluation: Evaluation) -> "Outcome[PropertyError]":
        """How far the molecules are from what was asked of them."""
        request = self.request
        return question.answered(
            evaluation, store=self.store, name=request.name, seed=request.seed, policy=self.policy, report=self.report
        )

    def table(
        self,
        store: Store,
        evaluation: Outcome[Evaluation],
        checks: tuple[SampledCheck, ...],
        asked: "Outcome[PropertyError] | None",
    ) -> TableParts:
        """What the table of molecules is made of; the verdicts by the other protocol are computed if need be."""
        other = parts_of(store, evaluation.entry).other
        if other is None:
            protocol = next(name for name in PROTOCOLS if name != self.request.config.protocol)
            # Compared with nothing: the table's novelty is that of the protocol that was asked for.
            other = self.judged(protocol, _Reference(), asked=False).entry
        of_samples: Any = {check.kind: check.outcome.entry for check in checks}
        return TableParts(
            evaluation=evaluation.entry, other=other, property=None if asked is None else asked.entry, **of_samples
        )

    def _given_molecules(self) -> _Charged:
        found = molecule_set(self.file.path)
        return found.molecules, found.records.charges

    @cached_property
    def _data(self) -> Dataset | None:
        """The data set that the molecules are compared with; None if it is not on this machine."""
        if self.reference.name == SHIPPED and self.reference.data is None:
            if found_prepared(SHIPPED, self.request.cache) is None:
                self.report.note(f"The row of {SHIPPED} itself needs its molecules: gaga data prepare {SHIPPED}")
                return None
            return read_dataset(SHIPPED, self.report, cache=self.request.cache)
        return self.reference.data

    def _check(
        self, kind: str, of: str, label: str, name: str, inputs: Mapping[str, str], molecules: Callable[[], _Charged]
    ) -> Outcome[Any]:
        """A check of a sample of molecules; `of` is "file", the user's, or "data", the reference's own."""
        extra, size, seed = EXTRAS[kind], self.request.config.sample_size, self.request.seed
        limit = self.request.config.time_limit or extra.time_limit
        config = {"sample_size": size, "time_limit": limit, "of": of, **_CHARGES}
        key = Key(kind=kind, name=name, config=config, inputs=inputs, seed=seed)

        def compute(**how: Any) -> Any:
            chosen, charges = molecules()
            return check_sample(kind, chosen, charges=charges, sample_size=size, seed=seed, **how)

        return self._once(f"{kind}, {label}", key, extra.result, compute, extra.require, asked=of == "file")

    def _once(
        self,
        label: str,
        key: Key,
        as_type: type[Any],
        compute: Callable[..., Any],
        program: Callable[[], str],
        *,
        asked: bool,
        complete: Callable[[Any], bool] = lambda stored: True,
    ) -> Outcome[Any]:
        """Find or compute and store a result. One on the way to what is `asked` for is resumed, or replaced if it
        differs; one of an earlier version that is not `complete` is computed anew."""
        policy = replace(self.policy, engine=program) if asked else Policy(resume=None, replace=True, engine=program)
        with self.report.progress(label) as progress:

            def with_pieces(pieces: PartialResults) -> Any:
                limit = key.config["time_limit"]
                return compute(workers=self.request.threads, time_limit=limit, progress=progress, pieces=pieces)

            return once(self.store, key, as_type, with_pieces, policy, self.report, complete)

    def _limit(self, protocol: str) -> float | None:
        """Seconds for one molecule."""
        limit = self.request.config.time_limit
        return STRICT_TIME_LIMIT if limit is None and protocol == "strict" else limit


def data_reference(
    config: EvaluateConfig,
    store: Store | None,
    report: Reporter,
    *,
    threads: int | None = None,
    cache: Path | None = None,
) -> DataReference | None:
    """What an evaluation with these options compares molecules with; None for nothing. A data set of the user's is
    judged once and kept in the store.

    Raises:
        NotFound, InvalidInput, Unavailable: as `load_dataset`.
    """
    request = EvaluateRequest(file=Path(), config=config, threads=threads, cache=cache)
    return _Run(request, MoleculeFile(path=Path(), label="", digest=""), store, Policy(), report).reference.reference


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


def _own_molecules(data: Dataset) -> _Charged:
    """The molecules of the split that the data set's row is of."""
    own, _ = picked(data, row_split(data), len(data))
    return data.molecules.take(own), charges_of(data)[0][own]
