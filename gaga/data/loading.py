"""A name or a path -> a data set: the cache, the sources, the user's own files."""

import dataclasses
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from gaga.chem.elements import symbol_of
from gaga.core.errors import InvalidInput, NotFound, Unavailable
from gaga.core.progress import Progress, silent
from gaga.data.dataset import Dataset, vocabulary_of
from gaga.data.geom.prepare import HOW, VOCABULARIES
from gaga.data.geom.prepare import NAME as GEOM
from gaga.data.own import DEFAULTS, PUBLISHED_NAMES, UserDataOptions, read_own
from gaga.data.prepared import SUFFIXES as PREPARED_SUFFIXES
from gaga.data.prepared import read_prepared, require_suffix, write_prepared
from gaga.data.qm9 import read_qm9
from gaga.data.splits import content_split, edm_split
from gaga.storage.files import expanded, refuse_to_overwrite, require_writable
from gaga.storage.locks import locked
from gaga.storage.partial import NO_PARTIALS, PartialResults

NAMES = PUBLISHED_NAMES

_log = logging.getLogger(__name__)


def load_dataset(
    name_or_path: str | Path,
    *,
    source: Path | None = None,
    cache_dir: Path | None = None,
    split_seed: int | None = None,
    own: UserDataOptions = DEFAULTS,
    pieces: PartialResults = NO_PARTIALS,
    progress: Progress = silent,
) -> Dataset:
    """A named data set, a prepared file, or the user's own molecules.

    Args:
        name_or_path: `qm9` or `geom` in any case; or a prepared `.h5`; or an `.sdf`, `.mol`, `.xyz`, gzipped or not; or
            a folder or archive of them; or a `.csv` or `.smi` of SMILES, gzipped or not, if `own` says to embed them.
        source: a local copy of a named data set, read if the cache does not have it yet.
        cache_dir: where named data sets are kept prepared; None for the user's cache folder.
        split_seed: draw the split anew with this seed; None for the published one, or a prepared file's own.
        own: what is asked of the user's own molecules; of others, nothing can be.
        pieces: see `own.read_own`.
        progress: called with the molecules read or the bytes downloaded.

    Raises:
        NotFound: no data set or file of that name.
        InvalidInput: a file that cannot be read, or holds no usable molecule.
        Unavailable: a named data set that is neither here nor to be downloaded.
    """
    if _is_named(name_or_path):
        _ask_nothing(name_or_path, own)
        dataset = _load_named(str(name_or_path), cache_dir or default_cache_dir(), source, progress)
    else:
        dataset = _load_path(_existing(name_or_path), own, pieces, progress)
    return dataset if split_seed is None else _split_again(dataset, split_seed)


def prepare(
    name_or_path: str | Path,
    *,
    out: Path | None = None,
    lean: bool = False,
    overwrite: bool = False,
    vocabulary: str | None = None,
    source: Path | None = None,
    cache_dir: Path | None = None,
    split_seed: int | None = None,
    own: UserDataOptions = DEFAULTS,
    pieces: PartialResults = NO_PARTIALS,
    progress: Progress = silent,
) -> Path:
    """Write a data set as a prepared file, which opens in under a second, and give its path.

    Args:
        name_or_path: as `load_dataset` takes it.
        out: where to, ending in .h5; None for the place in the cache that named data sets have.
        lean: positions, elements and split alone, compressed.
        overwrite: replace `out` if it is there.
        vocabulary: `data` for the elements that occur, `geom` for EDM's 16 of GEOM-Drugs, None for the data set's own.
        source: see `load_dataset`.
        cache_dir: see `load_dataset`.
        split_seed: see `load_dataset`.
        own: see `load_dataset`.
        pieces: see `load_dataset`.
        progress: see `load_dataset`.

    Raises:
        Conflict: `out` is there and `overwrite` is false.
        InvalidInput: `out` has another suffix, or is missing for molecules that have no place in the cache.
        NotFound: no data set of that name, or no folder to write to.
        Unavailable: the file cannot be written.
    """
    if out is None:
        return _prepare_in_cache(name_or_path, cache_dir or default_cache_dir(), source, own, progress)
    require_suffix(out)
    refuse_to_overwrite(out, overwrite=overwrite)
    require_writable(out)
    dataset = load_dataset(
        name_or_path,
        source=source,
        cache_dir=cache_dir,
        split_seed=split_seed,
        own=own,
        pieces=pieces,
        progress=progress,
    )
    write_prepared(dataset if vocabulary is None else with_vocabulary(dataset, vocabulary), out, lean=lean)
    return out


