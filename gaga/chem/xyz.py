"""XYZ frames, plain and extended: number of atoms, comment, one line for each atom; and those of QM9's publisher."""

import re
from collections.abc import Iterable, Iterator

from gaga.chem.elements import symbol_of
from gaga.chem.records import Lines, Notes, RawRecord, Record, text_of
from gaga.core.text import decimal, whole

_PAIR = re.compile(r'([^\s=]+)=("[^"]*"|\S*)')
_DIGITS = 9  # of a number of atoms
_PLAIN_LAYOUT = {"species": 0, "pos": 1}
_REAL = r"[+-]?\d*\.\d+(?:[ed][+-]?\d+)?"
_ENERGY_ALONE = re.compile(rf"({_REAL})(?:\s*[!#].*)?", re.ASCII | re.IGNORECASE)
_ENERGY = re.compile(
    rf"(?:^|[\s,;|])(?:total[ _]?)?(?:energy|e|etot)\s*[:=]?\s+({_REAL})(?=$|[\s,;|])", re.ASCII | re.IGNORECASE
)
_CHARGE = re.compile(r"(?:^|[\s,;|_])charge\s*[:=]\s*([+-]?\d+)(?=$|[\s,;|])", re.ASCII | re.IGNORECASE)
ENERGY = "energy"

QM9_UNITS = {
    "A": "GHz",
    "B": "GHz",
    "C": "GHz",
    "mu": "D",
    "alpha": "a0^3",
    "homo": "Ha",
    "lumo": "Ha",
    "gap": "Ha",
    "r2": "a0^2",
    "zpve": "Ha",
    "U0": "Ha",
    "U": "Ha",
    "H": "Ha",
    "G": "Ha",
    "Cv": "cal/(mol K)",
}
"""Properties of QM9 and their units, by the names and in the order of its publisher's readme."""
_QM9 = re.compile(r"gdb\s+(\d+)((?:\s+[^\s=]+){15})\s*", re.ASCII)
_QM9_FOOTER = 3  # lines: frequencies, SMILES, InChI


def split_frames(lines: Iterable[str], notes: Notes | None = None) -> Iterator[Lines]:
    """The lines of each frame.

    What stands where a number of atoms should stand is given back as one damaged frame, up to the next line
    that is a number alone; a frame that is cut short, at the end or by the next frame's number of atoms, is given back
    short.
    """
    rest = enumerate(lines, start=1)
    damaged, begins = list[str](), 1
    ahead = next(rest, None)
    while ahead is not None:
        number, line = ahead
        ahead = None
        if _is_count(line):
            if damaged:
                yield begins, damaged
                damaged = []
            frame, ahead = _frame(line, rest)
            yield number, frame
        elif line.strip():
            begins = begins if damaged else number
            damaged.append(line)
        ahead = ahead or next(rest, None)
    if damaged:
        yield begins, damaged


def _frame(first: str, rest: Iterator[tuple[int, str]]) -> tuple[list[str], tuple[int, str] | None]:
    """The lines of the frame that this one begins, and the line behind it, if it had to be read."""
    frame, length = [first], whole(first) + 2
    for ahead in rest:
        line = ahead[1]
        if len(frame) == 1 and _QM9.fullmatch(line):
            length += _QM9_FOOTER
        elif len(frame) > 1 and _is_count(line):
            return frame, ahead
        frame.append(line)
        if len(frame) == length:
            break
    return frame, None


def _is_count(line: str) -> bool:
    word = line.strip()
    return len(word) <= _DIGITS and word.isascii() and word.isdecimal()


