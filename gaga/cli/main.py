"""The entry point of `gaga`, and the one place where an error becomes a line and an exit code.

Exit codes: 0 done; 1 a failure, reported in one line; 2 wrong usage; 130 interrupted; 141 the output's reader has left;
143 terminated, 129 by SIGHUP, 138 by SIGUSR1 (128 + the signal's number).
"""

import errno
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from gaga.cli import streams
from gaga.cli.commands import HELP_OPTIONS, LazyGroup, examples
from gaga.cli.errors import UsageError, with_options
from gaga.cli.options import use_products
from gaga.cli.progress import start_clock
from gaga.cli.signals import terminating_signals
from gaga.cli.torchrun import rank_in_environment
from gaga.core.errors import GagaError, Terminated
from gaga.core.text import printable

app = typer.Typer(
    cls=LazyGroup,
    context_settings=HELP_OPTIONS,
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
    streams.prepare()
    start_clock()
    code, reason = streams.settled(_run(list(sys.argv[1:] if argv is None else argv)))
    if reason:
        streams.note(f"gaga: {reason}")
    return code


def _run(arguments: list[str]) -> int:
    with terminating_signals():
        try:
            _invoke(arguments)
        except typer.Exit as stop:
            return stop.exit_code
        except BrokenPipeError:  # the reader of stdout has left (`gaga ... | head`)
            return 141
        except (KeyboardInterrupt, Terminated, Exception) as error:  # noqa: BLE001 - the one error boundary
            if os.environ.get("GAGA_DEBUG"):
                _write_traceback()
            code, line = explain(error)
            _tell(error, line)
            return code
        except SystemExit as stop:  # typer's, of --install-completion and --show-completion
            return int(stop.code or 0)
    return 0


def _tell(error: BaseException, line: str) -> None:
    """The line on stderr; of several processes the first alone says what they all met."""
    rank = rank_in_environment()
    if rank == 0 or not (isinstance(error, KeyboardInterrupt | Terminated) or getattr(error, "reported", False)):
        streams.note(f"gaga{f' (rank {rank})' if rank else ''}: {with_options(line)}", lines=True)


def _invoke(arguments: list[str]) -> None:
    command = typer.main.get_command(app)
    if "_GAGA_COMPLETE" in os.environ:  # the shell asks how the line may continue
        command.main(arguments, prog_name="gaga", standalone_mode=False)
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
            return error.args[0], error.line
        case GagaError():
            return 1, " ".join(error.line.split())
        case MemoryError():
            return 1, "out of memory; use fewer molecules (--fraction) or a smaller --batch-size"
        case OSError():
            return 1, _os_line(error)
        case RuntimeError() if "home directory" in str(error):
            return 1, "there is no home folder: set HOME to a folder that you may write to"
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

    streams.note(traceback.format_exc(), lines=True)


if __name__ == "__main__":
    sys.exit(main())
