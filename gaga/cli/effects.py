"""How the statistics that see molecules are shown: effects by step, the longest share by size, and JSON."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gaga.cli.render import Table, attributes

if TYPE_CHECKING:
    from gaga.stats.effects import MoleculeEffects

_SIZES = 8  # that have a column: those with most molecules
_HEADS = {
    "gyration share, largest": "largest share",
    "gyration share, smallest": "smallest share",
    "nearest neighbour": "nearest",
    "type-radius coupling": "coupling",
}
MEANING = (
    "How to read them: an effect is a KS distance to a Gaussian of the same size and variance (the coupling: standard "
    "deviations), 0 for a Gaussian; 0.1 in a gyration share says that at least one molecule in ten has another shape "
    "than the Gaussian gives. 95 % of true Gaussians stay below the last row. The published test and D_t do not see "
    "this: the KS test of one molecule has too few entries (99 % of QM9's molecules pass it for their positions "
    "without any noise), and D_t pools the entries of all atoms, so that the shape of a molecule and its bonds are "
    "lost."
)


def payload(effects: "MoleculeEffects", timesteps: Any) -> dict[str, Any]:
    """Over all sizes and by size, one object for each step and statistic."""
    pooled, by_size = [], []
    keys = ("effect", "low", "high", "p")
    for s, t in enumerate(timesteps.tolist()):
        for q, name in enumerate(effects.statistics):
            numbers = {key: getattr(effects, key)[s, q] for key in keys}
            pooled.append({"t": t, "statistic": name, **numbers, "null_limit": effects.null_limit[q]})
            for z, (atoms, molecules) in enumerate(zip(effects.sizes, effects.counts, strict=True)):
                numbers = {key: getattr(effects, f"{key}_by_size")[s, z, q] for key in keys}
                limit = effects.null_limit_by_size[z, q]
                about = {"t": t, "atoms": int(atoms), "molecules": int(molecules), "statistic": name}
                by_size.append({**about, **numbers, "null_limit": limit})
    about = attributes(effects, "molecules=n_molecules null_draws=n_draws")
    return {**about, "pooled": pooled, "by_size": by_size, "shapes": _shapes(effects, timesteps)}


def _shapes(effects: "MoleculeEffects", timesteps: Any) -> dict[str, Any] | None:
    """The same against random shapes."""
    of = effects.shapes
    if of is None:
        return None
    keys = ("effect", "low", "high", "limit")
    rows = [
        {"t": t, "statistic": name, **{key: getattr(of, key)[s, q] for key in keys}}
        for s, t in enumerate(timesteps.tolist())
        for q, name in enumerate(effects.statistics)
    ]
    return {**attributes(of, "molecules=n_molecules shapes=n_shapes"), "pooled": rows}


def tables(effects: "MoleculeEffects", timesteps: Any, level: float) -> Iterator[Table | str]:
    """Effects over all sizes, the largest gyration share by size, and what they mean."""
    heads = [_HEADS.get(name, name) for name in effects.statistics]
    stays = f"null, {100 * level:g} %"
    yield Table(
        title=f"Statistics that see molecules: effects over all sizes, {effects.n_molecules:,} molecules",
        columns=("t", *heads),
        rows=[
            *((t, *row) for t, row in zip(timesteps, effects.effect, strict=True)),
            (stays, *effects.null_limit),
        ],
        digits=3,
    )
    shown = sorted(effects.counts.argsort()[::-1][:_SIZES])
    if shown:
        yield Table(
            title="Effect of the largest gyration share by number of atoms",
            columns=("t", *(f"N = {effects.sizes[z]}" for z in shown)),
            rows=[
                *((t, *row[shown, 0]) for t, row in zip(timesteps, effects.effect_by_size, strict=True)),
                (stays, *effects.null_limit_by_size[shown, 0]),
            ],
            digits=3,
        )
    if (shapes := effects.shapes) is not None:
        yield Table(
            title=f"The same against random shapes: {shapes.n_molecules:,} molecules, "
            f"{shapes.n_shapes:,} shapes of others",
            columns=("t", *heads),
            rows=[
                *((t, *row) for t, row in zip(timesteps, shapes.effect, strict=True)),
                ("chance, at most", *shapes.limit.max(axis=0)),
            ],
            digits=3,
        )
    yield MEANING