def verify(dataset: Dataset) -> None:
    """Read all of a data set and hold it against its fingerprint, which a large file's is believed without.

    Raises:
        InvalidInput: it is another one.
    """
    if dataclasses.replace(dataset).fingerprint != dataset.fingerprint:
        raise InvalidInput(f"{dataset.name} differs from its fingerprint", remedy="prepare it again")


class OutsideVocabulary(InvalidInput):
    """Molecules of elements that the vocabulary asked for has not; with another one they are good."""


def with_vocabulary(dataset: Dataset, name: str) -> Dataset:
    """The data set with the type columns of a vocabulary: `data` for what occurs, `geom` for EDM's 16 of GEOM-Drugs.

    Raises:
        OutsideVocabulary: it has an element that the vocabulary has not.
    """
    occurring = vocabulary_of(dataset.atomic_numbers)
    vocabulary = VOCABULARIES[name] or occurring
    others = [symbol_of(z) for z in occurring if z not in vocabulary]
    if others:
        raise OutsideVocabulary(
            f"the vocabulary {name} lacks elements of {dataset.name}", received=", ".join(others),
            remedy="use `vocabulary=data`, or leave those molecules out",
        )  # fmt: skip
    return dataclasses.replace(dataset, vocabulary=vocabulary)


def default_cache_dir() -> Path:
    """The user's cache folder of gaga, as the operating system has it; it need not exist yet.

    Raises:
        Unavailable: the user has no home folder.
    """
    import platformdirs  # a prepared file can be trained on without it

    with suppress(RuntimeError):  # by which newer versions say it; older ones leave the ~
        folder = Path(platformdirs.user_cache_dir("gaga"))
        if folder.is_absolute():
            return folder
    raise Unavailable(
        "there is no home folder, and so no cache of prepared data sets", remedy="name one with `cache` or GAGA_CACHE"
    )


def prepared_path(name: str, cache_dir: Path | None = None) -> Path:
    """Where the cache has a named data set, whether or not it is there yet.

    Raises:
        NotFound: no data set of that name.
        Unavailable: there is no home folder, and `cache_dir` names no cache.
    """
    if not _is_named(name):
        raise _unknown(name)
    return (cache_dir or default_cache_dir()) / f"{name.lower()}.h5"


def found_prepared(name: str, cache_dir: Path | None = None) -> Path | None:
    """The file of a named data set in the cache; None if it is not there, or there is no cache."""
    with suppress(Unavailable):
        path = prepared_path(name, cache_dir)
        return path if path.is_file() else None
    return None


def is_own(name_or_path: str | Path) -> bool:
    """Whether it is neither a named data set nor a prepared file, but the user's own molecules."""
    return not _is_named(name_or_path) and Path(name_or_path).suffix.lower() not in PREPARED_SUFFIXES


def _is_named(name_or_path: str | Path) -> bool:
    return isinstance(name_or_path, str) and name_or_path.lower() in NAMES


def _existing(name_or_path: str | Path) -> Path:
    path = expanded(name_or_path)
    if path.exists():
        return path
    if path.suffix or len(path.parts) > 1:
        raise NotFound("no such file or folder", received=name_or_path)
    raise _unknown(str(name_or_path))


