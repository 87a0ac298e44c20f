"""`gaga store`: everything that the store holds, with its provenance.

Example:
    gaga store show identity_to_gaussian_qm9
"""

import sys
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gaga.cli import options
from gaga.cli.commands import Command, examples, new_app
from gaga.cli.errors import usage_error
from gaga.cli.render import Output, Table, attributes, header, open_store, plain, text
from gaga.core.errors import Conflict, InvalidInput, NotFound
from gaga.core.text import counted, human_bytes, legible, printable
from gaga.storage.files import refuse_to_overwrite

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

    from gaga.storage.store import Entry, Store

app = new_app(group=True)

Wanted = Annotated[str, typer.Argument(metavar="NAME", help="A result's name, or kind/name.")]
FORMATS = ("csv", "json")
SHOWN_ELEMENTS = 6
MANY_ELEMENTS = 100_000


@app.callback(epilog=examples("gaga store list", "gaga store show identity_to_gaussian_qm9"))
def group() -> None:
    """List, show, export or delete stored results."""


@app.command("list", cls=Command, epilog=examples("gaga store list", "gaga store list --kind tstar --json"))
def list_results(
    kind: Annotated[
        str | None, typer.Option("--kind", help="Only results of this kind, such as variance or tstar.")
    ] = None,
    store: options.StorePath = options.DEFAULT_STORE,
    json: options.Json = False,
) -> None:
    """List the results of the store and those that ship with gaga."""
    entries = open_store(store).entries(kind)
    rows = [
        (e.kind, e.name, e.created[:16].replace("T", " "), human_bytes(e.nbytes), "shipped" if e.shipped else "store")
        for e in entries
    ]
    table = Table(columns=("kind", "name", "made (UTC)", "size", "where"), rows=rows, title=f"Results of {store}")
    Output(json=json).show(
        {"store": str(store), "results": [header(entry) for entry in entries]},
        table if rows else _nothing(store, kind),
    )


@app.command(
    "show",
    cls=Command,
    epilog=examples("gaga store show identity_to_gaussian_qm9", "gaga store show variance/qm9"),
)
def show(
    name: Wanted,
    store: options.StorePath = options.DEFAULT_STORE,
    json: options.Json = False,
) -> None:
    """Show how a result was made and what it holds; single numbers in full, arrays by their shape."""
    results = open_store(store)
    entry = locate(results, name)
    arrays = results.arrays(entry.kind, entry.name)
    values = [
        {"name": field, "shape": list(getattr(value, "shape", ())), "value": _single(value)}
        for field, value in arrays.items()
    ]
    rows = [(field, _shape(value), _short(value)) for field, value in arrays.items()]
    made = Table(columns=("", ""), rows=_provenance(entry), title=f"{entry.kind}/{entry.name}")
    Output(json=json).show(
        {**header(entry), "values": values}, made, Table(columns=("value", "shape", "is"), rows=rows)
    )


