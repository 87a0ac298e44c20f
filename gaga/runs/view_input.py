"""The molecules that are shown: of a file, a trajectory, a data set, a stored result or from memory, with all that
their source says of them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int16

from gaga.chem.facts import total_charge
from gaga.chem.io import READ_SUFFIXES, Record, Skipped, read_molecules
from gaga.chem.records import text_of
from gaga.chem.writers import trajectory_path
from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules, pack
from gaga.core.progress import Reporter
from gaga.core.text import printable
from gaga.data.dataset import Dataset
from gaga.evaluation.molecule_set import MAX_TEXT, charges_of
from gaga.runs.inputs import read_dataset
from gaga.storage.files import expanded
from gaga.storage.store import Store

FRAGMENT = "fragment_rmsd"
"""The property of molecules that `gaga sample` drew around a fragment, whose atoms come first."""

SAMPLES = "sample"
"""The kind of stored results that hold molecules."""

_FRAME = re.compile(r"frame \d+")
_INDEX = "gaga_index"
_MOST_TAGS = 40
_SAME_ATOM = 2e-3  # Å; an SDF has four digits
_SAME_SHAPE = 0.05  # Å
_MOST_TRAJECTORIES = 100


@dataclass(frozen=True, eq=False, kw_only=True)
class Shown:
    """M molecules with what is said of each.

    Attributes:
        label: what they are called.
        molecules: a record that cannot be used has no atoms.
        charges: total charges, [M].
        names: [M]; empty if there is none.
        problems: why a record cannot be used, by its place.
        tags: values [M] by name, None if a molecule lacks one.
        frames: the frames of some molecules, by their places.
        kept: atoms that were kept, numbered from 0.
        kept_rows: the molecules of which this is true; None for all.
        more: whether the source has further molecules.
    """

    label: str
    molecules: PackedMolecules
    charges: Int16[np.ndarray, " M"]
    names: list[str]
    problems: Mapping[int, str] = field(default_factory=dict)
    tags: Mapping[str, list[Any]] = field(default_factory=dict)
    frames: Mapping[int, PackedMolecules] = field(default_factory=dict)
    kept: tuple[int, ...] = ()
    kept_rows: frozenset[int] | None = None
    more: bool = False


def shown_molecules(
    source: PackedMolecules | Dataset | str | Path,
    first: int,
    report: Reporter,
    *,
    store: Store | None = None,
    cache: Path | None = None,
) -> Shown:
    """The first molecules of a source.

    Args:
        source: packed molecules, a data set or its name, a file or folder, or a stored result as "sample/mols".
        first: how many at most.
        report: receives notes and progress.
        store: where results are. cache: folder of prepared data sets.

    Raises:
        NotFound: there is no such file, data set or result.
        InvalidInput: it holds no molecules.
    """
    if isinstance(source, PackedMolecules):
        chosen = source.take(np.arange(min(first, len(source))))
        return _of_arrays("molecules", chosen, more=len(source) > first)
    if isinstance(source, Dataset):
        return _of_dataset(source, first)
    path, name = expanded(source), str(source)
    if path.is_dir() or path.name.lower().endswith(READ_SUFFIXES):
        return _of_file(path, first, report)
    kind, _, own = name.partition("/")
    if kind == SAMPLES and own and store is not None and not path.exists():
        return _of_result(store, own, first)
    return _of_dataset(read_dataset(source, report, cache=cache), first)


def _of_arrays(label: str, molecules: PackedMolecules, *, more: bool, **known: Any) -> Shown:
    n = len(molecules)
    if not n:
        raise InvalidInput(f"{label} holds no molecules")
    found: dict[str, Any] = {"charges": np.zeros(n, np.int16), "names": [""] * n, **known}
    return Shown(label=label, molecules=molecules, more=more, **found)


def _of_dataset(dataset: Dataset, first: int) -> Shown:
    n = min(first, len(dataset))
    charges, _ = charges_of(dataset)
    tags = {name: _numbers(values[:n]) for name, values in list(dataset.properties.items())[:_MOST_TAGS]}
    names = [f"{dataset.name} {number}" for number in dataset.ids[:n].tolist()]
    chosen = dataset.molecules.select(np.arange(n))
    return _of_arrays(
        dataset.name, chosen, more=len(dataset) > first, charges=charges[:n], names=names, tags=tags
    )  # fmt: skip


def _numbers(values: Float[np.ndarray, " n"]) -> list[float | None]:
    return [value if np.isfinite(value) else None for value in values.tolist()]


def _of_result(store: Store, name: str, first: int) -> Shown:
    """Of a stored sample; what it says of each molecule is evaluated anew."""
    found = store.arrays(SAMPLES, name)
    offsets = np.asarray(found["offsets"])
    n = min(first, len(offsets) - 1)
    molecules = PackedMolecules(
        positions=np.asarray(found["positions"])[: offsets[n]],
        atomic_numbers=np.asarray(found["atomic_numbers"])[: offsets[n]],
        offsets=offsets[: n + 1],
    )
    seeds, indices = (np.asarray(found[key])[:n].tolist() for key in ("seeds", "indices"))
    names = [f"gaga-{seed}-{index}" for seed, index in zip(seeds, indices, strict=True)]
    return _of_arrays(f"{SAMPLES}/{name}", molecules, more=len(offsets) - 1 > n, names=names)


def _of_file(path: Path, first: int, report: Reporter) -> Shown:
    label = printable(path.name or path.resolve().name)
    with report.progress(f"reading {label}") as progress:
        found = list(islice(read_molecules(path, progress, bonding=True), first + 1))
    records, more = found[:first], len(found) > first
    usable = {i: record for i, record in enumerate(records) if isinstance(record, Record)}
    if not usable:
        reasons = ", ".join(dict.fromkeys(record.reason for record in records if isinstance(record, Skipped)))
        raise InvalidInput(f"{path} holds no usable molecule", received=reasons or "no records")
    if len(usable) == len(records) > 1 and all(_FRAME.fullmatch(record.name) for record in usable.values()):
        frames = pack((record.atomic_numbers, record.positions) for record in usable.values())
        last = frames.take([len(frames) - 1])
        return _of_arrays(label, last, more=more, names=[path.name.partition(".")[0]], frames={0: frames})
    nothing = (np.zeros(0, np.uint8), np.zeros((0, 3), np.float32))
    molecules = pack(
        (record.atomic_numbers, record.positions) if isinstance(record, Record) else nothing for record in records
    )
    limit = np.iinfo(np.int16).max
    charges = [total_charge(usable[i]) or 0 if i in usable else 0 for i in range(len(records))]
    kept, kept_rows = kept_fragment(usable)
    return Shown(
        label=label, molecules=molecules, charges=np.clip(charges, -limit, limit).astype(np.int16),
        names=[_line(usable[i].name) if i in usable else "" for i in range(len(records))],
        problems={i: _problem(record) for i, record in enumerate(records) if isinstance(record, Skipped)},
        tags=_tags(records), frames=_trajectories(path, usable), kept=kept, kept_rows=kept_rows, more=more,
    )  # fmt: skip


def _line(text: str) -> str:
    return printable(" ".join(text.split())[:MAX_TEXT])


def _problem(record: Skipped) -> str:
    return _line(f"{record.reason}: {record.where}" + (f", {record.detail}" if record.detail else ""))


def _tags(records: Sequence[Record | Skipped]) -> dict[str, list[Any]]:
    """The properties of the records; a column of numbers if all of its values are."""
    names = dict.fromkeys(
        name for record in records if isinstance(record, Record) for name in list(record.properties)[:_MOST_TAGS]
    )
    found: dict[str, list[Any]] = {}
    for name in list(names)[:_MOST_TAGS]:
        texts = [
            _line(text_of(record.properties[name]))
            if isinstance(record, Record) and name in record.properties
            else None
            for record in records
        ]
        found[_line(name)] = as_numbers(texts)
    return found


def as_numbers(texts: Sequence[str | None]) -> list[Any]:
    """Texts as numbers if all of them are finite numbers, else as they are; None and "" are no value."""
    values: list[Any] = []
    for text in texts:
        try:
            value = None if not text else float(text)
        except ValueError:
            return list(texts)
        if value is not None and not np.isfinite(value):
            return list(texts)
        values.append(int(value) if value is not None and value == int(value) and abs(value) < 2**53 else value)
    return values


def kept_fragment(records: Mapping[int, Record]) -> tuple[tuple[int, ...], frozenset[int] | None]:
    """The atoms with which all molecules drawn around one fragment begin, and which molecules those are.

    They are at the same places in each of them, as `gaga sample` lays molecules onto the fragment; of a single
    molecule this cannot be seen.
    """
    rows = [i for i, record in records.items() if FRAGMENT in record.properties]
    if len(rows) < 2:
        return (), None
    own = records[rows[0]]
    n = len(own.atomic_numbers)
    for record in (records[i] for i in rows[1:]):
        n = min(n, len(record.atomic_numbers))
        same = (record.atomic_numbers[:n] == own.atomic_numbers[:n]) & np.all(
            np.abs(record.positions[:n] - own.positions[:n]) < _SAME_ATOM, axis=1
        )
        n = n if same.all() else int(np.argmin(same))
    return tuple(range(n)), frozenset(rows) if n else None


def _trajectories(path: Path, records: Mapping[int, Record]) -> dict[int, PackedMolecules]:
    """The frames that `gaga sample` wrote next to the file, by the places of their molecules."""
    if path.is_dir():
        return {}
    found: dict[int, PackedMolecules] = {}
    for place, record in islice(records.items(), _MOST_TRAJECTORIES):
        index = str(record.properties.get(_INDEX, place))
        if not index.isascii() or not index.isdecimal() or len(index) > 9:
            continue
        file = trajectory_path(path, int(index))
        if file.is_file():
            frames = [frame for frame in read_molecules(file) if isinstance(frame, Record)]
            if frames and _same_molecule(frames[-1], record):
                found[place] = pack((frame.atomic_numbers, frame.positions) for frame in frames)
    return found


def _same_molecule(frame: Record, record: Record) -> bool:
    """Whether the last frame is this molecule, which may be turned: the same atoms as far from the centre."""
    if len(frame.atomic_numbers) != len(record.atomic_numbers):
        return False
    radii = [np.linalg.norm(one.positions - one.positions.mean(axis=0), axis=1) for one in (frame, record)]
    same = sorted(frame.atomic_numbers.tolist()) == sorted(record.atomic_numbers.tolist())
    return same and bool(np.allclose(np.sort(radii[0]), np.sort(radii[1]), atol=_SAME_SHAPE))
