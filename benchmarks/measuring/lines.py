"""The file of finished cells: JSON lines, each appended whole; what a killed run left of a line is dropped."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from gaga.core.errors import InvalidInput, NotFound
from gaga.storage.files import unwritable
from gaga.storage.locks import locked
from measuring.cells import Row


class Lines:
    """The rows of a file, which need not be there yet.

    Raises:
        NotFound: its folder is not there.
    """

    def __init__(self, path: Path) -> None:
        if not path.absolute().parent.is_dir():
            raise NotFound("the folder does not exist", received=path.absolute().parent, remedy="create it first")
        self.path = path

    def rows(self) -> list[Row]:
        """All whole lines.

        Raises:
            InvalidInput: a line is no cell of a study.
        """
        text = self.path.read_bytes() if self.path.exists() else b""
        whole = text[: text.rfind(b"\n") + 1].splitlines()
        return [self._row(number, line) for number, line in enumerate(whole, 1)]

    def append(self, row: Row) -> None:
        """Add a row, and have it on the disk.

        Raises:
            Unavailable: the file cannot be written.
        """
        line = json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        with locked(self.path):
            try:
                with self.path.open("ab+") as file:
                    _drop_torn_line(self.path)
                    file.write(line)
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                raise unwritable(self.path, error) from error

    def _row(self, number: int, line: bytes) -> Row:
        try:
            row = json.loads(line)
            if {"study", "id", "key", "rates"} <= row.keys():
                return dict(row)
        except (ValueError, AttributeError):
            pass
        raise InvalidInput(f"line {number} of {self.path} is no cell of a study", remedy="name another file")


def find(rows: Sequence[Row], cell_id: str, protocols: Sequence[str], study: str) -> Row | None:
    """The row of a cell that was judged by these protocols; one of this study, where there is one."""
    fit = [row for row in rows if row["id"] == cell_id and set(protocols) <= row["rates"].keys()]
    return next((row for row in fit if row["study"] == study), next(iter(fit), None))


def _drop_torn_line(path: Path) -> None:
    end = path.read_bytes().rfind(b"\n") + 1
    if end < path.stat().st_size:
        os.truncate(path, end)