@app.command(
    "export",
    cls=Command,
    epilog=examples(
        "gaga store export identity_to_gaussian_qm9 --out curves.json",
        "gaga store export variance_qm9 --field n_atoms --out sizes.csv",
        "gaga store export evaluation/mols_edm_vs_qm9_0a1b2c3d --out per_molecule.csv",
    ),
)
def export(
    name: Wanted,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="A .csv or .json file; else the terminal."),
    ] = None,
    field: Annotated[
        str | None, typer.Option("--field", help="One value of the result instead of all of them.")
    ] = None,
    form: Annotated[
        str | None,
        typer.Option("--format", metavar="csv|json", help="The form; by default that of --out's suffix, else csv."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Arrays of more than 100,000 numbers too; these files get large.")
    ] = False,
    store: options.StorePath = options.DEFAULT_STORE,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
) -> None:
    """Export a result as JSON, or as CSV with one line for each number: value, index, number.

    Of an evaluation, CSV has one row for each molecule, as gaga evaluate --csv writes it. With --field, it has a line
    for each entry of the array's first axis.
    """
    form = _check_format(form, out, json=json)
    results = open_store(store)
    entry = locate(results, name)
    if entry.kind == "evaluation" and form == "csv" and field is None:
        _export_molecules(entry, out, results, overwrite=overwrite, json=json)
        return
    stored_arrays = results.arrays(entry.kind, entry.name)
    arrays = _chosen(stored_arrays, field, everything=everything)
    if field is None and (left := [name for name in stored_arrays if name not in arrays]):
        Output().note(f"Left out, for their size: {', '.join(left)}. Add --all or --field NAME to have them.")
    if out is None:
        _to_stdout(lambda file: _write(file, form, entry, arrays))
        return
    _write_file(out, form, entry, arrays, overwrite=overwrite)
    payload = {**attributes(entry, "kind name"), "out": str(out), "format": form, "values": list(arrays)}
    Output(json=json).show(payload, f"Wrote {len(arrays)} values of {entry.kind}/{entry.name} to {out}.")


def _export_molecules(entry: "Entry", out: Path | None, store: "Store", *, overwrite: bool, json: bool) -> None:
    """The table of an evaluation's molecules, with what the store has of the same file besides."""
    from gaga.runs.molecule_table import parts_of, write_table

    parts = parts_of(store, entry)
    if out is None:
        _to_stdout(lambda file: write_table(file, store, parts))
        return
    refuse_to_overwrite(out, overwrite=overwrite)
    written = write_table(out, store, parts)
    Output(json=json).show(
        {**attributes(entry, "kind name"), "out": str(out), "format": "csv", "values": written.columns},
        f"Wrote a row for each of {counted(written.rows, 'molecule')} of {entry.kind}/{entry.name} to {out}.",
    )


@app.command("delete", cls=Command, epilog=examples("gaga store delete tstar/tstar_qm9"))
def delete(
    name: Wanted,
    store: options.StorePath = options.DEFAULT_STORE,
    json: options.Json = False,
) -> None:
    """Delete a result from the store; those that ship with gaga stay."""
    results = open_store(store)
    entry = locate(results, name)
    if entry.shipped:
        raise Conflict(f"{entry.kind}/{entry.name} ships with gaga and cannot be deleted")
    results.delete(entry.kind, entry.name)
    Output(json=json).show(
        {"store": str(store), "deleted": attributes(entry, "kind name")},
        f"Deleted {entry.kind}/{entry.name} from {store}.",
    )


def locate(store: "Store", wanted: str) -> "Entry":
    """The entry of "name" or "kind/name".

    Raises:
        NotFound: there is none.
        Conflict: results of several kinds have the name.
    """
    wanted = legible(wanted)
    kind, slash, name = wanted.partition("/")
    if slash:
        return store.require(kind, name)
    matches = [entry for entry in store.entries() if entry.name.casefold() == wanted.casefold()]
    if len(matches) > 1:
        choices = " or ".join(f"{entry.kind}/{entry.name}" for entry in matches)
        raise Conflict(f"several results are named {wanted}", remedy=f"say {choices}")
    if not matches:
        raise NotFound("no result of that name", received=wanted, remedy=_near(store, wanted))
    return matches[0]


