"""Images of results: refused before the work if they could not be written after it, and written all or nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gaga.core.errors import InvalidInput, NotFound
from gaga.storage.files import atomic_write, refuse_to_overwrite, require_writable

SUFFIXES = (".png", ".pdf", ".svg")
_DPI = 160


def check_plot(path: Path | None, *, overwrite: bool) -> None:
    """Reject, before the work, a plot that could not be written after it.

    Raises:
        InvalidInput: it is no .png, .pdf or .svg. NotFound: it has no folder. Conflict: it is already there.
        Unavailable: it cannot be written.
    """
    if path is None:
        return
    if path.suffix.lower() not in SUFFIXES:
        raise InvalidInput("a plot is a .png, .pdf or .svg", received=path)
    if not path.absolute().parent.is_dir():
        raise NotFound("the folder of the plot does not exist", received=path.parent, remedy="create it first")
    refuse_to_overwrite(path, overwrite=overwrite)
    require_writable(path)


@contextmanager
def figure_of(path: Path, size: tuple[float, float]) -> Iterator[Any]:
    """A matplotlib figure of this size in inches, without a display; after the block it is written to `path`.

    Raises:
        InvalidInput: the suffix of `path` is of no image format.
        NotFound: the folder of `path` does not exist.
        Unavailable: it cannot be written to.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    image_format = path.suffix.lstrip(".").lower() or "png"
    if image_format not in FigureCanvasAgg(figure).get_supported_filetypes():
        raise InvalidInput(
            "a plot cannot be drawn as this", received=path.suffix, remedy="end its name in .png or .pdf"
        )
    yield figure
    with atomic_write(path) as partial:
        figure.savefig(partial, dpi=_DPI, format=image_format)
