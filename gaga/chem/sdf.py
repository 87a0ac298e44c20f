"""SDF records, V2000 and V3000: atoms, coordinates and data items in; the same, with or without bonds, out.

Read without rdkit and without its chemistry: bonds in the file are not trusted, so a record that rdkit would
refuse is still a molecule; they are read if it is asked which atoms belong together (`parse_bonding`). The
layout is that of BIOVIA's "CTfile Formats" (2020).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8

from gaga.chem.elements import symbol_of
from gaga.chem.records import Bonding, Lines, Notes, RawRecord, Record, text_of
from gaga.core.text import decimal, whole

if TYPE_CHECKING:
    from rdkit.Chem import Mol

TERMINATOR = "$$$$"
BONDS_TAG = "bonds"
NOT_PERCEIVED = "not perceived"
_V30 = "M  V30 "
_V2000_MAX_ATOMS = 999
_V2000_MAX_COORDINATE = 9999.0


NO_TERMINATOR = "SDF records without a $$$$ line at their end"
_COUNTS = re.compile(r"\s*\d{1,3}\s*\d{1,3}\b.*\bV[23]000\s*", re.ASCII)
_BARE_COUNTS = re.compile(r"\s*\d{1,3}\s+\d{1,3}(\s+\d{1,3})*\s*", re.ASCII)
_END = re.compile(r"M +END\b")
_HEADER = 3  # lines before the counts line


def split_records(lines: Iterable[str], notes: Notes | None = None) -> Iterator[Lines]:
    """The lines of each record without its terminator.

    A record that lacks its terminator ends where another header and counts line stand: behind `M  END` and data items,
    or in the middle of a record that was cut. A last record counts if it has text.

    Args:
        lines: of the file.
        notes: records without a terminator are counted there.
    """
    begins, record, seen = 1, list[str](), _Seen()
    for number, line in enumerate(lines, start=1):
        if line.startswith(TERMINATOR):
            yield begins, record
            begins, record, seen = number + 1, [], _Seen()
            continue
        record.append(line.rstrip("\n"))
        says_nothing = (
            seen.end is None and not line.startswith((">", "M")) and "V2000" not in line and "V3000" not in line
        )
        another = None if says_nothing else seen.another_in(record)
        if another is None:
            continue
        lost, record = record[:another], record[another:]
        if any(map(str.strip, lost)):
            _count_lost(notes)
            yield begins, lost
        begins, seen = number - len(record) + 1, _Seen()
        record = [""] * (_HEADER + 1 - len(record)) + record
    if any(line.strip() for line in record):
        _count_lost(notes)
        yield begins, record


def _count_lost(notes: Notes | None) -> None:
    if notes is not None:
        notes[NO_TERMINATOR] += 1


@dataclass
class _Seen:
    """Lines of a record, from 0, that say where it is: its end, and the header of its last data item."""

    end: int | None = None
    data: int | None = None

    def another_in(self, record: list[str]) -> int | None:
        """The line where another record begins, if the last line is its counts line."""
        line, header = record[-1], len(record) - 1 - _HEADER
        if line.startswith(">") and header > 0:
            self.data = len(record) - 1
        elif line.startswith("M") and self.data is None and _END.match(line):
            self.end = len(record) - 1
        elif self.data is not None:
            # A header directly below a data item's is that of a molecule which is the item's value.
            return header if header > self.data + 1 and _is_counts(line) else None
        elif self.end is not None:
            if _is_counts(line) or (header > self.end and _BARE_COUNTS.fullmatch(line)):
                return max(header, self.end + 1)
        elif header > 0 and _is_counts(line):
            return header
        return None


def _is_counts(line: str) -> bool:
    return ("V2000" in line or "V3000" in line) and _COUNTS.fullmatch(line) is not None


def parse_record(lines: list[str]) -> RawRecord:
    """One record.

    Raises:
        ValueError: the record is not that of a molecule, or is cut short.
    """
    if len(lines) < 4:
        raise ValueError("the record has fewer than four lines")
    parse_atoms = _parse_v3000 if "V3000" in lines[3] else _parse_v2000
    atoms = parse_atoms(lines)
    return RawRecord(
        symbols=[symbol for symbol, _ in atoms],
        coordinates=[xyz for _, xyz in atoms],
        name=lines[0].strip(),
        properties=dict(_data_items(lines[_HEADER + 1 :])),
        declared_3d=lines[1][20:22].upper() == "3D",
    )


_Atom = tuple[str, list[float]]


def _parse_v2000(lines: list[str]) -> list[_Atom]:
    n_atoms = _count(lines[3])
    if len(lines) < 4 + n_atoms:
        raise ValueError("the record ends before its last atom")
    return [_v2000_atom(line) for line in lines[4 : 4 + n_atoms]]


def _count(line: str) -> int:
    """Number of atoms of a counts line: its first three columns or, of a careless writer, its first word."""
    try:
        return whole(line[:3])
    except ValueError:
        return whole((line.split() or [""])[0])


def _v2000_atom(line: str) -> _Atom:
    try:
        x, y, z, symbol = line.split()[:4]
        return symbol, [decimal(x), decimal(y), decimal(z)]
    except ValueError:
        # Wide numbers leave no space between the columns.
        return line[31:34].strip(), [decimal(line[i : i + 10]) for i in (0, 10, 20)]


def _parse_v3000(lines: list[str]) -> list[_Atom]:
    words = [line.split() for line in _v3000_lines(lines)]
    begin, end = words.index(["BEGIN", "ATOM"]), words.index(["END", "ATOM"])
    atoms = words[begin + 1 : end]
    if len(atoms) != next((whole(word[1]) for word in words if word[:1] == ["COUNTS"]), None):
        raise ValueError("the atom block differs in length from its counts line")
    return [(_v3000_symbol(atom[1]), [decimal(value) for value in atom[2:5]]) for atom in atoms]


def _v3000_symbol(symbol: str) -> str:
    return symbol.strip('"')


def _v3000_lines(lines: list[str]) -> Iterator[str]:
    """The V3000 lines without their prefix, continued lines joined."""
    joined = ""
    for line in lines:
        if line.startswith(_V30):
            joined += line.removeprefix(_V30).rstrip()
            if not joined.endswith("-"):
                yield joined
                joined = ""
            joined = joined.removesuffix("-")


def parse_bonding(lines: list[str]) -> Bonding | None:
    """Bonds and formal charges of a record that `parse_record` has read; None if it has neither.

    Raises:
        ValueError, IndexError: they are not those of its atoms.
    """
    parse = _v3000_bonding if "V3000" in lines[3] else _v2000_bonding
    n_atoms, bonds, charges = parse(lines)
    pairs = np.array(bonds, dtype=np.int64).reshape(-1, 2) - 1
    if pairs.size and not 0 <= pairs.min() <= pairs.max() < n_atoms:
        raise ValueError("a bond to an atom that is not there")
    charged = np.zeros(n_atoms, dtype=np.int64)
    for atom, charge in charges:
        if not 1 <= atom <= n_atoms:
            raise ValueError("a charge of an atom that is not there")
        charged[atom - 1] = charge
    return Bonding(pairs, charged) if len(pairs) or charged.any() else None


_Numbered = list[tuple[int, int]]


def _v2000_bonding(lines: list[str]) -> tuple[int, _Numbered, _Numbered]:
    """Number of atoms; pairs of bonded atoms; atoms and their charges. Atoms count from 1."""
    n_atoms = _count(lines[3])
    n_bonds = _count(lines[3][3:]) if lines[3][:3].strip().isdecimal() else whole(lines[3].split()[1])
    end = 4 + n_atoms + n_bonds
    if len(lines) < end:
        raise ValueError("the record ends before its last bond")
    bonds = [_v2000_bond(line) for line in lines[4 + n_atoms : end]]
    listed = [line for line in lines[end:] if line.startswith(("M  CHG", "M  RAD"))]
    if not listed:  # the older place, which counts if there is no such line
        return n_atoms, bonds, [(i, _v2000_charge(line)) for i, line in enumerate(lines[4 : 4 + n_atoms], start=1)]
    words = [line[9:].split() for line in listed if line.startswith("M  CHG")]
    return n_atoms, bonds, [(whole(a), whole(c)) for row in words for a, c in zip(row[::2], row[1::2], strict=True)]


def _v2000_bond(line: str) -> tuple[int, int]:
    try:
        return whole(line[:3]), whole(line[3:6])
    except ValueError:
        first, second = line.split()[:2]
        return whole(first), whole(second)


def _v2000_charge(line: str) -> int:
    """1, 2, 3 are +3, +2, +1, and 5, 6, 7 are -1, -2, -3; 4 is a radical."""
    code = line[36:39].strip()
    return 4 - int(code) if code in ("1", "2", "3", "5", "6", "7") else 0


def _v3000_bonding(lines: list[str]) -> tuple[int, _Numbered, _Numbered]:
    """As `_v2000_bonding`; atoms have labels of any kind, and are counted in their order."""
    words = [line.split() for line in _v3000_lines(lines)]
    atoms = words[words.index(["BEGIN", "ATOM"]) + 1 : words.index(["END", "ATOM"])]
    number = {atom[0]: i for i, atom in enumerate(atoms, start=1)}
    charges = [
        (i, whole(word.removeprefix("CHG=")))
        for i, atom in enumerate(atoms, start=1)
        for word in atom[5:]
        if word.startswith("CHG=")
    ]
    if ["BEGIN", "BOND"] not in words:
        return len(atoms), [], charges
    bonds = words[words.index(["BEGIN", "BOND"]) + 1 : words.index(["END", "BOND"])]
    return len(atoms), [(number.get(bond[2], 0), number.get(bond[3], 0)) for bond in bonds], charges


_DATA_HEADER = re.compile(r">[^<]*(?:<(.*)>|\bDT(\d+)\b)", re.ASCII)  # a field of MACCS-II's has a number for a name


def _data_items(lines: list[str]) -> Iterator[tuple[str, str]]:
    """(name, value) of the data items that follow the molecule.

    An item ends at a blank line, or where the next one's header stands.
    """
    name, value = "", list[str]()
    for line in lines:
        header = _DATA_HEADER.match(line)
        if header is None and line.strip():
            value.append(line.strip())
            continue
        if name:
            yield name, "\n".join(value)
        name, value = "", []
        if header is not None:
            name = f"DT{header[2]}" if header[2] else header[1].strip()
    if name:
        yield name, "\n".join(value)


def format_record(record: Record, mol: "Mol | None" = None) -> str:
    """A record as SDF text, terminator included.

    Args:
        record: the molecule; its properties become data items.
        mol: the same molecule with bonds and one conformer; without it atoms alone are written, tagged so.

    Raises:
        InvalidInput: an atomic number that no element has.
    """
    block = _atoms_block(record) if mol is None else _bonded_block(record, mol)
    untold = {BONDS_TAG: NOT_PERCEIVED} if mol is None else {}
    items = {**record.properties, **untold}
    data = "".join(f">  <{_tag(name)}>\n{text_of(value)}\n\n" for name, value in items.items())
    return f"{block}{data}{TERMINATOR}\n"


def _tag(name: str) -> str:
    return " ".join(name.replace("<", "(").replace(">", ")").split())


def _bonded_block(record: Record, mol: "Mol") -> str:
    from rdkit import Chem

    _, _, rest = Chem.MolToMolBlock(mol).partition("\n")
    return f"{text_of(record.name)}\n{rest}"


def _atoms_block(record: Record) -> str:
    header = f"{text_of(record.name)}\n  {'gaga':<8}{'':10}3D\n\n"
    wide = np.abs(record.positions).max(initial=0.0) > _V2000_MAX_COORDINATE
    if len(record.atomic_numbers) > _V2000_MAX_ATOMS or wide:
        return header + _v3000_block(record.atomic_numbers, record.positions)
    return header + _v2000_block(record.atomic_numbers, record.positions)


def _v2000_block(numbers: UInt8[np.ndarray, " N"], positions: Float[np.ndarray, "N 3"]) -> str:
    atoms = "".join(
        f"{x:10.4f}{y:10.4f}{z:10.4f} {symbol_of(int(n)):<3}" + " 0" + "  0" * 11 + "\n"
        for n, (x, y, z) in zip(numbers, positions.tolist(), strict=True)
    )
    return f"{len(numbers):3d}{0:3d}  0  0  0  0  0  0  0  0999 V2000\n{atoms}M  END\n"


def _v3000_block(numbers: UInt8[np.ndarray, " N"], positions: Float[np.ndarray, "N 3"]) -> str:
    atoms = "".join(
        f"{_V30}{i} {symbol_of(int(n))} {x:.4f} {y:.4f} {z:.4f} 0\n"
        for i, (n, (x, y, z)) in enumerate(zip(numbers, positions.tolist(), strict=True), start=1)
    )
    return (
        f"  0  0  0     0  0            999 V3000\n{_V30}BEGIN CTAB\n{_V30}COUNTS {len(numbers)} 0 0 0 0\n"
        f"{_V30}BEGIN ATOM\n{atoms}{_V30}END ATOM\n{_V30}END CTAB\nM  END\n"
    )
