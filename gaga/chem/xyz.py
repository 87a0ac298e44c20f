"""XYZ frames, plain and extended: number of atoms, comment, one line for each atom."""

import re
from collections.abc import Iterable, Iterator

from gaga.chem.elements import symbol_of
from gaga.chem.records import RawRecord, Record, text_of

_PAIR = re.compile(r'([^\s=]+)=("[^"]*"|\S*)')
_DIGITS = 9  # of a number of atoms
_PLAIN_LAYOUT = {"species": 0, "pos": 1}


def split_frames(lines: Iterable[str]) -> Iterator[list[str]]:
    """The lines of each frame.

    What stands where a number of atoms should stand is given back as one damaged frame, up to the next line
    that is a number alone; a last frame that is cut short is given back short.
    """
    rest = iter(lines)
    damaged: list[str] = []
    for line in rest:
        if _is_count(line):
            if damaged:
                yield damaged
                damaged = []
            wanted = int(line) + 1
            yield [line, *(text for _, text in zip(range(wanted), rest, strict=False))]
        elif line.strip():
            damaged.append(line)
    if damaged:
        yield damaged


def _is_count(line: str) -> bool:
    word = line.strip()
    return len(word) <= _DIGITS and word.isdecimal()


def parse_frame(lines: list[str]) -> RawRecord:
    """One frame.

    Raises:
        ValueError: the frame is damaged or cut short.
    """
    n_atoms = int(lines[0])
    if len(lines) < n_atoms + 2:
        raise ValueError("the frame ends before its last atom")
    comment = lines[1].strip()
    pairs = {key: value.strip('"') for key, value in _PAIR.findall(comment)}
    layout = _layout(pairs.pop("Properties", ""))
    atoms = [line.split() for line in lines[2:]]
    start = layout["pos"]
    if any(len(atom) < max(start + 3, layout["species"] + 1) for atom in atoms):
        raise ValueError("an atom's line has too few columns")
    return RawRecord(
        symbols=[atom[layout["species"]] for atom in atoms],
        coordinates=[[float(value) for value in atom[start : start + 3]] for atom in atoms],
        name=pairs.pop("name", "" if pairs else comment),
        properties=pairs,
        declared_3d=True,
    )


def _layout(specification: str) -> dict[str, int]:
    """First columns of `species` and `pos`, as an extended frame's `Properties=name:type:columns` says."""
    if not specification:
        return _PLAIN_LAYOUT
    words = specification.split(":")
    columns, start = {}, 0
    for name, width in zip(words[::3], words[2::3], strict=True):
        columns[{"Z": "species"}.get(name, name)] = start
        start += int(width)
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
