"""How a benchmark is shown: tables, Markdown, and JSON."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from gaga.cli.render import MISSING, Table, text
from gaga.core.text import counted, human_bytes, human_time

if TYPE_CHECKING:
    from gaga.benchmark.floors import Floor
    from gaga.benchmark.machine import Machine
    from gaga.benchmark.parity import Agreement
    from gaga.benchmark.report import Benchmark, Profile, Row

_SHOWN_KERNELS = 12


def payload(found: "Benchmark") -> dict[str, Any]:
    """The benchmark as JSON has it."""
    return {
        "machine": found.machine,
        "floors": found.floors,
        "products": found.products,
        "memory": found.memory,
        "networks": found.networks,
        "parity": found.parity,
        "rows": found.rows,
        "profiles": [_profile_payload(profile) for profile in found.profiles],
    }


def _profile_payload(profile: "Profile") -> dict[str, Any]:
    names = ("case", "kernel", "precision", "products", "molecules", "edge_flops", "edge_seconds", "edge_rate")
    kernels = zip(profile.names, profile.calls.tolist(), profile.seconds.tolist(), strict=True)
    return {
        **{name: getattr(profile, name) for name in names},
        "kernels": [{"name": name, "calls": calls, "seconds": seconds} for name, calls, seconds in kernels],
    }


def lines_of(found: "Benchmark") -> Iterator[str]:
    """Where the figures come from, and what they are held against."""
    yield _machine_line(found.machine)
    yield from dict.fromkeys(map(_floor_line, found.floors))
    if found.products:
        yield f"Products in {found.products}."
    if found.networks:
        yield f"Network of {'; of '.join(found.networks)}."
    yield f"Memory: {found.memory}.\n"


def _machine_line(m: "Machine") -> str:
    memory = f", {human_bytes(m.device_memory)}" if m.device_memory else ""
    host = f" on {m.processor}" if m.device_memory else ""
    units = f"{counted(m.cores, 'core')}, {counted(m.threads, 'thread')}"
    versions = ", ".join([f"Python {m.python}", *m.packages, *([f"CUDA {m.cuda}"] if m.cuda else [])])
    return (
        f"{m.device}: {m.device_name}{memory}{host}, {units}; {versions}; {m.code}; "
        f"allocator: {m.allocator or MISSING}."
    )


def _floor_line(floor: "Floor") -> str:
    sheet = f"; the data sheet says {floor.datasheet / 1e12:.0f}" if floor.datasheet else ""
    return f"Floor of {floor.precision}: {floor.flops / 1e12:.3g} TFLOP/s ({floor.how}){sheet}."


def tables(found: "Benchmark") -> Iterator[Table]:
    """The check of the kernels, a table for each batch of each case, and one for each profile."""
    yield parity_table(found.parity)
    for (case, molecules), rows in groupby(found.rows, key=lambda row: (row.case, row.batch)):
        yield case_table(case, molecules, list(rows))
    yield from map(profile_table, found.profiles)


def parity_table(agreements: Sequence["Agreement"]) -> Table:
    """How far each kernel is from naive in float64."""
    rows = [
        (
            a.shape, a.kernel, a.precision, a.products or MISSING, _error(a.output), _error(a.equivariance),
            _error(a.gradient), _error(a.from_mkl), _verdict(a),
        )
        for a in agreements
    ]  # fmt: skip
    columns = (
        "shape", "kernel", "precision", "products", "outputs", "rotated", "gradients", "outputs from MKL's", "verdict"
    )  # fmt: skip
    return Table(columns=columns, rows=rows, title="Largest relative error against naive in float64, awkward sizes")


def _error(value: float | None) -> str:
    return MISSING if value is None else f"{value:.1e}"


def _verdict(a: "Agreement") -> str:
    if a.refused:
        return f"refused: {a.refused}"
    if a.unavailable:
        return f"unavailable: {a.unavailable}"
    t = a.tolerance
    return f"agrees (allowed: {t.output:.0e}, {t.equivariance:.0e}, {t.gradient:.0e})"


def case_table(case: str, molecules: int, rows: Sequence["Row"]) -> Table:
    """The figures of one batch; sampling has the time of a whole run too."""
    whole = rows[0].run_molecules is not None
    batch = max(rows, key=lambda row: row.molecules)
    title = f"{case}, {molecules:,} molecules, {batch.atoms:,} atoms, {batch.edges:,} edges"
    columns = ["kernel", "precision", "products", "s / step", "least – most", "molecules/s", "of floor", "memory"]
    columns += ["× MKL", "× naive", _run_title(rows[0]) if whole else "× padded"]
    return Table(
        columns=[*columns, "note"], rows=[_row(row, molecules, whole=whole) for row in rows], title=title, digits=3
    )


def _run_title(row: "Row") -> str:
    return f"{row.run_molecules:,} in {row.run_steps} steps"


def _row(row: "Row", molecules: int, *, whole: bool) -> tuple[object, ...]:
    spread = MISSING if row.low is None or row.high is None else f"{text(row.low, 3)} – {text(row.high, 3)}"
    run = MISSING if row.run_seconds is None else human_time(row.run_seconds)
    last = f"{run}, extrapolated" if row.extrapolated else run
    return (
        row.kernel,
        row.precision,
        row.products or MISSING,
        row.seconds,
        spread,
        row.molecules_per_second,
        MISSING if row.floor is None else f"{100 * row.floor:.1f} %",
        MISSING if row.memory is None else human_bytes(row.memory),
        row.times_mkl,
        row.times_naive,
        last if whole else row.times_padded,
        _note(row, molecules),
    )


def _note(row: "Row", molecules: int) -> str:
    part = f"its first {row.molecules:,} molecules" if row.state == "measured" and row.molecules != molecules else ""
    if row.state != "measured":
        return f"{row.state}: {row.note}"
    return "; ".join(filter(None, [row.note, part]))


def profile_table(profile: "Profile") -> Table:
    """The kernels of a step, the longest first, and the rate of those over edges."""
    total = float(profile.seconds.sum())
    shown = list(zip(profile.names, profile.calls, profile.seconds, strict=True))[:_SHOWN_KERNELS]
    rows = [(name[:60], int(calls), 1e3 * seconds, f"{100 * seconds / total:.0f} %") for name, calls, seconds in shown]
    rate = f"; edge kernels {profile.edge_rate / 1e12:.3g} TFLOP/s" if profile.edge_rate else ""
    title = f"{profile.case}, {profile.molecules:,} molecules, {profile.kernel} {profile.precision}{rate}"
    return Table(columns=("kernel", "calls", "ms / step", "of it"), rows=rows, title=title, digits=3)


def markdown(found: "Benchmark") -> str:
    """Everything that the terminal shows, as Markdown."""
    parts = [line.strip() for line in lines_of(found)]
    return "\n\n".join([*parts, *map(_markdown_table, tables(found))]) + "\n"


def _markdown_table(table: Table) -> str:
    lines = [_markdown_row(table.columns), "|" + "---|" * len(table.columns)]
    lines += [_markdown_row([text(value, table.digits) for value in row]) for row in table.rows]
    return f"### {table.title}\n\n" + "\n".join(lines)


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