def parse_frame(lines: list[str]) -> RawRecord:
    """One frame. An energy in the comment is the property `energy`; what QM9's publisher wrote has its names.

    Raises:
        ValueError: the frame is damaged or cut short.
    """
    if not _is_count(lines[0]):
        raise ValueError(f"no number of atoms: {lines[0].strip()[:40]!r}")
    n_atoms = whole(lines[0])
    if len(lines) < n_atoms + 2:
        raise ValueError("the frame ends before its last atom")
    comment = lines[1].strip()
    qm9 = _QM9.fullmatch(comment)
    pairs = {key: value.strip('"') for key, value in _PAIR.findall(comment)} if qm9 is None else {}
    layout = _layout(pairs.pop("Properties", ""))
    atoms = [_atom(line, layout) for line in lines[2 : n_atoms + 2]]
    if qm9 is not None:
        name, properties = f"gdb {qm9[1]}", _qm9_properties(qm9, lines[n_atoms + 2 :])
    else:
        name, properties = pairs.pop("name", "" if pairs else comment), {**_told_in(comment), **pairs}
    return RawRecord(
        symbols=[symbol for symbol, _ in atoms],
        coordinates=[xyz for _, xyz in atoms],
        name=name,
        properties=properties,
        declared_3d=True,
    )


def _atom(line: str, layout: dict[str, int]) -> tuple[str, list[float]]:
    """Symbol and coordinates of a line whose columns are separated by blanks or else, as in a CSV file, by commas."""
    try:
        return _columns(line.split(), layout)
    except ValueError:
        if "," not in line:
            raise
        return _columns([word.strip() for word in line.split(",")], layout)


def _columns(words: list[str], layout: dict[str, int]) -> tuple[str, list[float]]:
    start = layout["pos"]
    if len(words) < max(start + 3, layout["species"] + 1):
        raise ValueError("an atom's line has too few columns")
    return words[layout["species"]], [decimal(value) for value in words[start : start + 3]]


def _told_in(comment: str) -> dict[str, str]:
    """Energy and charge in a comment: a number alone, as CREST and GOAT write it, or named as xtb and CP2K do."""
    energy = _ENERGY_ALONE.fullmatch(comment) or _ENERGY.search(comment)
    charge = _CHARGE.search(comment)
    found = {ENERGY: energy, "charge": charge}
    return {name: match[1] for name, match in found.items() if match is not None}


def _qm9_properties(comment: re.Match[str], footer: list[str]) -> dict[str, str]:
    """Numbers of the comment, Mathematica's as others write them; the SMILES of GDB-17 and of the geometry."""
    texts = [repr(decimal(text)) if "*^" in text else text for text in comment[2].split()]
    found = dict(zip(QM9_UNITS, texts, strict=True))
    smiles = footer[1].split() if len(footer) > 1 else []
    return {**found, **dict(zip(("SMILES", "SMILES_relaxed"), smiles, strict=False))}


def _layout(specification: str) -> dict[str, int]:
    """First columns of `species` and `pos`, as an extended frame's `Properties=name:type:columns` says."""
    if not specification:
        return _PLAIN_LAYOUT
    words = specification.split(":")
    columns, start = {}, 0
    for name, width in zip(words[::3], words[2::3], strict=True):
        columns[{"Z": "species"}.get(name, name)] = start
        start += whole(width)
    if not columns.keys() >= _PLAIN_LAYOUT.keys():
        raise ValueError("the frame has no species or no positions")
    return columns


def format_frame(record: Record) -> str:
    """A record as an extended XYZ frame, its name and properties in the comment.

    Raises:
        InvalidInput: an atomic number that no element has.
    """
    atoms = "".join(
        f"{symbol_of(int(n)):<2} {x:14.8f} {y:14.8f} {z:14.8f}\n"
        for n, (x, y, z) in zip(record.atomic_numbers, record.positions.tolist(), strict=True)
    )
    items = {"name": record.name, **record.properties} if record.name else record.properties
    pairs = [f"{_key(name)}={_quoted(text_of(value))}" for name, value in items.items()]
    comment = " ".join(["Properties=species:S:1:pos:R:3", *pairs])
    return f"{len(record.atomic_numbers)}\n{comment}\n{atoms}"


def _key(name: str) -> str:
    return re.sub(r"[\s=\"]+", "_", name)


def _quoted(text: str) -> str:
    text = text.replace('"', "'")
    return f'"{text}"' if not text or " " in text or "=" in text else text
