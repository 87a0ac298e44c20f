"""The errors a user can act on: one line each, with the facts as attributes."""


class GagaError(Exception):
    """A failure that its reader can mend; the command line prints it as one line and exits with 1.

    Args:
        what: what went wrong, a sentence without its full stop.
        received: what was received, shown as it is; omitted from the line when None.
        remedy: what to do next, naming the command to type where there is one.

    Attributes:
        told: whether another process of the same run says it already.
    """

    told = False

    def __init__(self, what: str, *, received: object = None, remedy: str = "") -> None:
        self.what = what
        self.received = received
        self.remedy = remedy
        super().__init__(self.line)

    def __str__(self) -> str:
        return self.line

    @property
    def line(self) -> str:
        """The message as one line: what, received, remedy."""
        got = "" if self.received is None else f" (received {self.received})"
        return f"{self.what}{got}.{_sentence(self.remedy)}"


def _sentence(remedy: str) -> str:
    """The remedy as a sentence after the first one; a remedy such as "did you mean qm9?" has its own mark."""
    end = "" if remedy.endswith(("?", ".")) else "."
    return f" {remedy[0].upper()}{remedy[1:]}{end}" if remedy else ""


class InvalidInput(GagaError):
    """A value, file or molecule that cannot be used."""


class NotFound(GagaError):
    """A file, data set, result or checkpoint that is not there."""


class Conflict(GagaError):
    """Something of that name is already there and differs."""


class Unavailable(GagaError):
    """This machine lacks what was asked for: a device, a package, a network."""
