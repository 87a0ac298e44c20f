"""Lines of a molecule file, read so that no file can fill the memory: not by a line or record without an end, and
not by a gzip file that is mostly air."""

from collections.abc import Iterator
from functools import partial
from io import BufferedReader, TextIOWrapper

from gaga.core.errors import InvalidInput

MAX_LINE = 1 << 20  # characters
MAX_RECORD = 1 << 25  # characters; a third of a million atoms
LINE = 32  # what a line counts beyond its characters, as even an empty one takes memory
MAX_RATIO = 200  # of a gzip file or an archive; molecules as text reach 10, deflate itself 1,032
FREE = 1 << 26  # characters of a gzip file, or bytes of an archive, that any may hold, whatever its ratio


class BoundedLines:
    """The lines of a text, counted.

    Args:
        text: what is read.
        raw: the file on the disk that it comes from, compressed if `zipped`.
        name: of the file, for complaints.
        zipped: whether it is compressed.
    """

    def __init__(self, text: TextIOWrapper, raw: BufferedReader, name: str, *, zipped: bool) -> None:
        self._text, self._raw, self._name = text, raw, name
        self._total, self._record = 0, 0
        self._next_look = FREE if zipped else None

    def __iter__(self) -> Iterator[str]:
        """The lines.

        Raises:
            InvalidInput: a line or a record is longer than any molecule's, or the file is a gzip bomb.
        """
        for line in iter(partial(self._text.readline, MAX_LINE), ""):
            self._record += len(line) + LINE
            self._total += len(line)
            if len(line) >= MAX_LINE:
                raise InvalidInput(f"{self._name} is no molecule file", received=f"a line of over {MAX_LINE:,} letters")
            if self._record > MAX_RECORD:
                raise InvalidInput(
                    f"{self._name} is no molecule file", received=f"a record of over {MAX_RECORD:,} letters"
                )
            if self._next_look is not None and self._total > self._next_look:
                self._look_at_ratio()
                self._next_look = self._total + MAX_LINE
            yield line

    def next_record(self) -> None:
        """A record has ended."""
        self._record = 0

    def _look_at_ratio(self) -> None:
        there = self._raw.tell()
        if self._total > MAX_RATIO * there:
            raise InvalidInput(
                f"{self._name} unpacks to more than {MAX_RATIO} times its size and may be meant to fill this machine",
                received=f"{there:,} bytes that hold over {self._total:,}",
                remedy="if you trust it, unpack it with gunzip and read that",
            )
