"""GEOM-Drugs as its publishers keep it: `drugs_crude.msgpack` (Axelrod and Gómez-Bombarelli 2022).

A stream of dictionaries of about a thousand molecules each, from SMILES to what is known of a molecule; of that, the
`conformers`, each with `xyz`, rows [Z, x, y, z] in Å, and `totalenergy`. It is read conformer by conformer: of the
50 GB there are never more than those that are kept of one molecule in memory.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gaga.chem.records import UNREADABLE
from gaga.core.errors import InvalidInput
from gaga.data.geom_records import (
    NO_ENERGY,
    Checker,
    Counted,
    Family,
    Lowest,
    Wanted,
    cut_short,
    energy_of,
    identity_of,
)

_READ = 1 << 20  # bytes at a time
_MOST = 1 << 22  # bytes of what is read at once; a conformer of GEOM has some ten thousand
_MOST_ROWS = 1 << 16  # of any list that is read at once


class MsgpackSource:
    """The `.msgpack` file."""

    has_smiles = True

    def __init__(self, path: Path) -> None:
        self.path, self.size = path, path.stat().st_size

    def identity(self) -> dict[str, Any]:
        """Nothing but the file itself decides what is read."""
        return {}

    def rule(self, notes: Mapping[str, int]) -> str:
        """A sentence that says which conformers were taken for one molecule."""
        return "Grouped as the file has them: the conformers of a SMILES are one molecule."

    def families(self, place: Mapping[str, Any], wanted: Wanted) -> Iterator[Family]:
        """The molecules from a place on: the `byte`, and the molecules `left` in the dictionary that it lies in.

        Raises:
            InvalidInput: the file is cut short, or no such file.
        """
        import msgpack

        start, left, molecule = int(place.get("byte", 0)), int(place.get("left", 0)), int(place.get("molecule", 0))
        with self.path.open("rb") as file:
            file.seek(start)
            reader, end = _Reader(file, wanted), start
            while True:
                try:
                    while not left:
                        left = reader.map_header()
                        end = start + reader.tell()
                    family = reader.molecule()
                except msgpack.OutOfData:
                    if end < self.size or left:
                        raise cut_short(self.path, f"{molecule:,} molecules") from None
                    return
                except (ValueError, TypeError, msgpack.UnpackException) as error:
                    raise self._no_copy(molecule, error) from error
                left, molecule, end = left - 1, molecule + 1, start + reader.tell()
                yield Family(**family, place={"byte": end, "left": left, "molecule": molecule}, done=end)

    def _no_copy(self, molecule: int, error: Exception) -> InvalidInput:
        return InvalidInput(
            f"{self.path} is no copy of drugs_crude.msgpack: {str(error).splitlines()[0] if str(error) else 'damaged'}",
            received=f"behind {molecule:,} molecules",
        )


class _Reader:
    """Reads one thing after the other out of the stream."""

    def __init__(self, file: Any, wanted: Wanted) -> None:
        import msgpack

        self._file = Counted(file, _MOST + 2 * _READ, "a conformer")
        self._stream = msgpack.Unpacker(
            self._file, read_size=_READ, max_buffer_size=4 * _MOST, max_array_len=_MOST_ROWS, max_map_len=_MOST_ROWS,
            max_str_len=_MOST, max_bin_len=_MOST, max_ext_len=0, strict_map_key=False,
        )  # fmt: skip
        self._wanted, self._checker = wanted, Checker(wanted.vocabulary)

    def tell(self) -> int:
        """Bytes read since the beginning of this reader."""
        place: int = self._stream.tell()
        return place

    def map_header(self) -> int:
        """How many molecules the dictionary has that begins here."""
        self._file.restart()
        length: int = self._stream.read_map_header()
        return length

    def molecule(self) -> dict[str, Any]:
        """SMILES, kept conformers and skipped ones of a molecule."""
        smiles = self._value()
        if not isinstance(smiles, str):
            raise ValueError("a molecule's key is no SMILES")
        lowest, skipped = Lowest(self._wanted.conformers), Counter[str]()
        for _ in range(self._stream.read_map_header()):
            if self._value() == "conformers":
                self._conformers(lowest, skipped)
            else:
                self._stream.skip()
                self._file.restart()
        return {"conformers": lowest.conformers, "smiles": smiles, "skipped": skipped}

    def _conformers(self, lowest: Lowest, skipped: Counter[str]) -> None:
        for number in range(self._stream.read_array_header()):
            found = self._value()
            energy = energy_of(found)
            if not isinstance(found, dict):
                skipped[UNREADABLE] += 1
            elif energy is None:
                skipped[NO_ENERGY] += 1
            elif lowest.wants(energy):
                identity = identity_of(found.get("geom_id"), number)
                conformer = self._checker.check_rows(found.get("xyz"), identity)
                lowest.add(energy, conformer, skipped)

    def _value(self) -> Any:
        self._file.restart()
        return self._stream.unpack()
