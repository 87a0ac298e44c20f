"""Which cells each study of docs/QUALITY.md has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from gaga.core.errors import InvalidInput
from gaga.models.sampling.config import BY_STEP, METHODS, SPACINGS, SampleConfig
from gaga.models.training.log import read_rows
from gaga.models.training.trainer import METRICS_FILE
from gaga.noise import REFERENCE_KINDS
from measuring.cells import Cell, Source, evaluations_of

EVALUATIONS = (5, 8, 10, 15, 20, 25, 50)
T_STARS = (250, 350, 450, 550, 650, 1000)
BENDS = (1.5, 2.0, 2.5)
RAISED = (1.0, 1.1, 1.2, 1.4, 1.6, 1.8, 2.0)
PRIOR = "prior"
STARTS = tuple(kind for kind in REFERENCE_KINDS if kind != PRIOR)
STUDIES = ("curve", "spacing", "truncation", "training", "precision")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a study is asked for.

    Attributes:
        sources: checkpoints; all studies but `training` look at the first.
        way: how the studies that vary something else sample. n, seed: molecules of a cell. precision: of products.
        evaluations, methods, spacings: of `curve`, the last by method; None is the way's own.
        t_stars, starts: of `truncation`. reach: share of stable atoms that `training` looks for in a run's log.
    """

    sources: tuple[Source, ...]
    way: SampleConfig
    n: int
    seed: int
    precision: str = "float32"
    evaluations: tuple[int | None, ...] = EVALUATIONS
    methods: tuple[str, ...] = METHODS
    spacings: Mapping[str, str] | None = None
    t_stars: tuple[int, ...] = T_STARS
    starts: tuple[str, ...] = STARTS
    reach: float = 0.9

    def cell(self, study: str, config: SampleConfig, source: Source | None = None, **labels: Any) -> Cell:
        """A cell of this study."""
        return Cell(
            study=study, labels=labels, source=source or self.sources[0], config=config, n=self.n, seed=self.seed,
            precision=self.precision,
        )  # fmt: skip


def cells_of(study: str, asked: Asked) -> list[Cell]:
    """The cells of a study, each once, in the order of its table."""
    cells = {cell.id: cell for cell in reversed(_STUDIES[study](asked))}
    return list(reversed(cells.values()))


def curve(asked: Asked) -> list[Cell]:
    """Quality against evaluations, by method."""
    cells = []
    for method, steps in product(asked.methods, asked.evaluations):
        if steps is None and method not in BY_STEP:
            continue
        spacing = (asked.spacings or {}).get(method, asked.way.spacing)
        config = replace(asked.way, method=method, steps=steps, spacing=spacing)
        evaluations = evaluations_of(config, asked.sources[0].max_t)
        where = config.placed if steps else "every step"
        cells.append(asked.cell("curve", config, method=method, spacing=where, evaluations=evaluations))
    return cells


def spacing(asked: Asked) -> list[Cell]:
    """Where the evaluations are, and how much `annealed` raises the level, at one number of evaluations."""
    places = [(name, bend) for name in SPACINGS for bend in (BENDS if name == "arcsine" else (None,))]
    cells = []
    for method, (name, bend) in product(asked.methods, places):
        config = replace(asked.way, method=method, spacing=name, bend=bend or asked.way.bend)
        cells.append(asked.cell("spacing", config, **_placed(config)))
    for raised in RAISED if "annealed" in asked.methods else ():
        config = replace(asked.way, method="annealed", raised=raised)
        cells.append(asked.cell("spacing", config, **_placed(config)))
    return cells


def truncation(asked: Asked) -> list[Cell]:
    """One model started at each T* from each start, against the whole way from the prior."""
    last = asked.sources[0].max_t
    if not (below := [t for t in asked.t_stars if t <= last]):
        raise InvalidInput(f"this model was trained on steps 0 to {last}", received=f"T* {asked.t_stars}")
    whole, *others = (
        asked.cell(
            "truncation",
            replace(asked.way, t_start=t, start=start),
            **{"T*": t, "start": start},
            method=asked.way.method,
        )
        for t, start in [(last, PRIOR), *product(below, asked.starts)]
    )
    return [whole, *(replace(cell, against=whole.id) for cell in others)]


def training(asked: Asked) -> list[Cell]:
    """Checkpoints, each from its own T*: several seeds of a name make a group."""
    return [
        asked.cell("training", replace(asked.way, t_start=source.max_t), source, **_trained(source, asked))
        for source in asked.sources
    ]


def precision(asked: Asked) -> list[Cell]:
    """bfloat16 against float32, by method."""
    cells = []
    for method in asked.methods:
        config = replace(asked.way, method=method)
        exact, rounded = (
            replace(asked.cell("precision", config, method=method, precision=name), precision=name)
            for name in ("float32", "bfloat16")
        )
        cells += [exact, replace(rounded, against=exact.id)]
    return cells


_STUDIES = {
    "curve": curve, "spacing": spacing, "truncation": truncation, "training": training, "precision": precision,
}  # fmt: skip


def _placed(config: SampleConfig) -> dict[str, Any]:
    name = f"arcsine, bend {config.bend:g}" if config.placed == "arcsine" else config.placed
    return {"method": config.method, "spacing": name, "raised": config.raised if config.method == "annealed" else "–"}


def _trained(source: Source, asked: Asked) -> dict[str, Any]:
    about = {"model": source.name, "T*": source.max_t, "method": asked.way.method}
    return about | {"steps": source.steps, "seed": source.seed, **_reached(source.path, asked.reach)}


def _reached(run: Path, share: float) -> dict[str, Any]:
    """The first step of a run's log at which so many atoms were stable; nothing where there is no log."""
    log = (run if run.is_dir() else run.parent) / METRICS_FILE
    rows = [row for row in read_rows(log) if row.atom_stable is not None]
    if not rows:
        return {}
    first = next((row.step for row in rows if (row.atom_stable or 0.0) >= share), None)
    return {f"steps to {100 * share:g} % stable atoms": "not reached" if first is None else first}


def parse_spacings(words: Sequence[str]) -> tuple[str | None, dict[str, str]]:
    """The spacing of all methods, if one is named, and those of single ones: ("arcsine", {"ddpm": "steps"}).

    Raises:
        InvalidInput: a method is unknown.
    """
    general: str | None = None
    single: dict[str, str] = {}
    for word in words:
        method, equals, name = word.rpartition("=")
        if not equals:
            general = name
        elif method in METHODS:
            single[method] = name
        else:
            raise InvalidInput("unknown sampling method", received=method, remedy=f"use {', '.join(METHODS)}")
    return general, single
