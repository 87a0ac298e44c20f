"""GEOM-Drugs: 430,000 drug-like molecules, 37 million conformers, up to 181 atoms, 16 elements, in each of its forms.

Axelrod and Gómez-Bombarelli 2022 (doi 10.1038/s41597-022-01288-4). No program can download it: users
name their file or folder.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

from gaga.chem.elements import GEOM_VOCABULARY
from gaga.core.errors import InvalidInput, NotFound, Unavailable
from gaga.core.progress import Progress, silent
from gaga.data.geom.conformers import Checker, Source, blocks
from gaga.data.geom.msgpack import MsgpackSource
from gaga.data.geom.npy import NpySource
from gaga.data.geom.pickles import SUMMARY, ArchiveSource, FolderSource
from gaga.data.geom.split_file import read_split
from gaga.data.prepared import require_suffix
from gaga.data.streamed import Prepared, PreparedWriter
from gaga.storage.files import expanded, refuse_to_overwrite, require_writable

NAME = "geom"
CONFORMERS = 30
VOCABULARIES: dict[str, tuple[int, ...] | None] = {"geom": GEOM_VOCABULARY, "data": None}
FORMS = "geom_drugs_30.npy, drugs_crude.msgpack, rdkit_folder.tar.gz or the folder of pickles that it unpacks to"
HOW = f"prepare it once with gaga data prepare geom --from PATH, where PATH is {FORMS}"
_FIRST = 1 << 20  # bytes of a file that tell it from others


def open_source(path: Path) -> Source:
    """The form of GEOM-Drugs that a file or folder is.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it is none, or a folder with several.
    """
    path = expanded(path)
    if not path.exists():
        raise NotFound("no such file or folder", received=path)
    if path.is_dir():
        return _source_in(path)
    name = path.name.lower()
    kinds: dict[tuple[str, ...], Callable[[Path], Source]] = {
        (".npy",): NpySource,
        (".msgpack",): MsgpackSource,
        (".tar.gz", ".tgz", ".tar"): ArchiveSource,
    }
    for suffixes, kind in kinds.items():
        if name.endswith(suffixes):
            return kind(path)
    raise InvalidInput("not a copy of GEOM-Drugs", received=path.name, remedy=f"name {FORMS}")


def _source_in(folder: Path) -> Source:
    if (folder / SUMMARY).is_file() or (folder / "drugs").is_dir() or next(folder.glob("*.pickle"), None):
        return FolderSource(folder)
    patterns = ("geom_drugs_[0-9]*.npy", "drugs_crude.msgpack", "rdkit_folder.tar.gz", "rdkit_folder")
    found = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
    if len(found) != 1:
        received = ", ".join(path.name for path in found) or "none of its forms"
        raise InvalidInput(f"{folder} is not one copy of GEOM-Drugs", received=received, remedy=f"name {FORMS}")
    return open_source(found[0])


def prepare_geom(
    source: Path,
    out: Path,
    *,
    conformers: int = CONFORMERS,
    vocabulary: str = "geom",
    split_file: Path | None = None,
    split_seed: int = 0,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
) -> tuple[Prepared, str]:
    """Read a copy of GEOM-Drugs into a prepared file, as a stream, and say what was written and by which rule.

    Args:
        source: in any of its forms.
        out: where to, ending in .h5.
        conformers: of each molecule: those lowest in energy, or the first if there are no energies.
        vocabulary: of VOCABULARIES; conformers with other elements are left out.
        split_file: who is trained on, see `read_split`; None for 80 / 10 / 10 by content.
        split_seed: of the split by content.
        resume: resume a run that was interrupted.
        overwrite: replace `out`, and give up a run that was interrupted, if they are there.
        progress: called with the bytes read.

    Raises:
        NotFound: there is no such source or folder.
        InvalidInput: the source is none, or cut short, or `out` has another suffix.
        Conflict: `out` or an interrupted run is there.
        Unavailable: a file cannot be read or written.
    """
    require_suffix(out)
    refuse_to_overwrite(out, overwrite=overwrite)
    require_writable(out)
    opened, elements = open_source(source), VOCABULARIES[vocabulary]
    split = None if split_file is None else read_split(split_file)
    run = {
        "source": _identity(opened.path), "conformers": conformers, "vocabulary": vocabulary, **opened.identity()
    }  # fmt: skip
    try:
        with PreparedWriter(out, run, split_seed=split_seed, resume=resume, start_over=overwrite) as writer:
            molecules = opened.molecules(writer.place, conformers, Checker(elements))
            for block in blocks(molecules, has_smiles=opened.has_smiles, total=opened.size, progress=progress):
                writer.append(block)
            written = writer.publish(
                name=NAME, origin=opened.path.name, vocabulary=elements, progress=progress,
                splits=None if split is None else split.members(writer.smiles(), writer.molecules),
            )  # fmt: skip
    except OSError as error:
        raise Unavailable(f"cannot read {opened.path}: {error.strerror or error}") from error
    return written, opened.rule(written.notes)


def _identity(path: Path) -> dict[str, str]:
    """What tells a source from another one: its name, and how it begins; it may have become longer."""
    if path.is_dir():
        return {"name": path.name}
    with path.open("rb") as file:
        return {"name": path.name, "begins": hashlib.sha256(file.read(_FIRST)).hexdigest()}
