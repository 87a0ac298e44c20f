"""The figures of a campaign beside what must be reached: a short table from the JSON of `gaga benchmark`.

python benchmarks/campaign_table.py [--markdown] [--commit COMMIT] [FOLDER ...]

Every FOLDER has a figures.json, JSON objects one behind the other. Without a folder nothing has been run on a device.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NOT_RUN = "not yet run on a device"
Found = dict[str, Any]
Figure = tuple[float, float | None]  # the figure and its part of the floor


@dataclass(frozen=True, kw_only=True)
class Target:
    """A figure that must be reached, or be stayed below.

    Attributes:
        what: the figure. unit: its unit. must: None where nothing is demanded. at_most: whether less is better.
        find: every value of it in one benchmark.
    """

    what: str
    unit: str
    must: float | None
    find: Callable[[Found], Iterator[Figure]]
    at_most: bool = False

    def verdict(self, value: float) -> str:
        """Whether it is reached."""
        if self.must is None:
            return ""
        return "reached" if (value <= self.must if self.at_most else value >= self.must) else "short of it"


def rate(case: str, batch: int, kernel: str, precision: str = "bfloat16") -> Callable[[Found], Iterator[Figure]]:
    """Molecules/s of a row, with its part of the floor."""

    def find(found: Found) -> Iterator[Figure]:
        for row in found["rows"]:
            name = (row["case"], row["batch"], row["kernel"], row["precision"])
            if name == (case, batch, kernel, precision) and row["seconds"]:
                yield row["molecules_per_second"], row["floor"]

    return find


def whole_run(case: str, kernel: str, *, extrapolated: bool) -> Callable[[Found], Iterator[Figure]]:
    """Seconds of a sampling run."""

    def find(found: Found) -> Iterator[Figure]:
        for row in found["rows"]:
            if (row["case"], row["kernel"], row["extrapolated"]) == (case, kernel, extrapolated) and row["run_seconds"]:
                yield row["run_seconds"], row["floor"]

    return find


def longer_run(found: Found) -> Iterator[Figure]:
    """Seconds of a sampling run of QM9 over all 1,000 steps, by those of the run that was done."""
    for row in found["rows"]:
        if (row["case"], row["kernel"], row["extrapolated"]) == ("qm9-sampling", "triton", False) and row[
            "run_seconds"
        ]:
            yield row["run_seconds"] * 1000 / row["run_steps"], row["floor"]


def sampler_step(found: Found) -> Iterator[Figure]:
    """Milliseconds of a step of the sampler for a thousand molecules."""
    for row in found["rows"]:
        if row["case"] == "qm9-sampling" and row["kernel"] == "triton" and row["seconds"]:
            yield 1e6 * row["seconds"] / row["molecules"], row["floor"]


def edge_rate(molecules: int) -> Callable[[Found], Iterator[Figure]]:
    """TFLOP/s of the fused edge kernels in a forward pass."""

    def find(found: Found) -> Iterator[Figure]:
        floor = max((floor["flops"] for floor in found["floors"]), default=None)
        for profile in found["profiles"]:
            name = (profile["case"], profile["kernel"], profile["molecules"])
            if name == ("qm9-forward", "triton", molecules) and profile["edge_rate"]:
                yield profile["edge_rate"] / 1e12, profile["edge_rate"] / floor if floor else None

    return find


def error(kind: str) -> Callable[[Found], Iterator[Figure]]:
    """The largest error of the fused kernels in bfloat16, where QM9's check was run."""

    def find(found: Found) -> Iterator[Figure]:
        for a in found["parity"]:
            if (a["shape"], a["kernel"], a["precision"]) == ("qm9", "triton", "bfloat16") and a[kind] is not None:
                yield a[kind], None

    return find


