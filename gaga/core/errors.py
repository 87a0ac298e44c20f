"""The errors a user can act on: one line each, with the facts as attributes; and the end that a signal asks for."""

import signal


class GagaError(Exception):
    """A failure that its reader can mend; the command line prints it as one line and exits with 1.

    Args:
        what: what went wrong, a sentence without its full stop.
        received: what was received, shown as it is; omitted from the line when None.
        remedy: what to do next, naming the command to type if there is one.

    Attributes:
        reported: whether another process of the same run reports it already.
    """

    reported = False

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


class Terminated(SystemExit):
    """A signal other than SIGINT asked to stop: unwinds like any exit, so that files and locks are left in order.

    Its arguments are the exit code and, if something was saved, what.
    """

    def saying(self, saved: str) -> "Terminated":
        """The same, with what was saved."""
        return Terminated(self.args[0], saved)

    @property
    def line(self) -> str:
        """What happened and what was saved, for the reader."""
        number = self.args[0] - 128
        how = "terminated" if number == signal.SIGTERM else f"{signal.Signals(number).name} received"
        return f"{how}; {self.args[1] if len(self.args) > 1 else 'whatever was stored before is as it was'}"
