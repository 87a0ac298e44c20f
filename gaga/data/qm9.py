"""QM9: 130,831 molecules with 15 properties (Ramakrishnan et al. 2014, doi 10.1038/sdata.2014.22).

Read from the CSV files of the `qm9pack` package or from the publisher's archive of XYZ files. 3,054 of the
133,885 molecules failed the publisher's consistency check of geometry against SMILES and are left out, as
everybody does.
"""

import csv
import importlib.metadata
import importlib.util
import logging
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int64
from numpy.typing import NDArray

from gaga.chem.archives import Unpacked
from gaga.chem.sources import is_hidden
from gaga.chem.writers import SMILES_TAG
from gaga.chem.xyz import QM9_UNITS, parse_frame, split_frames
from gaga.core.errors import InvalidInput, NotFound, Unavailable
from gaga.core.molecules import PackedMolecules, offsets_of
from gaga.core.progress import Progress, silent
from gaga.core.text import decimal, whole
from gaga.data.dataset import Annotations, Dataset, already_read
from gaga.data.splits import edm_split

N_PUBLISHED = 133_885
N_CHARACTERISED = 130_831
VOCABULARY = (1, 6, 7, 8, 9)
PROPERTY_UNITS = QM9_UNITS  # in the order of the publisher's files and of qm9pack's columns

ARCHIVE_NAME = "dsgdb9nsd.xyz.tar.bz2"
ARCHIVE_URL = "https://ndownloader.figshare.com/files/3195389"
ARCHIVE_MD5 = "ad1ebd51ee7f5b3a6e32e974e5d54012"
_CSV_PATTERN = "qm9_part*.csv"
_WAYS = (
    'run pip install "gaga-mol[qm9]", or name a local copy with `source` '
    f"({ARCHIVE_NAME}, the folder that it unpacks to, or qm9pack's CSV files), or connect to the network"
)
_REPORT_EVERY = 2000
_MAX_MEMBER = 1 << 20  # bytes; QM9's files have a few thousand
_MAX_UNPACKED = 1 << 30  # bytes; QM9 has 0.4 GB

# What the readers of csv, tar, bz2 and gzip raise if a file is damaged.
_DAMAGE = (ValueError, IndexError, KeyError, EOFError, OSError, tarfile.TarError, csv.Error, zlib.error)

_log = logging.getLogger(__name__)


class Entry(NamedTuple):
    """One molecule of QM9: positions [N, 3] in Å, properties [15] in the order of PROPERTY_UNITS."""

    id: int
    smiles: str
    symbols: str
    positions: NDArray[np.float32]
    properties: list[float]


def read_qm9(source: Path | None, download_dir: Path, progress: Progress = silent) -> Dataset:
    """QM9 with EDM's split, from `source`, else the installed qm9pack, else the publisher's archive.

    Args:
        source: the publisher's archive, the folder that it unpacks to, or a folder with qm9pack's CSV files; None to
            look for one.
        download_dir: where a downloaded archive is kept.
        progress: called with the molecules read, or the bytes downloaded.

    Raises:
        NotFound: `source` does not exist.
        InvalidInput: `source` is neither, or is damaged or incomplete.
        Unavailable: no source is given or installed, and none can be downloaded.
    """
    source = source or installed_qm9pack() or download(download_dir, progress)
    if not source.exists():
        raise NotFound("no such file or folder", received=source)
    _log.info("reading QM9 from %s", source)
    molecules = read_folder(source) if source.is_dir() else read_archive(source)
    try:
        ids, packed, annotations = _pack(_counted(molecules, progress))
    except _DAMAGE as error:
        raise InvalidInput(f"{source} is not a whole copy of QM9: {error}", remedy="fetch it again") from error
    _check_complete(ids, source)
    return Dataset(
        name="qm9",
        molecules=packed,
        ids=ids,
        splits=edm_split(len(ids)),
        vocabulary=VOCABULARY,
        origin=_origin(source),
        read_annotations=already_read(annotations),
    )


