"""What `gaga data` does: which named data sets there are, and preparing one so that an interruption loses nothing."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gaga.chem.io import has_smiles_only, molecule_files
from gaga.core.errors import GagaError, InvalidInput, NotFound
from gaga.core.progress import Reporter
from gaga.data import found_prepared, prepared_path, qm9
from gaga.data.geom.prepare import CONFORMERS, prepare_geom
from gaga.data.loading import NAMES, OutsideVocabulary, is_own, prepare
from gaga.data.own import DEFAULTS, UserDataOptions, programs
from gaga.data.streamed import Prepared, unfinished
from gaga.runs.once import Key, Policy, claimed, nothing_to_resume
from gaga.runs.unfinished import KEPT, NOTHING_KEPT, NOTHING_WRITTEN, UnfinishedPieces, explained
from gaga.storage.files import expanded, refuse_to_overwrite, require_writable, target, unwritable
from gaga.storage.partial import NO_PARTIALS, PartialResults
from gaga.version import __version__


def named_data_sets(cache: Path | None = None) -> list[dict[str, Any]]:
    """Name, state, path and size of each named data set: prepared in the cache, installed, or to be downloaded."""
    return [_named(name, cache) for name in NAMES]


def _named(name: str, cache: Path | None) -> dict[str, Any]:
    state, path, size = "downloaded at first use", None, None
    if (prepared := found_prepared(name, cache)) is not None:
        state, path, size = "prepared", str(prepared), prepared.stat().st_size
    elif name == "geom":
        state = "to be prepared from your copy: gaga data prepare geom --from PATH"
    elif (source := qm9.installed_qm9pack()) is not None:
        state, path = "installed, prepared at first use", str(source)
    return {"name": name, "state": state, "path": path, "size": size}


def prepare_data(
    name: str,
    *,
    out: Path | None = None,
    own: UserDataOptions = DEFAULTS,
    resume: bool = False,
    overwrite: bool = False,
    report: Reporter = Reporter(),
    **options: Any,
) -> Path:
    """Write a data set as a prepared file and give its path; geometries that are made survive an interruption.

    Args:
        name, out, own, overwrite: as `gaga.data.prepare`.
        resume: continue with the geometries of an interrupted run.
        report: receives notes and progress.
        options: the others of `gaga.data.prepare`.

    Raises:
        Conflict: an interrupted run is unfinished and is not resumed, or has other settings; or `out` exists.
        InvalidInput, NotFound, Unavailable: as `gaga.data.prepare`.
    """
    policy = Policy(resume=resume, overwrite=overwrite)
    with (
        _kept_geometries(name, out, own, policy, report) as pieces,
        report.progress(f"preparing {name}") as progress,
    ):
        return prepare(name, out=out, own=own, overwrite=overwrite, pieces=pieces, progress=progress, **options)


def prepare_geom_drugs(
    source: Path,
    *,
    out: Path | None = None,
    cache: Path | None = None,
    conformers: int | None = None,
    vocabulary: str = "geom",
    split_file: Path | None = None,
    split_seed: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    report: Reporter = Reporter(),
) -> tuple[Path, Prepared, str]:
    """Read a copy of GEOM-Drugs as a stream and write it as a prepared file, by default in the cache.

    Returns:
        The file, what it holds, and a sentence on which conformers are those of one molecule.

    Raises: as `gaga.data.geom.prepare_geom`.
    """
    path = out or _place_in_cache(cache)

    def kept() -> str:
        return KEPT if _is_unfinished(path) else ""

    if resume and not _is_unfinished(path) and not path.exists():
        report.note(nothing_to_resume(path.name, "`out` and `cache`"))
    with explained(kept, otherwise=NOTHING_KEPT), report.progress(f"reading {source.name}") as progress:
        written, rule = prepare_geom(
            source,
            path,
            conformers=conformers or CONFORMERS,
            vocabulary=vocabulary,
            split_file=split_file,
            split_seed=split_seed or 0,
            resume=resume,
            overwrite=overwrite,
            progress=progress,
        )
    return path, written, rule


def makes_geometries(name: str, out: Path | None, own: UserDataOptions) -> bool:
    """Whether preparing this takes long enough to be resumed: geometries are made of the user's molecules."""
    return out is not None and own.making.makes and is_own(name)


@contextmanager
def _kept_geometries(
    name: str, out: Path | None, own: UserDataOptions, policy: Policy, report: Reporter
) -> Iterator[PartialResults]:
    if out is None or not makes_geometries(name, out, own):
        with explained(lambda: "", otherwise=NOTHING_WRITTEN):
            yield NO_PARTIALS
        return
    refuse_to_overwrite(out, overwrite=bool(policy.overwrite))
    require_writable(out)
    inputs = {"input": _digest(expanded(Path(name))), **programs(own)}
    key = Key(kind="data", name=out.name, config=own.non_defaults(), inputs=inputs)
    run = {**key.config, **key.inputs, "gaga": __version__}
    unfinished = UnfinishedPieces(out.with_name(f".{out.name}.unfinished"), lambda: run, policy.start_over, "`out`")
    with claimed(None, key, lambda: None, policy, unfinished, report):
        try:
            with unfinished.opened(str(out), report) as pieces:
                yield pieces
        except OutsideVocabulary:  # another vocabulary may be chosen
            raise
        except InvalidInput:  # a file that is rejected is rejected again
            unfinished.discard()
            raise
        unfinished.discard()


def _digest(path: Path) -> str:
    """SHA-256 of a file, or of the files of a folder."""
    total = hashlib.sha256()
    if has_smiles_only(path) and not path.exists():
        raise NotFound("no such file or folder", received=path)
    for file in [path] if has_smiles_only(path) else molecule_files(path):
        with file.open("rb") as content:
            total.update(hashlib.file_digest(content, "sha256").digest())
    return total.hexdigest()


def _place_in_cache(cache: Path | None) -> Path:
    path = prepared_path("geom", cache)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error
    return path


def _is_unfinished(path: Path) -> bool:
    try:
        return unfinished(target(path)).is_file()
    except GagaError:
        return False
