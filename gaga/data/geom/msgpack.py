"""GEOM-Drugs as its publishers keep it: `drugs_crude.msgpack` (Axelrod and Gómez-Bombarelli 2022).

A stream of dictionaries of about a thousand molecules each, from SMILES to what is known of a molecule; of that, the
`conformers`, each with `xyz`, rows [Z, x, y, z] in Å, and `totalenergy`. It is read conformer by conformer: of the
50 GB there are never more than those that are kept of one molecule in memory.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gaga.chem.records import UNREADABLE
from gaga.core.errors import InvalidInput
from gaga.data.geom.conformers import (
    NO_ENERGY,
    Checker,
    Counted,
    MoleculeConformers,
    Source,
    cut_short,
    energy_of,
    identity_of,
)

_READ = 1 << 20  # bytes at a time
_MOST = 1 << 22  # bytes of what is read at once; a conformer of GEOM has some ten thousand
_MOST_ROWS = 1 << 16  # of any list that is read at once


class MsgpackSource(Source):
    """The `.msgpack` file."""

    grouping = "Grouped as the file has them: the conformers of a SMILES are one molecule."

    def __init__(self, path: Path) -> None:
        super().__init__(path, path.stat().st_size)

    def molecules(self, place: Mapping[str, Any], most: int, checker: Checker) -> Iterator[MoleculeConformers]:
        """The molecules from a place on: the `byte`, and the molecules `left` in the dictionary that it lies in.

        Raises:
            InvalidInput: the file is cut short, or no such file.
        """
        import msgpack

        start, left, number = int(place.get("byte", 0)), int(place.get("left", 0)), int(place.get("molecule", 0))
        with self.path.open("rb") as file:
            file.seek(start)
            reader, end = _Reader(file, checker), start
            while True:
                try:
                    while not left:
                        left = reader.map_header()
                        end = start + reader.tell()
                    molecule = reader.molecule(most)
                except msgpack.OutOfData:
                    if end < self.size or left:
                        raise cut_short(self.path, f"{number:,} molecules") from None
                    return
                except (ValueError, TypeError, msgpack.UnpackException) as error:
                    raise self._no_copy(number, error) from error
                left, number, end = left - 1, number + 1, start + reader.tell()
                molecule.place, molecule.done = {"byte": end, "left": left, "molecule": number}, end
                yield molecule

    def _no_copy(self, number: int, error: Exception) -> InvalidInput:
        return InvalidInput(
            f"{self.path} is no copy of drugs_crude.msgpack: {str(error).splitlines()[0] if str(error) else 'damaged'}",
            received=f"behind {number:,} molecules",
        )


class _Reader:
    """Reads one thing after the other out of the stream."""

    def __init__(self, file: Any, checker: Checker) -> None:
        import msgpack

        self._file = Counted(file, _MOST + 2 * _READ, "a conformer")
        self._stream = msgpack.Unpacker(
            self._file, read_size=_READ, max_buffer_size=4 * _MOST, max_array_len=_MOST_ROWS, max_map_len=_MOST_ROWS,
            max_str_len=_MOST, max_bin_len=_MOST, max_ext_len=0, strict_map_key=False,
        )  # fmt: skip
        self._checker = checker

    def tell(self) -> int:
        """Bytes read since the beginning of this reader."""
        place: int = self._stream.tell()
        return place

    def map_header(self) -> int:
        """How many molecules the dictionary has that begins here."""
        self._file.restart()
        length: int = self._stream.read_map_header()
        return length

    def molecule(self, most: int) -> MoleculeConformers:
        """The next molecule."""
        smiles = self._value()
        if not isinstance(smiles, str):
            raise ValueError("a molecule's key is no SMILES")
        molecule = MoleculeConformers(most, smiles=smiles)
        for _ in range(self._stream.read_map_header()):
            if self._value() == "conformers":
                self._add_conformers(molecule)
            else:
                self._stream.skip()
                self._file.restart()
        return molecule

    def _add_conformers(self, molecule: MoleculeConformers) -> None:
        for number in range(self._stream.read_array_header()):
            found = self._value()
            energy = energy_of(found)
            if energy is None:
                molecule.add(NO_ENERGY if isinstance(found, dict) else UNREADABLE)
            elif molecule.wants(energy):
                identity = identity_of(found.get("geom_id"), number)
                molecule.add(self._checker.check_rows(found.get("xyz"), identity), energy)

    def _value(self) -> Any:
        self._file.restart()
        return self._stream.unpack()
