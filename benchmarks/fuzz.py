"""The properties of tests/fuzz with random seeds, for as long as wanted: counts, failures, and files that repeat them.

python benchmarks/fuzz.py --cases 10000 --seed 1 --out fuzz-failures
"""

import argparse
import pickle
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, seed, settings

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.fuzz.bases import bases  # noqa: E402
from tests.fuzz.properties import PROPERTIES, Property  # noqa: E402


@dataclass
class Count:
    """What came of a property."""

    cases: int = 0
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0


def run(each: Property, cases: int, first_seed: int, out: Path) -> Count:
    """Try a property on so many cases; each failure is kept, shrunk, as a folder that repeats it."""
    count, began = Count(), time.monotonic()
    latest: dict[str, Any] = {}

    @seed(first_seed)
    @settings(
        max_examples=cases, deadline=None, database=None, report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(each.cases())
    def holds(case: Any) -> None:
        count.cases += 1
        latest["case"] = case
        with tempfile.TemporaryDirectory() as folder:
            each.check(case, Path(folder))

    try:
        holds()
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - whatever it is, it is the finding
        count.failures.append(traceback.format_exc())
        _keep(each, latest["case"], count.failures[-1], out / f"{each.name.replace(' ', '_')}_{first_seed}")
    count.seconds = time.monotonic() - began
    return count


def _keep(each: Property, case: Any, why: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "case.txt").write_text(f"{each.name}\n{case!r}\n\n{why}", encoding="utf-8", errors="replace")
    (folder / "case.pickle").write_bytes(pickle.dumps(case))


def main() -> int:
    """Run all properties and print what came of them; 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="properties whose name has this")
    parser.add_argument("--out", type=Path, default=Path("fuzz-failures"), help="a folder for what failed")
    asked = parser.parse_args()
    chosen = [each for each in PROPERTIES if asked.only in each.name]
    shares = sum(each.share for each in chosen)
    bases()
    counts = {}
    print(f"| property | cases | failures | s |\n|---|---|---|---|   seed {asked.seed}", flush=True)
    for each in chosen:
        cases = round(asked.cases * each.share / shares)
        if each is chosen[-1]:  # some before it have no more cases than they had
            cases = max(cases, asked.cases - sum(count.cases for count in counts.values()))
        count = counts[each.name] = run(each, cases, asked.seed, asked.out)
        print(f"| {each.name} | {count.cases} | {len(count.failures)} | {count.seconds:.0f} |", flush=True)
    failures = sum(len(count.failures) for count in counts.values())
    print(f"| all | {sum(count.cases for count in counts.values())} | {failures} | |")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