def _origin(source: Path) -> str:
    if source == installed_qm9pack():
        return f"qm9pack {importlib.metadata.version('qm9pack')}"
    return source.name


def characterised_ids() -> Int64[np.ndarray, " n"]:
    """QM9's own indices of the 130,831 molecules, ascending."""
    return np.setdiff1d(np.arange(1, N_PUBLISHED + 1), sorted(_uncharacterised()))


@cache
def _uncharacterised() -> frozenset[int]:
    text = resources.files("gaga.data").joinpath("qm9_uncharacterised.txt").read_text("ascii")
    return frozenset(map(int, text.split()))


def installed_qm9pack() -> Path | None:
    """The folder of qm9pack's CSV files, or None if it is not installed.

    The package is located, never imported: its import needs a `pkg_resources` that setuptools has dropped.
    """
    spec = importlib.util.find_spec("qm9pack")
    folders = [Path(place) / "data" for place in (spec.submodule_search_locations or [])] if spec else []
    return next((folder for folder in folders if any(folder.glob(_CSV_PATTERN))), None)


def download(folder: Path, progress: Progress = silent) -> Path:
    """The publisher's archive (86 MB) in `folder`, downloaded if it is not yet there, checksum verified.

    Raises:
        Unavailable: it cannot be downloaded, or what came is damaged.
    """
    import pooch

    pooch.get_logger().setLevel(logging.WARNING)
    downloader = pooch.HTTPDownloader(progressbar=_Bytes(progress))
    try:
        path = pooch.retrieve(
            ARCHIVE_URL,
            known_hash=f"md5:{ARCHIVE_MD5}",
            fname=ARCHIVE_NAME,
            path=folder,
            downloader=downloader,
        )
    except ValueError as error:
        raise Unavailable("the download of QM9 came damaged: its checksum differs", remedy="try again") from error
    except OSError as error:
        raise Unavailable("QM9 is not on this machine and cannot be downloaded", remedy=_WAYS) from error
    return Path(path)


class _Bytes:
    """Progress of a download, in the form that pooch reports to."""

    def __init__(self, progress: Progress) -> None:
        self.total = 0
        self._done = 0
        self._progress = progress

    def update(self, n: int) -> None:
        self._done += n
        self._progress(self._done, self.total, "downloading QM9")

    def reset(self) -> None:
        self._done = 0

    def close(self) -> None:
        """Nothing to close."""


def read_folder(folder: Path) -> Iterator[Entry]:
    """The molecules of qm9pack's CSV files, or else of the publisher's XYZ files in a folder.

    Raises:
        InvalidInput: the folder holds neither.
    """
    tables = sorted(folder.glob(_CSV_PATTERN)) or sorted(folder.glob(f"data/{_CSV_PATTERN}"))
    for file in tables:
        with file.open(newline="", encoding="utf-8") as lines:
            rows = csv.reader(lines)
            next(rows, None)
            yield from map(_parse_row, rows)
    files = [] if tables else [f for f in sorted(folder.rglob("*.xyz")) if not is_hidden(f.relative_to(folder))]
    if not files and not tables:
        raise InvalidInput(
            "the folder holds no copy of QM9",
            received=folder,
            remedy=f"it must hold {_CSV_PATTERN}, or dsgdb9nsd_000001.xyz and so on",
        )
    for file in files:
        if file.stat().st_size > _MAX_MEMBER:
            raise ValueError(f"{file.name} is larger than any of QM9's")
        yield from _parse_xyz(file.read_text("ascii"))


def _parse_row(row: list[str]) -> Entry:
    """One line of qm9pack: file, index, SMILES, InChI, N, formula, elements, positions, ..., properties."""
    return Entry(
        id=whole(row[1]),
        smiles=row[2],
        symbols=row[6].translate(_NO_LIST).replace(",", ""),
        positions=np.array(_floats(row[7].translate(_NO_LIST).split(",")), dtype=np.float32).reshape(-1, 3),
        properties=_floats(row[10:25]),
    )


_NO_LIST = str.maketrans("", "", "[]' ")


