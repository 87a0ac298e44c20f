"""What a page says of molecules: columns of its table, rates and histograms beside the data's."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gaga.chem.bonds import COVALENT_FACTORS
from gaga.chem.drawing import Depiction
from gaga.core.molecules import PackedMolecules
from gaga.core.text import counted
from gaga.evaluation.distributions import ANGLES, LENGTHS, TORSIONS
from gaga.evaluation.evaluation import Evaluation
from gaga.page.pack import elements_of, packed_depictions, packed_molecules

ALWAYS, WIDE, MORE = "always", "wide", "more"
"""When a column is shown: on any screen, where there is room, or if all columns are asked for."""

TEXT, NUMBER, FLAG = "text", "number", "flag"
_HISTOGRAMS = (
    # title, attribute, width of a bin, where the first begins below 0, unit, middle of a bin that a label names
    ("Number of atoms", "sizes", 1.0, 0.5, "atoms", 0.5),
    ("Bond lengths", "lengths", LENGTHS[0], 0.0, "Å", 0.0),
    ("Bond angles", "angles", ANGLES[0], 0.0, "degrees", 0.0),
    ("Torsions of heavy atoms", "torsions", TORSIONS[0], 0.0, "degrees, without sign", 0.0),
)


def column(
    key: str, label: str, kind: str, values: Iterable[Any], shown: str, *, exact: bool = False
) -> dict[str, Any]:
    """One column of the table; `exact` says that the case of letters counts when it is searched."""
    return {"key": key, "label": label, "kind": kind, "values": list(values), "shown": shown, "exact": exact}


def columns_of(
    evaluation: Evaluation,
    names: Sequence[str],
    smiles: Sequence[str],
    formulas: Sequence[str],
    problems: Mapping[int, str],
    tags: Mapping[str, Sequence[Any]],
) -> list[dict[str, Any]]:
    """The columns of evaluated molecules: what they are, the verdicts, classes, then what their source says."""
    verdicts = evaluation.verdicts
    n = evaluation.n_molecules
    found = [
        column("number", "#", NUMBER, range(1, n + 1), MORE if any(names) else WIDE),
        *([column("name", "name", TEXT, names, WIDE)] if any(names) else []),
        column("smiles", "SMILES", TEXT, smiles, ALWAYS, exact=True),
        column("formula", "formula", TEXT, formulas, WIDE, exact=True),
        column("atoms", "atoms", NUMBER, verdicts.n_atoms.tolist(), WIDE),
        column("valid", "valid", FLAG, verdicts.valid.tolist(), ALWAYS),
        column("stable", "stable", FLAG, verdicts.stable.tolist(), ALWAYS),
        column("connected", "connected", FLAG, verdicts.connected.tolist(), WIDE),
        *_optional("unique", verdicts.unique, verdicts.valid),
        *_optional("novel", verdicts.novel, verdicts.valid),
        column("reason", "reason", TEXT, [problems.get(i, verdicts.reasons[i]) for i in range(n)], WIDE),
    ]
    taken = {one["key"] for one in found}
    found += [one for one in _classes(evaluation) if one["key"] not in tags]
    for name, values in tags.items():
        numeric = any(value is not None for value in values) and all(
            value is None or isinstance(value, int | float) for value in values
        )
        clash = name.lower() in taken
        found.append(column(f"{name} (file)" if clash else name, f"{name} (file)" if clash else name,
                            NUMBER if numeric else TEXT, values, MORE))  # fmt: skip
    return found


def _optional(name: str, flags: Any, valid: Any) -> list[dict[str, Any]]:
    """A flag that is known of valid molecules alone; no column if it was not computed."""
    if flags is None:
        return []
    values = [yes if known else None for yes, known in zip(flags.tolist(), valid.tolist(), strict=True)]
    return [column(name, name, FLAG, values, WIDE)]


def _classes(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Of molecules that are valid by strict."""
    classes = evaluation.verdicts.classes
    if classes is None:
        return []
    known = classes.known.tolist()

    def of(values: Any) -> list[Any]:
        return [value if yes else None for value, yes in zip(values.tolist(), known, strict=True)]

    yes_no = np.array(["no", "yes"])
    return [
        column("valid_by_strict", "valid by strict", TEXT, yes_no[classes.known.astype(int)].tolist(), MORE),
        column("aromatic", "aromatic", TEXT, of(yes_no[classes.aromatic.astype(int)]), MORE),
        column("rings", "rings", NUMBER, of(classes.rings.sum(axis=1)), MORE),
        column("heavy_atoms", "heavy atoms", NUMBER, classes.heavy_atoms.tolist(), MORE),
    ]


def content(
    evaluation: Evaluation,
    molecules: PackedMolecules,
    depictions: Sequence[Depiction | None],
    columns: list[dict[str, Any]],
    frames: Mapping[int, PackedMolecules],
    *,
    label: str,
    about: str,
    made: str,
    kept: Sequence[int] = (),
    kept_rows: frozenset[int] | None = None,
) -> dict[str, Any]:
    """All that `template/page.js` shows, as JSON has it.

    Args:
        evaluation: of the molecules. molecules, depictions: [M].
        columns: of the table. frames: trajectories by the place of their molecule.
        label, about, made: what the molecules are called, a sentence on them, and one on the page.
        kept: atoms that are coloured, in the molecules `kept_rows`; in all if None.
    """
    numbers = [np.asarray(molecules.atomic_numbers), *(np.asarray(each.atomic_numbers) for each in frames.values())]
    row = evaluation.real_data
    data_name = row.description if row else ""
    return {
        "title": label,
        "about": about,
        "made": made,
        "molecules": packed_molecules(molecules),
        "drawings": packed_depictions(depictions),
        "elements": elements_of(np.concatenate(numbers)),
        "bond_factor": COVALENT_FACTORS[-1],
        "frames": {place: packed_molecules(each) for place, each in frames.items()},
        "columns": columns,
        "kept": list(kept),
        "kept_rows": None if kept_rows is None else [int(i in kept_rows) for i in range(len(molecules))],
        "rates": _rates(evaluation),
        "histograms": _histograms(evaluation),
        "data_name": data_name,
        "quality_about": f"By the protocol {evaluation.protocol} of gaga evaluate, with 95 % intervals over molecules"
        + (f"; beside them {data_name}, {counted(row.n_molecules, 'molecule')}." if row else "."),
    }


def _rates(evaluation: Evaluation) -> dict[str, Any]:
    row = evaluation.real_data
    data = dict(row.rates.items()) if row else {}
    rows = []
    for name, rate in evaluation.rates.items():
        if rate.denominator:
            interval = f"{100 * rate.low:.1f} – {100 * rate.high:.1f}"
            rows.append(
                [name.replace("_", " "), f"{100 * rate.value:.1f}", interval, f"{rate.denominator:,} {rate.of}"]
            )
            rows[-1] += [f"{100 * data[name].value:.1f}"] if data else []
    return {"columns": ["%", "these", "95 % interval", "of", *(["real data"] if data else [])], "rows": rows}


def _histograms(evaluation: Evaluation) -> list[dict[str, Any]]:
    own, row = evaluation.distributions, evaluation.real_data
    data = row.distributions if row else None
    return [
        {
            "title": title, "unit": unit, "width": width, "before": before, "tick": tick,
            "counts": list(getattr(own, name)), "data": list(getattr(data, name)) if data else None,
        }
        for title, name, width, before, unit, tick in _HISTOGRAMS
        if own is not None and sum(getattr(own, name))
    ]  # fmt: skip