def _near(store: "Store", wanted: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(wanted, [entry.name for entry in store.entries()], cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else "see gaga store list"


def _nothing(store: Path, kind: str | None) -> str:
    if kind is not None:
        return f"No results of kind {kind} in {store}; gaga store list shows all."
    return f"No results in {store} yet: gaga variance --dataset qm9 makes the first."


def _provenance(entry: "Entry") -> list[tuple[str, object]]:
    made = f"{entry.created} by gaga {entry.gaga_version}" + (", shipped" if entry.shipped else "")
    rows: list[tuple[str, object]] = [("made", made), ("seed", entry.seed)]
    rows += [(f"from {name}", digest[:16]) for name, digest in entry.inputs.items()]
    rows += [(name, _brief(value)) for name, value in entry.config.items()]
    return [*rows, ("digest", entry.digest[:16])]


def _brief(value: object) -> object:
    line = str(value)
    return line if len(line) <= 80 else f"{line[:77]}..."


def _single(value: Any) -> object:
    return None if getattr(value, "ndim", 0) else plain(value)


def _short(value: Any) -> str:
    """A single value or an array of a few, as a cell."""
    few = getattr(value, "size", 1) <= SHOWN_ELEMENTS
    return " ".join(text(element) for element in _flat(value)) if few else ""


def _flat(value: Any) -> list[Any]:
    return plain(value.ravel()) if hasattr(value, "ravel") else [value]


def _shape(value: Any) -> str:
    return "×".join(map(str, getattr(value, "shape", ()))) or "single"


def _check_format(form: str | None, out: Path | None, *, json: bool) -> str:
    if form is None:
        form = out.suffix.lstrip(".").lower() if out else ("json" if json else "csv")
    if json and out is None and form != "json":
        raise usage_error("--json prints one JSON object, so --format csv needs --out FILE")
    if form not in FORMATS:
        raise InvalidInput("results are exported as .csv or .json", received=out or form)
    return form


def _chosen(arrays: dict[str, Any], field: str | None, *, everything: bool) -> dict[str, Any]:
    if field is None:
        return {n: v for n, v in arrays.items() if everything or getattr(v, "size", 1) <= MANY_ELEMENTS}
    if field not in arrays:
        raise NotFound("the result has no such value", received=field, remedy=_near_values(field, arrays))
    return {field: arrays[field]}


def _near_values(field: str, arrays: dict[str, Any]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(field, arrays, cutoff=0.4) or list(arrays)[:SHOWN_ELEMENTS]
    return f"it has {', '.join(near)}{', ...; gaga store show lists all' if len(near) < len(arrays) else ''}"


def _write_file(path: Path, form: str, entry: "Entry", arrays: dict[str, Any], *, overwrite: bool) -> None:
    from gaga.storage.files import atomic_write

    refuse_to_overwrite(path, overwrite=overwrite)
    with (
        atomic_write(path) as partial,
        partial.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        _write(file, form, entry, arrays)


def _to_stdout(write: "Callable[[SupportsWrite[str]], object]") -> None:
    """To stdout as it is or, if that is a terminal, without what would steer it."""
    if not sys.stdout.isatty():
        write(sys.stdout)
        return
    shown = StringIO()
    write(shown)
    sys.stdout.write(printable(shown.getvalue(), lines=True))


def _write(file: "SupportsWrite[str]", form: str, entry: "Entry", arrays: dict[str, Any]) -> None:
    import csv
    import json

    if form == "json":
        payload = {**header(entry), "values": {name: plain(value) for name, value in arrays.items()}}
        json.dump(plain(payload), file, indent=2, allow_nan=False, ensure_ascii=False)
        file.write("\n")
        return
    csv.writer(file, lineterminator="\n").writerows(_wide(arrays) if len(arrays) == 1 else _long(arrays))


def _long(arrays: dict[str, Any]) -> Iterator[list[object]]:
    """A line for each number of each array: value, index (empty for a single number), number."""
    import numpy as np

    yield ["value", "index", "number"]
    for name, values in arrays.items():
        for index, number in np.ndenumerate(np.asarray(values)):
            yield [name, " ".join(map(str, index)), plain(number)]


def _wide(arrays: dict[str, Any]) -> Iterator[list[object]]:
    """A line for each entry of the first axis of the only array; columns are named by the other axes."""
    import numpy as np

    ((name, values),) = arrays.items()
    table = np.atleast_1d(np.asarray(values))
    yield ["index", *(".".join([name, *map(str, index)]) for index in np.ndindex(table.shape[1:]))]
    for i, row in enumerate(table):
        yield [i, *plain(np.ravel(row))]