def read_archive(path: Path) -> Iterator[Entry]:
    """The characterised molecules of the publisher's archive, read as a stream; nothing is unpacked.

    Raises:
        InvalidInput: the file is no such archive.
    """
    if not tarfile.is_tarfile(path):
        raise InvalidInput("not a copy of QM9", received=path, remedy=f"it must be the publisher's {ARCHIVE_NAME}")
    with path.open("rb") as raw:
        unpacked: Any = Unpacked(raw, path.name, _MAX_UNPACKED)
        with tarfile.open(fileobj=unpacked, mode="r|") as archive:
            for member in archive:
                if member.size > _MAX_MEMBER:
                    raise ValueError(f"its member {member.name[:80]!r} is larger than any of QM9's")
                content = archive.extractfile(member)
                if content is not None and member.name.endswith(".xyz") and not is_hidden(member.name):
                    yield from _parse_xyz(content.read().decode("ascii"))


def _parse_xyz(text: str) -> Iterator[Entry]:
    """The characterised molecules of one XYZ file of the publisher.

    Raises:
        ValueError: it is none.
    """
    found = 0
    for _, lines in split_frames(text.splitlines()):
        found += 1
        raw = parse_frame(lines)
        if not raw.properties.keys() >= {*PROPERTY_UNITS, SMILES_TAG}:
            raise ValueError("it is not in the form of QM9's publisher")
        entry = Entry(
            id=whole(raw.name.split()[1]),
            smiles=raw.properties[SMILES_TAG],
            symbols="".join(raw.symbols),
            positions=np.array(raw.coordinates, dtype=np.float32),
            properties=[decimal(raw.properties[name]) for name in PROPERTY_UNITS],
        )
        if entry.id not in _uncharacterised():
            yield entry
    if not found:
        raise ValueError("a file of it is empty")


def _floats(texts: list[str]) -> list[float]:
    return list(map(decimal, texts))


def _counted(molecules: Iterable[Entry], progress: Progress) -> Iterator[Entry]:
    for done, molecule in enumerate(molecules, start=1):
        if done > N_PUBLISHED:
            raise ValueError(f"it holds more than {N_PUBLISHED} molecules")
        if done % _REPORT_EVERY == 0 or done == N_CHARACTERISED:
            progress(done, N_CHARACTERISED, "reading QM9")
        yield molecule


def _pack(molecules: Iterable[Entry]) -> tuple[NDArray[np.int64], PackedMolecules, Annotations]:
    """(ids, molecules, annotations), ascending by id."""
    rows = sorted(molecules, key=lambda molecule: molecule.id)
    table = np.array([row.properties for row in rows], dtype=np.float64).reshape(-1, len(PROPERTY_UNITS))
    if not all(np.isfinite(row.positions).all() for row in rows):
        raise ValueError("a coordinate is not finite")
    packed = PackedMolecules(
        np.concatenate([row.positions for row in rows]),
        _atomic_numbers("".join(row.symbols for row in rows)),
        offsets_of([len(row.symbols) for row in rows]),
    )
    columns = {name: table[:, i] for i, name in enumerate(PROPERTY_UNITS)}
    annotations = Annotations(np.array([row.smiles for row in rows]), columns, PROPERTY_UNITS)
    return np.array([row.id for row in rows], dtype=np.int64), packed, annotations


def _atomic_numbers(symbols: str) -> NDArray[np.uint8]:
    """Elements of QM9 all have one letter."""
    lookup = np.zeros(128, dtype=np.uint8)
    lookup[list(b"HCNOF")] = VOCABULARY
    return lookup[np.frombuffer(symbols.encode("ascii"), dtype=np.uint8)]


def _check_complete(ids: NDArray[np.int64], source: Path) -> None:
    expected = characterised_ids()
    if not np.array_equal(ids, expected):
        missing = len(np.setdiff1d(expected, ids))
        raise InvalidInput(
            f"{source} is not a whole copy of QM9",
            received=f"{len(ids)} molecules, {missing} of {N_CHARACTERISED} missing",
            remedy="fetch it again, or read what is there as your own molecules, by its path instead of qm9",
        )