TARGETS = (
    Target(what="QM9 train, batch 256, triton", unit="mol/s", must=45e3, find=rate("qm9-train", 256, "triton")),
    Target(what="QM9 train, batch 1024, triton", unit="mol/s", must=60e3, find=rate("qm9-train", 1024, "triton")),
    Target(what="QM9 train, batch 2048, triton", unit="mol/s", must=None, find=rate("qm9-train", 2048, "triton")),
    Target(what="QM9 train, batch 1024, compile", unit="mol/s", must=35e3, find=rate("qm9-train", 1024, "compile")),
    Target(what="fused edge kernels forward, batch 256", unit="TFLOP/s", must=None, find=edge_rate(256)),
    Target(what="fused edge kernels forward, batch 1024", unit="TFLOP/s", must=None, find=edge_rate(1024)),
    Target(what="fused edge kernels forward, batch 2048", unit="TFLOP/s", must=280, find=edge_rate(2048)),
    Target(what="fused edge kernels forward, batch 10000", unit="TFLOP/s", must=280, find=edge_rate(10000)),
    Target(what="one sampler step, 1,000 QM9 molecules", unit="ms", must=4.0, find=sampler_step, at_most=True),
    Target(what="10,000 QM9 molecules, 550 steps, run in full", unit="s", must=22, at_most=True,
           find=whole_run("qm9-sampling", "triton", extrapolated=False)),
    Target(what="the same over 1,000 steps, in proportion", unit="s", must=40, at_most=True, find=longer_run),
    Target(what="10,000 GEOM molecules, 650 steps, extrapolated", unit="s", must=80, at_most=True,
           find=whole_run("geom-sampling", "triton", extrapolated=True)),
    Target(what="GEOM train, batch 256, triton", unit="mol/s", must=18e3, find=rate("geom-train", 256, "triton")),
    Target(what="check in bfloat16, outputs against float64", unit="rel.", must=5e-3, at_most=True,
           find=error("output")),
    Target(what="check in bfloat16, rotated molecules", unit="rel.", must=3e-3, at_most=True,
           find=error("equivariance")),
)  # fmt: skip


def read(folders: Sequence[Path]) -> list[Found]:
    """Every benchmark of these folders, in the order of the runs."""
    return [found for folder in folders for found in read_objects(folder / "figures.json")]


def read_objects(path: Path) -> list[Found]:
    """The JSON objects of a file, one behind the other; none where there is no file."""
    decoder, found = json.JSONDecoder(), []
    text = path.read_text(encoding="utf-8").strip() if path.is_file() else ""
    while text:
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:].strip()
    return found


def target_rows(found: Sequence[Found]) -> list[tuple[str, ...]]:
    """A row for each target: the latest figure of a device, its part of the floor, what must be, and the verdict."""
    found = [one for one in found if one["machine"]["device"].startswith("cuda")]
    rows = []
    for target in TARGETS:
        figures = [figure for one in found for figure in target.find(one)]
        must = "–" if target.must is None else f"{'≤' if target.at_most else '≥'} {number(target.must)} {target.unit}"
        if not figures:
            rows.append((target.what, NOT_RUN, "–", must, ""))
            continue
        value, floor = figures[-1]
        share = "–" if floor is None else f"{100 * floor:.1f} %"
        rows.append((target.what, f"{number(value)} {target.unit}", share, must, target.verdict(value)))
    return rows


def number(value: float) -> str:
    """Four digits at least, and no power of ten where it can be read without."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def kernel_rows(found: Sequence[Found]) -> list[tuple[str, ...]]:
    """A row for each kernel and batch that was tried."""
    return [
        (
            row["case"],
            f"{row['batch']:,}",
            row["kernel"],
            row["precision"],
            number(row["molecules_per_second"]) if row["seconds"] else row["state"],
            "–" if row["floor"] is None else f"{100 * row['floor']:.1f} %",
            "–" if row["memory"] is None else f"{row['memory'] / 1e9:.3g}",
            "–" if row["times_naive"] is None else f"{row['times_naive']:.3g}",
            "–" if row["times_padded"] is None else f"{row['times_padded']:.3g}",
            row["note"][:60],
        )
        for one in found
        for row in one["rows"]
    ]


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, markdown: bool) -> str:
    """Aligned columns, or Markdown."""
    if markdown:
        return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, ["---"] * len(columns), *rows))
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    lines = ("  ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)).rstrip() for cells in (columns, *rows))
    return "\n".join(lines)


def origin(found: Sequence[Found], commit: str) -> str:
    """Device, versions, floor and commit of the figures."""
    if not found:
        return NOT_RUN
    machine, floors = found[-1]["machine"], found[-1]["floors"]
    versions = ", ".join([f"Python {machine['python']}", *machine["packages"], f"CUDA {machine['cuda'] or 'none'}"])
    rate = ", ".join(f"{floor['flops'] / 1e12:.4g} TFLOP/s ({floor['how']})" for floor in floors[-1:])
    return f"{machine['device_name']}; {versions}; commit {machine['commit'] or commit}; floor {rate}"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--commit", default="unknown")
    parser.add_argument("--markdown", action="store_true")
    asked = parser.parse_args()
    found = read(asked.folders)
    print(origin(found, asked.commit), end="\n\n")
    if rows := kernel_rows(found):
        columns = ("case", "batch", "kernel", "precision", "mol/s", "of floor", "GB", "× naive", "× padded", "note")
        print(table(columns, rows, markdown=asked.markdown), end="\n\n")
    print(table(("figure", "measured", "of floor", "must", ""), target_rows(found), markdown=asked.markdown))


if __name__ == "__main__":
    main()
