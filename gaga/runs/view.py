"""What `gaga view` does: molecules as a page that any browser opens, or as a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaga.chem.drawing import MOST_PICTURES, Cell, Depiction, depict, draw_grid
from gaga.core.config import split_off
from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules
from gaga.core.progress import Reporter
from gaga.core.text import counted
from gaga.data.dataset import Dataset
from gaga.data.spread import in_chunks, spread
from gaga.evaluation.config import EvaluateConfig
from gaga.evaluation.evaluation import Evaluation
from gaga.evaluation.evaluation import evaluate as judge_and_compare
from gaga.evaluation.molecule_set import formula_of
from gaga.page.build import build
from gaga.page.config import PAGE_FIRST, PICTURE_FIRST, ViewConfig
from gaga.page.content import columns_of, content
from gaga.runs.evaluate import STRICT_TIME_LIMIT, data_reference
from gaga.runs.once import as_store, slug
from gaga.runs.view_input import Shown, shown_molecules
from gaga.storage.files import atomic_write, expanded, refuse_to_overwrite, require_writable
from gaga.storage.store import Store
from gaga.version import __version__

SUFFIXES = (".html", ".png", ".svg")
_CHUNK = 250  # molecules that are drawn at a time
_WORTH = 8  # chunks; with fewer, starting processes takes longer than drawing
_LONGEST = 28  # letters of a caption


@dataclass(frozen=True, kw_only=True)
class ViewRequest:
    """Which molecules are shown, and as what.

    Attributes:
        source: packed molecules, a data set or its name, a file or folder, or a stored result as "sample/mols".
        out: an .html, .png or .svg; None for a page next to the file, of its name.
        config: what is shown.
        overwrite: write over a file that exists.
        seed: of intervals. threads: processes; None: one for each core if there are many molecules.
        cache: folder of prepared data sets.
    """

    source: PackedMolecules | Dataset | str | Path
    out: Path | None = None
    config: ViewConfig = ViewConfig()
    overwrite: bool = False
    seed: int = 0
    threads: int | None = None
    cache: Path | None = None

    @property
    def path(self) -> Path:
        """The file that is written."""
        if self.out is not None:
            return self.out
        if not isinstance(self.source, str | Path):
            raise InvalidInput("molecules in memory have no name", remedy="say `out`, such as mols.html")
        named = expanded(self.source)
        folder = named.absolute().parent if named.exists() else Path()
        return folder / f"{slug(named.name.partition('.')[0] or 'molecules')}.html"

    def check(self) -> None:
        """Reject, before the work, what could not be written after it.

        Raises:
            InvalidInput, Conflict, NotFound, Unavailable: the format, the file or the folder cannot be.
        """
        if self.path.suffix.lower() not in SUFFIXES:
            raise InvalidInput("molecules are shown as .html, .png or .svg", received=self.path)
        refuse_to_overwrite(self.path, overwrite=self.overwrite)
        require_writable(self.path)


@dataclass(frozen=True, kw_only=True)
class Viewed:
    """What was written.

    Attributes:
        path: the file. n_bytes: its size.
        molecules: how many are shown. more: whether the source has others.
        drawn: how many have a drawing. trajectories: how many have frames.
        evaluation: of those shown; None for a picture.
    """

    path: Path
    n_bytes: int
    molecules: int
    more: bool
    drawn: int
    trajectories: int
    evaluation: Evaluation


def run(request: ViewRequest, store: Store | None, report: Reporter) -> Viewed:
    """Read, judge, draw and write.

    Raises:
        Conflict: the file exists. NotFound: there are no such molecules, or no such folder.
        InvalidInput: there are no molecules; another format; too many molecules for a picture.
        Unavailable: it cannot be written.
    """
    request.check()
    config, is_page = request.config, request.path.suffix.lower() == ".html"
    first = config.first or (PAGE_FIRST if is_page else PICTURE_FIRST)
    if not is_page and first > MOST_PICTURES:
        raise InvalidInput(f"a picture has at most {MOST_PICTURES} molecules", received=first, remedy="write an .html")
    shown = shown_molecules(request.source, first, report, store=store, cache=request.cache)
    judging = EvaluateConfig(protocol=config.protocol, dataset=config.dataset)
    reference = data_reference(judging, store, report, threads=request.threads, cache=request.cache)
    with report.progress(f"evaluating by {config.protocol}") as progress:
        evaluation = judge_and_compare(
            shown.molecules, protocol=config.protocol, charges=shown.charges.tolist(), workers=request.threads,
            time_limit=STRICT_TIME_LIMIT if config.protocol == "strict" and len(shown.molecules) > _CHUNK else None,
            seed=request.seed, reference=reference, progress=progress,
        )  # fmt: skip
    depictions = _depictions(shown, request.threads, report)
    kept = tuple(number - 1 for number in config.highlight) if config.highlight else shown.kept
    kept_rows = None if config.highlight else shown.kept_rows
    if is_page:
        written = _page(shown, evaluation, depictions, kept, kept_rows).encode("utf-8", "backslashreplace")
    else:
        cells = _cells(shown, evaluation, depictions, kept, kept_rows)
        written = draw_grid(cells, request.path.suffix.lower()[1:], columns=min(config.columns, len(cells)))
    with atomic_write(request.path) as partial:
        partial.write_bytes(written)
    return Viewed(
        path=request.path, n_bytes=len(written), molecules=len(shown.molecules), more=shown.more,
        drawn=sum(each is not None for each in depictions), trajectories=len(shown.frames), evaluation=evaluation,
    )  # fmt: skip


def _depictions(shown: Shown, threads: int | None, report: Reporter) -> list[Depiction | None]:
    """How each molecule is drawn; by several processes if there are many."""
    found: list[Depiction | None] = []
    each = ((*shown.molecules[i], int(charge)) for i, charge in enumerate(shown.charges.tolist()))
    with report.progress("drawing") as progress:
        for chunk in spread(_depict_chunk, in_chunks(each, _CHUNK), threads, worth=_WORTH):
            found += chunk
            progress(len(found), len(shown.molecules))
    return found


def _depict_chunk(molecules: Sequence[tuple[Any, Any, int]]) -> list[Depiction | None]:
    return [depict(numbers, positions, charge=charge) for numbers, positions, charge in molecules]


def _page(
    shown: Shown,
    evaluation: Evaluation,
    depictions: Sequence[Depiction | None],
    kept: Sequence[int],
    kept_rows: frozenset[int] | None,
) -> str:
    formulas = [formula_of(numbers) if len(numbers) else "" for numbers, _ in shown.molecules]
    smiles = [
        depiction.smiles if depiction is not None and depiction.smiles else by_protocol
        for depiction, by_protocol in zip(depictions, evaluation.verdicts.smiles, strict=True)
    ]
    columns = columns_of(evaluation, shown.names, smiles, formulas, shown.problems, shown.tags)
    n = len(shown.molecules)
    about = counted(n, "molecule") if not shown.more else f"The first {counted(n, 'molecule')}"
    if shown.frames:
        about += f", {len(shown.frames)} {'trajectory' if len(shown.frames) == 1 else 'trajectories'}"
    made = f"Made by gaga {__version__}, protocol {evaluation.protocol}, RDKit {evaluation.rdkit}."
    data = content(
        evaluation, shown.molecules, depictions, columns, shown.frames, label=shown.label, about=f"{about}.",
        made=made, kept=kept, kept_rows=kept_rows,
    )  # fmt: skip
    return build(f"{shown.label}: {counted(n, 'molecule')}", data)


def _cells(
    shown: Shown,
    evaluation: Evaluation,
    depictions: Sequence[Depiction | None],
    kept: Sequence[int],
    kept_rows: frozenset[int] | None,
) -> list[Cell]:
    verdicts = evaluation.verdicts
    cells = []
    for i, depiction in enumerate(depictions):
        said = shown.problems.get(i) or f"not valid: {verdicts.reasons[i] or 'no bonds fit'}"
        if verdicts.valid[i]:
            said = depiction.smiles if depiction is not None and depiction.smiles else verdicts.smiles[i]
        lines = [line for line in (shown.names[i], said) if line]
        caption = "\n".join(line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..." for line in lines)
        coloured = kept if kept_rows is None or i in kept_rows else ()
        cells.append(Cell(numbers=shown.molecules[i][0], depiction=depiction, caption=caption, kept=coloured))
    return cells


def view(
    molecules: PackedMolecules | Dataset | str | Path,
    *,
    out: Path | str | None = None,
    store: Store | Path | str | None = None,
    overwrite: bool = False,
    report: Reporter = Reporter(),
    **options: Any,
) -> Viewed:
    """Molecules as a page that any browser opens, or as a picture.

    Args:
        molecules: in memory, a data set or its name, a file or folder, or a stored result as "sample/mols".
        out: an .html, .png or .svg; None for a page next to the file.
        store: the file of results. overwrite: write over a file that exists.
        report: receives notes and progress.
        options: fields of `ViewConfig` and of `ViewRequest`.

    Raises:
        Conflict, InvalidInput, NotFound, Unavailable: as `run`.

    Example:
        >>> import gaga
        >>> gaga.view("mols.sdf", out="mols.html").molecules  # doctest: +SKIP
    """
    config, others = split_off(ViewConfig, options)
    if unknown := sorted(others.keys() - {"seed", "threads", "cache"}):
        raise InvalidInput("no such option", received=", ".join(unknown))
    path = None if out is None else Path(out)
    request = ViewRequest(source=molecules, out=path, config=config, overwrite=overwrite, **others)
    return run(request, as_store(store), report)
