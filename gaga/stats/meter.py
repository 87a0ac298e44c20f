"""Progress of work that comes in parts."""

from gaga.core.progress import Progress


class Meter:
    """Adds up the units of work that are done, and reports their sum."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._done, self._total, self._note = progress, 0, total, ""

    def __call__(self, more: int) -> None:
        """This number more are done."""
        self._done += more
        self._progress(self._done, self._total, *([self._note] if self._note else []))

    def expect(self, more: int, note: str) -> None:
        """This number more are to be done from here on, as far as is known."""
        self._total, self._note = self._done + more, note
