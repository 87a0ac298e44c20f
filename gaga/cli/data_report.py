"""What a data set holds, as JSON and as a table."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from gaga.cli.render import Table

if TYPE_CHECKING:
    from gaga.data import Dataset
    from gaga.data.preparation import Preparation


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


def tables(payload: dict[str, Any]) -> list[Table | str]:
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
