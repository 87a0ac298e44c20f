"""What a data set holds, as JSON and as a table."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaga.cli.render import Table, attributes, skipped_parts
from gaga.core.text import counted, human_bytes

if TYPE_CHECKING:
    from gaga.data import Dataset
    from gaga.data.preparation import Preparation
    from gaga.data.streamed import Prepared


def prepared(path: Path, dataset: "Dataset") -> Iterator[Any]:
    """The JSON object of a file that was prepared, then tables and sentences."""
    from gaga.runs.inputs import notes, skipped_lines

    size = path.stat().st_size
    yield {"path": str(path), "size": size, **summary(dataset), "rule": None}
    yield f"Prepared {counted(len(dataset), 'molecule')} of {dataset.name} in {path} ({human_bytes(size)})."
    yield from account(dataset) or skipped_lines(dataset)
    yield from notes(dataset)


def prepared_geom(path: Path, written: "Prepared", rule: str, source: Path, vocabulary: str) -> Iterator[Any]:
    """The same of GEOM-Drugs."""
    from gaga.data.geom.prepare import VOCABULARIES

    size = path.stat().st_size
    summary_of = described(
        name="geom", molecules=written.conformers, distinct=written.molecules, elements=written.elements,
        sizes=written.sizes, splits=written.splits, skipped=written.skipped, origin=source.name,
        fingerprint=written.fingerprint,
    )  # fmt: skip
    yield {"path": str(path), "size": size, **summary_of, "rule": rule}
    elements = "16 elements of GEOM-Drugs" if VOCABULARIES[vocabulary] else "elements that occur"
    yield (
        f"Prepared {counted(written.conformers, 'conformer')} of {counted(written.molecules, 'molecule')} "
        f"({written.atoms:,} atoms, {elements}) in {path} ({human_bytes(size)})."
    )
    yield rule
    apart = written.conformers - sum(written.splits.values())
    splits = ", ".join(f"{name} {n:,}" for name, n in written.splits.items())
    yield f"Split by molecule, conformers of each: {splits}{f'; in none of them {apart:,}' if apart else ''}."
    if written.skipped:
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in written.skipped.items())
        yield f"Skipped {counted(sum(written.skipped.values()), 'conformer')}: {reasons}."


def described_in_full(dataset: "Dataset") -> Iterator[Any]:
    """The JSON object of a data set, then its tables."""
    units = dataset.annotations.units
    payload = {
        **summary(dataset),
        "skipped_records": [attributes(record, "reason where detail") for record in dataset.skipped_records],
        "has_smiles": dataset.annotations.smiles is not None,
        "properties": [{"name": name, "unit": units.get(name, "")} for name in dataset.properties],
    }
    yield payload
    yield from _tables(payload)
    yield from account(dataset)
    yield from skipped_parts(payload["skipped_records"], len(dataset.skipped_records))


def summary(dataset: "Dataset") -> dict[str, Any]:
    """What a data set holds, as JSON has it."""
    import numpy as np

    from gaga.data.dataset import element_counts

    return described(
        name=dataset.name,
        molecules=len(dataset),
        distinct=len(dataset) if dataset.groups is None else int(dataset.groups.max()) + 1,
        elements=element_counts(dataset.atomic_numbers),
        sizes=np.bincount(dataset.n_atoms),
        splits={name: len(members) for name, members in dataset.splits.items()},
        skipped=dataset.skipped,
        origin=dataset.origin,
        fingerprint=dataset.fingerprint,
        preparation=dataset.preparation,
    )


def described(
    *,
    name: str,
    molecules: int,
    distinct: int,
    elements: Iterable[Any],
    sizes: Iterable[Any],
    splits: Mapping[str, int],
    skipped: Mapping[str, int],
    origin: str,
    fingerprint: str,
    preparation: "Preparation | None" = None,
) -> dict[str, Any]:
    """The same of a data set that is not at hand: numbers of atoms by element and of molecules by size."""
    from gaga.chem.elements import symbol_of

    return {
        "name": name,
        "molecules": molecules,
        "distinct_molecules": distinct,
        "atoms": sum(int(n) for n in elements),
        "elements": [{"symbol": symbol_of(z), "atoms": int(n)} for z, n in enumerate(elements) if n],
        "sizes": [{"n_atoms": n, "molecules": int(count)} for n, count in enumerate(sizes) if count],
        "splits": dict(splits),
        "skipped": [{"reason": reason, "molecules": n} for reason, n in skipped.items()],
        "preparation": preparation,
        "origin": origin,
        "fingerprint": fingerprint,
    }


def _tables(payload: dict[str, Any]) -> list[Table | str]:
    sizes = [row["n_atoms"] for row in payload["sizes"]]
    rows: list[tuple[str, object]] = [
        ("molecules", _molecules_line(payload)),
        ("atoms", f"{payload['atoms']:,}"),
        ("elements", ", ".join(f"{e['symbol']} {e['atoms']:,}" for e in payload["elements"])),
        ("atoms a molecule", f"{sizes[0]} to {sizes[-1]}"),
        *((f"split {name}", f"{n:,}") for name, n in payload["splits"].items()),
        ("SMILES", "yes" if payload["has_smiles"] else "no"),
        ("properties", " ".join(p["name"] for p in payload["properties"]) or "none"),
        ("origin", payload["origin"]),
        ("fingerprint", payload["fingerprint"][:16]),
    ]
    return [Table(columns=("data set", payload["name"]), rows=rows)]


def _molecules_line(payload: dict[str, Any]) -> str:
    entries, distinct = payload["molecules"], payload["distinct_molecules"]
    return f"{entries:,}" if entries == distinct else f"{entries:,} conformers of {distinct:,}"


def account(dataset: "Dataset") -> list[Table]:
    """What became of a user's molecules, if anything was asked of them."""
    preparation = dataset.preparation
    if preparation is None or not preparation.asked:
        return []
    rows: list[tuple[str, object]] = [
        ("read", preparation.read),
        *((f"left out: {reason}", n) for reason, n in dataset.skipped.items()),
        ("kept", preparation.kept),
        *((f"  embedded with {name}", n) for name, n in preparation.force_fields.items()),
    ]
    return [Table(columns=("what went where", "molecules"), rows=rows), _asked(preparation)]


def _asked(preparation: "Preparation") -> Table:
    asked = [(f"--{name.replace('_', '-')}", value) for name, value in preparation.asked.items()]
    return Table(columns=("asked for", ""), rows=[*asked, *preparation.programs.items()])