def _unknown(name: str) -> NotFound:
    formats = f"{', '.join(PREPARED_SUFFIXES)}, .sdf, .mol, .xyz, a folder of them, or .csv, .smi with SMILES"
    return NotFound("unknown data set", received=name, remedy=f"use {', '.join(NAMES)} or a path: {formats}")


def _load_path(path: Path, own: UserDataOptions, pieces: PartialResults, progress: Progress) -> Dataset:
    if is_own(path):
        return read_own(path, progress, wanted=own, pieces=pieces)
    _ask_nothing(path, own)
    return read_prepared(path)


def _ask_nothing(name_or_path: str | Path, own: UserDataOptions) -> None:
    if own.non_defaults():
        raise InvalidInput(
            f"{name_or_path} is prepared as it is: nothing can be filtered, embedded or relaxed",
            received=", ".join(f"`{name}`" for name in own.non_defaults()),
            remedy="ask that of your own .sdf, .xyz, .csv, .smi or folder",
        )


def _load_named(name: str, cache_dir: Path, source: Path | None, progress: Progress) -> Dataset:
    return _load_geom(cache_dir) if name.lower() == GEOM else _load_qm9(cache_dir, source, progress)


def _load_geom(cache_dir: Path) -> Dataset:
    """GEOM-Drugs from the cache, if a copy of it was prepared.

    Raises:
        Unavailable: it is not there.
    """
    cached = prepared_path(GEOM, cache_dir)
    if not cached.exists():
        raise Unavailable("GEOM-Drugs is not prepared on this machine, and cannot be downloaded", remedy=HOW)
    return read_prepared(cached)


def _load_qm9(cache_dir: Path, source: Path | None, progress: Progress) -> Dataset:
    """QM9 from the cache, which is made or mended if needed; in memory if it cannot be written."""
    if source is not None and not source.exists():
        raise NotFound("no such file or folder", received=source)
    cached = prepared_path("qm9", cache_dir)
    found = _read_cache(cached)
    if found is not None:
        return found
    with _sole_writer(cached):
        found = _read_cache(cached)
        return _fill_cache(cached, source, progress) if found is None else found


@contextmanager
def _sole_writer(cached: Path) -> Iterator[None]:
    """Hold the cache's lock, if the cache can be written to at all."""
    with ExitStack() as stack:
        try:
            cached.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(cached))
        except (OSError, Unavailable) as error:
            _log.warning("QM9 will not be kept prepared: %s", error)
        yield


def _read_cache(cached: Path) -> Dataset | None:
    if not cached.exists():
        return None
    try:
        return read_prepared(cached)
    except InvalidInput as error:
        _log.warning("preparing QM9 again: %s", error.what)
        return None


def _fill_cache(cached: Path, source: Path | None, progress: Progress) -> Dataset:
    dataset = read_qm9(source, cached.parent, progress)
    try:
        write_prepared(dataset, cached)
    except (NotFound, Unavailable) as error:
        _log.warning("QM9 is not kept prepared: %s", error.what)
    return dataset


def _prepare_in_cache(
    name: str | Path, cache_dir: Path, source: Path | None, own: UserDataOptions, progress: Progress
) -> Path:
    if not _is_named(name):
        raise InvalidInput("where to write the prepared file is not given", remedy="name it with `out=data.h5`")
    _ask_nothing(name, own)
    _load_named(str(name), cache_dir, source, progress)
    path = prepared_path(str(name), cache_dir)
    if not path.exists():
        raise Unavailable(f"cannot write {path}", remedy="name another place with `out=data.h5`")
    return path


def _split_again(dataset: Dataset, seed: int) -> Dataset:
    published = dataset.name == "qm9"
    splits = edm_split(len(dataset), seed) if published else content_split(dataset.molecules, seed, dataset.groups)
    return dataclasses.replace(dataset, splits=splits)
