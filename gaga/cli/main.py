"""The entry point of `gaga`, and the one place where an error becomes a line and an exit code.

Exit codes: 0 done; 1 a failure, told in one line; 2 wrong usage; 130 interrupted; 141 nobody reads the output
any more; 143 terminated.
"""

import errno
import io
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Annotated

import typer

from gaga.base.errors import GagaError
from gaga.base.names import printable
from gaga.cli.commands import LazyGroup, UsageError, examples
from gaga.cli.devices import rank_in_environment
from gaga.cli.options import use_products
from gaga.cli.signals import Terminated

app = typer.Typer(
    cls=LazyGroup,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> bool:
    if wanted:
        from gaga import __version__

        sys.stdout.write(f"gaga {__version__}\n")
        raise typer.Exit
    return wanted


@app.callback(
    epilog=examples(
        "gaga doctor                                   what works here, and how to mend the rest",
        "gaga tstar identity_to_gaussian_qm9           T* of QM9, from the results that ship with gaga",
        "gaga gaussianity --dataset mine.sdf.gz        the same for your own molecules",
        "gaga evaluate mols.sdf                        how good are these molecules?",
    )
)
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop."),
    ] = False,
) -> None:
    """Find where diffusion noise turns molecules Gaussian; train and sample 3D molecules only up to there.

    Each command explains itself: gaga COMMAND --help.
    """
    use_products()


def main(argv: Sequence[str] | None = None) -> int:
    """Run `gaga` with these words (the command line's by default) and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _tolerate_narrow_encodings()
    with _sigterm_raises():
        try:
            _invoke(arguments)
            sys.stdout.flush()
        except typer.Exit as stop:
            return stop.exit_code
        except BrokenPipeError:
            return _reader_left()
        except (KeyboardInterrupt, Terminated, Exception) as error:  # noqa: BLE001 - the one error boundary
            if os.environ.get("GAGA_DEBUG"):
                _write_traceback()
            code, line = explain(error)
            _tell(error, line)
            return code
    return 0


def _tell(error: BaseException, line: str) -> None:
    """The line on stderr; of several processes the first alone says what they all met."""
    rank = rank_in_environment()
    if rank == 0 or not (isinstance(error, KeyboardInterrupt | Terminated) or getattr(error, "told", False)):
        sys.stderr.write(f"gaga{f' (rank {rank})' if rank else ''}: {printable(line, lines=True)}\n")


def _tolerate_narrow_encodings() -> None:
    """Let a terminal that cannot show Å or a dash show something in its place, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _invoke(arguments: list[str]) -> None:
    command = typer.main.get_command(app)
    with command.make_context("gaga", arguments) as context:
        command.invoke(context)


def explain(error: BaseException) -> tuple[int, str]:
    """The exit code and the line for an error."""
    match error:
        case KeyboardInterrupt():
            return (
                130,
                f"interrupted; {error.args[0] if error.args else 'whatever was stored before is as it was'}",
            )
        case Terminated():
            return (
                143,
                f"terminated; {error.args[1] if len(error.args) > 1 else 'whatever was stored before is as it was'}",
            )
        case GagaError():
            return 1, " ".join(error.line.split())
        case MemoryError():
            return 1, "out of memory; use fewer molecules (--fraction) or a smaller --batch-size"
        case OSError():
            return 1, _os_line(error)
        case RuntimeError() if "can't allocate memory" in str(error):
            return 1, "out of memory; use a smaller --batch-size"
    if isinstance(error, UsageError):
        return 2, _usage_line(error)
    if type(error).__name__ == "OutOfMemoryError":  # torch's, which may not be imported here
        return 1, "the device is out of memory; use a smaller --batch-size, or --device cpu"
    return 1, _bug_line(error)


def _os_line(error: OSError) -> str:
    where = f" {printable(str(error.filename))}" if error.filename else ""
    reason = error.strerror or str(error)
    if error.errno == errno.ENOSPC:
        return f"no space left on the disk{':' if where else ''}{where}; free some, or write elsewhere"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"no permission for{where or ' a file'} ({reason.lower()}); choose another path"
    return f"the system refused{where or ' a file'}: {reason.lower()}"


def _usage_line(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "gaga"
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    return f"{' '.join(message.split())}\nTry '{path} --help'."


def _bug_line(error: BaseException) -> str:
    from gaga import __version__

    what = " ".join(f"{type(error).__name__}: {error}".split())
    return (
        f"this is a bug in gaga {__version__} ({what}); set GAGA_DEBUG=1 to see where, "
        "and report it with the command that you typed"
    )


def _write_traceback() -> None:
    import traceback

    traceback.print_exc(file=sys.stderr)


def _reader_left() -> int:
    """Nobody reads the output any more (`gaga ... | head`): the interpreter must not complain at its end."""
    with suppress(OSError, ValueError):
        # not atomic: the null device
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise Terminated(128 + number)

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not in the main thread, where no handler can be set
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
