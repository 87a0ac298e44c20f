"""Which properties each molecule is asked to have: values or ranges that are given, or drawn from p(c | N)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64, Int64

from gaga.core.errors import InvalidInput
from gaga.core.rng import STREAM_FURTHER, uniforms
from gaga.models.conditioning import Conditioning
from gaga.models.model import Model
from gaga.models.sampling.config import SampleConfig
from gaga.models.sampling.molecules import Sampled

STREAM_TARGET = STREAM_FURTHER - 16  # and those below, one for each property
_NEAREST = 10  # molecules of the library, if none of a size has what is asked for
_LIKE = 64  # the same of all sizes is the library divided by this
_JITTER = 1e-3  # of the range at a size


@dataclass(frozen=True, eq=False)
class Asked:
    """A condition (`loop.Condition`): the properties of a random molecule of the library of the same size that has
    those asked for, each moved at random by a thousandth of the range at that size.

    If no molecule of the size has them, it is one of the ten nearest, with the properties asked for put right.

    Attributes:
        conditioning: properties and library.
        low, high: ends of what is asked for, in the properties' units, [K]; infinite if nothing is.
        seed: of the run.
    """

    conditioning: Conditioning
    low: Float64[np.ndarray, " K"]
    high: Float64[np.ndarray, " K"]
    seed: int = 0

    @classmethod
    def of(cls, model: Model, config: SampleConfig) -> "Asked | None":
        """What a configuration asks for; None if the model is not conditional.

        Raises:
            InvalidInput: the model has no such property, a target is farther beyond the range of its data than that is
                wide, or the model cannot be guided.
        """
        known, targets = model.conditioning, config.targets
        if known is None:
            if named := ("target" if targets else "guidance" if config.guidance else ""):
                raise InvalidInput(
                    f"this model was trained without a condition, and `{named}` needs one",
                    remedy="train one with `condition=NAME`, or name another `checkpoint`",
                )
            return None
        if unknown := sorted(targets.keys() - set(known.names)):
            raise InvalidInput(
                "this model is not conditioned on that", received=", ".join(unknown),
                remedy=f"it is conditioned on {', '.join(known.names)}",
            )  # fmt: skip
        if config.guidance and not known.dropout:
            raise InvalidInput(
                "this model has seen no molecule without its condition, as `guidance` needs",
                remedy="train with a `condition_dropout` above 0, or leave `guidance` out",
            )
        low, high = np.transpose([targets.get(name, (-np.inf, np.inf)) for name in known.names])
        asked = cls(known, low, high)
        for name, line in asked._beyond(1.0, config.only_sizes):
            raise InvalidInput(f"{name} is far from all of the model's data", received=line)
        return asked

    @property
    def limited(self) -> bool:
        """Whether any property is asked for."""
        return bool(np.isfinite(self.low).any() or np.isfinite(self.high).any())

    def by(self, seed: int) -> "Asked":
        """The same of a seed."""
        return replace(self, seed=seed)

    def notes(self, sizes: Sequence[int] | None) -> list[str]:
        """In sentences, which targets are beyond the data, of these sizes or of all."""
        return [f"{name} is beyond the model's data: {line}." for name, line in self._beyond(0.0, sizes)]

    def noted(self, molecules: Sequence[Sampled]) -> list[Sampled]:
        """The molecules with what they were asked to have among their notes, by names such as `target_alpha`."""
        keys = np.array([molecule.index for molecule in molecules], dtype=np.int64)
        values = self.values(keys, np.array([len(molecule.atomic_numbers) for molecule in molecules]))
        names = [f"target_{name}" for name in self.conditioning.names]
        return [
            replace(molecule, notes={**molecule.notes, **dict(zip(names, row, strict=True))})
            for molecule, row in zip(molecules, values.tolist(), strict=True)
        ]

    def of_each(
        self, seeds: Int64[np.ndarray, " M"], keys: Int64[np.ndarray, " M"], sizes: Int64[np.ndarray, " M"]
    ) -> Float64[np.ndarray, "M K"]:
        """The properties that molecules of these seeds, keys and numbers of atoms are asked to have."""
        values = np.zeros((len(keys), len(self.conditioning.names)))
        for seed in np.unique(seeds).tolist():
            here = seeds == seed
            values[here] = self.by(seed).values(keys[here], sizes[here])
        return values

    def values(self, keys: Int64[np.ndarray, " M"], sizes: Int64[np.ndarray, " M"]) -> Float64[np.ndarray, "M K"]:
        """The properties that molecules of these keys and numbers of atoms are asked to have, in their units."""
        chance, k = uniforms(self.seed, keys, STREAM_TARGET), len(self.conditioning.names)
        moved = [uniforms(self.seed, keys, STREAM_TARGET - 1 - j) - 0.5 for j in range(k)]
        values = np.zeros((len(keys), k))
        for n in np.unique(sizes).tolist():
            here, rows = sizes == n, self.conditioning.of_size(n)
            jitter = _JITTER * np.ptp(rows, axis=0) * np.stack(moved, axis=1)[here]
            having = rows[self._near(rows, _NEAREST)]
            values[here] = having[(chance[here] * len(having)).astype(np.int64)] + jitter
        return np.clip(values, self.low, self.high)

    def context(
        self, keys: Int64[np.ndarray, " M"], sizes: Int64[np.ndarray, " M"]
    ) -> Float64[np.ndarray, "M K_plus_1"]:
        """As `loop.Condition`."""
        return self.conditioning.context(self.values(keys, sizes))

    def counts(self, length: int) -> Int64[np.ndarray, " length"]:
        """Molecules of each size 0 to length - 1 among those of the library that have what is asked for.

        If none has, among the nearest, a 64th of the library.
        """
        library = self.conditioning
        near = library.n_atoms[
            self._near(library.values.astype(np.float64), max(_NEAREST, len(library.values) // _LIKE))
        ]
        return np.bincount(near[near < length], minlength=length)

    def _beyond(self, widths: float, sizes: Sequence[int] | None) -> list[tuple[str, str]]:
        """Properties with an end that is beyond the range of the library by more than so many of its widths, and how.

        The range is that of the library's molecules of these sizes, or of all.
        """
        library, found = self.conditioning, []
        there = np.isin(library.n_atoms, sizes) if sizes is not None else np.ones(len(library.n_atoms), dtype=bool)
        if not there.any() or widths:
            there[:] = True
        for name, unit, low, high, column in zip(
            library.names, library.units, self.low, self.high, library.values[there].T.astype(np.float64), strict=True
        ):
            least, most = float(column.min()), float(column.max())
            room = widths * (most - least) + 1e-4 * abs(most - least)
            if (np.isfinite(low) and low < least - room) or (np.isfinite(high) and high > most + room):
                asked = f"{low:g}" if low == high else f"{low:g} to {high:g}"
                whose = "training molecules" if there.all() else "those of these sizes"
                found.append((name, f"{asked}, {whose} have {least:.4g} to {most:.4g} {unit}".rstrip()))
        return found

    def _near(self, values: Float64[np.ndarray, "s K"], least: int) -> Int64[np.ndarray, " n"]:
        """Rows that have what is asked for; if there are none, the nearest ones."""
        away = np.maximum(np.maximum(self.low - values, values - self.high), 0.0)
        distance = (away / np.array(self.conditioning.scale.deviation)).max(axis=1)
        having = np.flatnonzero(distance == 0)
        return having if len(having) else np.argsort(distance, kind="stable")[:least]
