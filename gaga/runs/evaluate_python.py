"""`gaga.evaluate`: molecules in memory or in a file, from Python; with a store, what `gaga evaluate` does."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaga.core.config import options_of, split_off
from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules
from gaga.core.progress import Reporter
from gaga.data.dataset import Dataset
from gaga.evaluation.config import EvaluateConfig
from gaga.evaluation.evaluation import Evaluation
from gaga.evaluation.evaluation import evaluate as judge_and_compare
from gaga.evaluation.extras import PoseChecks, Relaxation
from gaga.runs.evaluate import NO_REFERENCE, SHIPPED, EvaluateRequest, run
from gaga.runs.once import Policy, as_store
from gaga.storage.store import Store

if TYPE_CHECKING:
    from gaga.evaluation.property_error import PropertyError


@dataclass(frozen=True, eq=False, kw_only=True)
class CheckedEvaluation(Evaluation):
    """An evaluation with checks of a sample of its molecules and errors of a property; None for what was not asked."""

    posebusters: PoseChecks | None = None
    relaxation: Relaxation | None = None
    property: "PropertyError | None" = None


def evaluate(
    molecules: PackedMolecules | Dataset | str | Path,
    *,
    store: Store | Path | str | None = None,
    resume: bool = False,
    replace: bool = False,
    report: Reporter = Reporter(),
    **options: Any,
) -> Evaluation:
    """Stability, validity, uniqueness, novelty and geometry of molecules.

    With a store, or with an option that only the command has, it does what `gaga evaluate` does to a file: results are
    kept in the store, found there again, and resumable. Without, molecules may also be in memory.

    Args:
        molecules: a file or folder of molecules; without a store also packed molecules, a data set or its name.
        store: the file of results. resume: continue a run that was interrupted.
        replace: replace a different result of the same name, and give up an unfinished run.
        report: receives notes and progress.
        options: of `gaga.evaluation.evaluate`, such as `protocol` and `reference`; or fields of `EvaluateConfig` and
            `EvaluateRequest`, such as `posebusters`, `property`, `csv` and `plot`.

    Returns:
        The evaluation; a `CheckedEvaluation` with `posebusters`, `relax`, `property` or `predictor`.

    Raises:
        Conflict, InvalidInput, NotFound, Unavailable: as `run`; or molecules in memory with a store.

    Example:
        >>> import gaga
        >>> gaga.evaluate("mols.sdf", protocol="strict", store="gaga.h5").rates.valid.value  # doctest: +SKIP
    """
    of_command = {*options_of(EvaluateConfig), *EvaluateRequest.__dataclass_fields__}
    of_command -= {"protocol", "time_limit", "seed"}  # which both have
    if store is None and not of_command & options.keys():
        return judge_and_compare(molecules, **options)
    if "reference" in options:
        options["dataset"] = options.pop("reference") or NO_REFERENCE
    if "workers" in options:
        options["threads"] = options.pop("workers")
    if not all(isinstance(given, str | Path) for given in (molecules, options.get("dataset", SHIPPED))):
        raise InvalidInput(
            "results of a file are stored, compared with a data set by its name or path",
            remedy="write the molecules to a file first",
        )
    options["dataset"] = str(options.get("dataset", SHIPPED))
    config, others = split_off(EvaluateConfig, options)
    if unknown := sorted(others.keys() - (EvaluateRequest.__dataclass_fields__.keys() - {"file", "config"})):
        raise InvalidInput(
            "no such option with a store", received=", ".join(unknown), remedy="progress is reported to `report`"
        )
    others |= {name: Path(others[name]) for name in ("csv", "plot") if isinstance(others.get(name), str)}
    request = EvaluateRequest(file=Path(str(molecules)), config=config, **others)
    found = run(request, as_store(store), Policy(resume=resume, replace=replace), report)
    checks: Any = {check.kind: check.outcome.result for check in found.checks}
    checks |= {"property": found.property.result} if found.property else {}
    result = found.evaluation.result
    return CheckedEvaluation(**vars(result), **checks) if checks else result
