"""What `gaga evaluate` shows of classes of molecules: tables for people, and the JSON object."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gaga.cli.render import MISSING, Table, attributes

if TYPE_CHECKING:
    from gaga.evaluation import Evaluation, Rate
    from gaga.evaluation.class_shares import ClassShares, RelativeRadius, Shares

_TORSIONS = {"near_0": "within 10 degrees of 0", "near_180": "within 10 degrees of 180"}
_CLASSES = {
    "aromatic": "aromatic",
    "triple_bond": "with a triple bond",
    "sp_carbon": "with an sp carbon",
    "beyond_data": "more than {largest} heavy atoms",
    "odd_electrons": "odd number of electrons",
}


def rate_object(rate: "Rate") -> dict[str, Any]:
    """A rate as JSON has it."""
    return attributes(rate, "value numerator denominator of low high level")


def classes_object(found: "ClassShares | None") -> dict[str, Any] | None:
    """The classes of molecules as JSON has them."""
    if found is None:
        return None
    return {
        **{part: _rates(getattr(found, part)) for part in ("classes", "rings", "elements")},
        **attributes(found, "largest mixture"),
        "distance": found.distance and asdict(found.distance),
        "reweighted": found.reweighted and asdict(found.reweighted),
        "torsions": found.torsions and _rates(found.torsions),
        "radius": found.radius and asdict(found.radius),
    }


def _rates(shares: "Shares") -> dict[str, Any]:
    return {name: rate_object(rate) for name, rate in shares.items()}


def class_tables(
    found: "ClassShares | None", data: "ClassShares | None", file: str, name: str
) -> Iterator[Table | str]:
    """Classes, rings, elements and shape beside the data's own, and how far the mixture of classes is from it.

    Args:
        found: of the molecules; None in results of earlier versions.
        data: of the data's own row; None without one.
        file: what the molecules are called. name: of the data; empty without one.
    """
    if found is None:
        yield "This result of an earlier version has no classes of molecules; --replace computes it anew."
        return
    itself = f"{name or 'real data'} itself"
    columns = (file, "95 % interval", "counted", itself, "its interval")
    of_sample, of_data = (
        {part: dict(getattr(each, part).items()) if each else {} for part in ("classes", "rings", "elements")}
        for each in (found, data)
    )
    labels = {key: label.format(largest=found.largest) for key, label in _CLASSES.items()}
    yield _table("classes, %", columns, labels, of_sample["classes"], of_data["classes"], 100)
    sizes = {size: "larger" if size == "larger" else f"of {size} atoms" for size in of_sample["rings"]}
    sizes["all"] = "of all sizes"
    yield _table("smallest rings in a molecule", columns, sizes, of_sample["rings"], of_data["rings"], 1)
    elements = {symbol: symbol for symbol in of_sample["elements"] | of_data["elements"]}
    yield _table("elements, % of atoms", columns, elements, of_sample["elements"], of_data["elements"], 100)
    yield from _shape_tables(found, data, columns)
    yield "Classes are of the molecules that protocol strict calls valid, by the bonds that it perceives."
    if (apart := found.distance) is not None:
        yield (
            "Mixture of classes (aromatic, triple bond, 0, 1, 2, 3 or more rings, heavy atoms): "
            f"{100 * apart.value:.1f} % of the molecules ({100 * apart.low:.1f} – {100 * apart.high:.1f}) would have "
            f"to be of another class to have {name}'s (total variation). As many molecules of {name} itself are "
            f"{100 * apart.floor:.1f} % off, seldom more than {100 * apart.floor_high:.1f}."
        )
    if (stable := found.reweighted) is not None:
        yield (
            f"Molecule stable, if as many were aromatic as of {name} ({_cells(of_data['classes']['aromatic'], 100)[0]} "
            f"%): {100 * stable.estimate:.2f} % ({100 * stable.low:.2f} – {100 * stable.high:.2f})."
        )


def _shape_tables(found: "ClassShares", data: "ClassShares | None", columns: tuple[str, ...]) -> Iterator[Table | str]:
    """Torsions, and the radius of gyration over the data's."""
    if found.torsions is None:
        yield "This result of an earlier version has no torsions and no radii; --replace computes it anew."
        return
    theirs = dict(data.torsions.items()) if data and data.torsions else {}
    ours = dict(found.torsions.items())
    if any(rate.denominator for rate in (*ours.values(), *theirs.values())):
        yield _table("torsions of heavy atoms, %", columns, _TORSIONS, ours, theirs, 100)
    if (radius := found.radius) is not None:
        itself = ("", "") if data is None else _radius_cells(data.radius)
        row = ("over the data's of as many atoms", *_radius_cells(radius), _radius_counted(radius), *itself)
        yield Table(columns=("radius of gyration, mean", *columns), rows=[row])


def _radius_cells(radius: "RelativeRadius | None") -> tuple[str, str]:
    return (MISSING, MISSING) if radius is None else (f"{radius.value:.3f}", f"{radius.low:.3f} – {radius.high:.3f}")


def _radius_counted(radius: "RelativeRadius") -> str:
    return f"{radius.n_molecules:,} molecules valid by strict"


def said_of_support(result: "Evaluation") -> Iterator[str]:
    """How many molecules there are to be drawn, and how much real data would be novel."""
    if (support := result.support) is not None and support.twice:
        yield (
            f"Unique: of {support.distinct:,} different molecules {support.once:,} came once, {support.twice:,} twice. "
            f"At least about {support.estimate:,.0f} ({support.low:,.0f} – {support.high:,.0f}) different ones can be "
            "drawn (Chao1)."
        )
    data = result.real_data
    if data is None or data.n_in_all is None:
        return
    yield (
        f"Novel is no grade: draws from all {data.n_in_all:,} molecules of {result.reference} would be "
        f"{100 * (1 - data.n_train / data.n_in_all):.1f} % novel. Its {100 * data.rates.novel.value:.1f} % are of "
        "molecules chosen not to be in the training split, and wrong molecules are novel too."
    )


def _table(
    title: str,
    columns: tuple[str, ...],
    labels: dict[str, str],
    ours: "dict[str, Rate]",
    theirs: "dict[str, Rate]",
    unit: int,
) -> Table:
    absent = "0.00" if theirs else MISSING  # an element that the data has no atom of
    rows = [
        (label, *_cells(ours.get(key), unit), _counted(ours.get(key), unit), *_cells(theirs.get(key), unit, absent))
        for key, label in labels.items()
        if key in ours or key in theirs
    ]
    return Table(columns=(title, *columns), rows=rows)


def _cells(rate: "Rate | None", unit: int, absent: str = MISSING) -> tuple[str, str]:
    """The rate in this unit, and its interval."""
    if rate is None or not rate.denominator:
        return absent, MISSING
    return f"{unit * rate.value:.2f}", f"{unit * rate.low:.2f} – {unit * rate.high:.2f}"


def _counted(rate: "Rate | None", unit: int) -> str:
    """What was counted, of what; of a mean, in what."""
    if rate is None or not rate.denominator:
        return MISSING
    return f"{rate.numerator:,} {'in' if unit == 1 else 'of'} {rate.denominator:,} {rate.of}"
