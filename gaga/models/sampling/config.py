"""What a sampling run is asked for: its method, its start, its steps, its sizes. Needs no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import isfinite
from pathlib import Path
from typing import Any, Literal, get_args

from gaga.chem.elements import atoms_of_formula
from gaga.core.config import Config, option
from gaga.core.errors import InvalidInput
from gaga.noise import SHAPE, START_KINDS

Method = Literal["ddpm", "ddim", "heun", "dpm++", "sde", "annealed"]
METHODS: tuple[Method, ...] = get_args(Method)
Spacing = Literal["steps", "log-snr", "arcsine", "power"]
SPACINGS: tuple[Spacing, ...] = get_args(Spacing)
MAX_BEND = 2.75  # beyond it the arcsine rule would go back: its slope at 1/2 is 1 - bend (1 - 2/pi)
KEPT = ("all", "valid", "stable", "unique", "novel")  # which molecules `gaga sample` writes
BY_STEP = ("ddpm", "ddim")  # methods that visit the steps of the schedule
EVALUATIONS = 50  # of the other methods, if not given
RESAMPLED = ("ddpm", "ddim", "dpm++", "sde")  # methods that can hold a part of the molecule fixed
STRENGTH, RESAMPLE = 0.3, 10  # Å of noise around a molecule; tries of each step with a fragment
GUIDED_BETWEEN = (0.1, 3.0)  # Å of noise: below it bonds are made, and above it lies the start
_FINE, _STEER = "Few evaluations", "Steering"


@dataclass(frozen=True, kw_only=True)
class SampleConfig(Config):
    """How to sample.

    `heun` takes two evaluations a step and one at the end: the odd number below an even `steps`. `steps` of None visits
    the schedule's own steps with ddpm and ddim, and is 50 with the others.
    """

    method: str = option(
        "sde",
        "sde keeps the data's variance and renews the noise; annealed sharpens; ddpm (with noise) and ddim visit every "
        "step; heun and dpm++ are without noise.",
        metavar="NAME", choices=METHODS,
    )  # fmt: skip
    steps: int | None = option(
        None,
        "Evaluations of the network.  [default: 50; ddpm and ddim: every step]",
        metavar="N", at_least=1,
    )  # fmt: skip
    spacing: str | None = option(
        None,
        "Placement of the evaluations: even in steps or log-SNR, by the arcsine rule in log-SNR, or a power of sigma.  "
        "[default: power; annealed: arcsine]",
        metavar="NAME", choices=SPACINGS, section=_FINE,
    )  # fmt: skip
    bend: float = option(
        2.0,
        "Strength of the arcsine spacing; 0 is even in log-SNR.",
        metavar="X", at_least=0, below=MAX_BEND, section=_FINE,
    )  # fmt: skip
    churn: float = option(
        32.0,
        "How much noise sde renews: 0 none, 1 as the reverse diffusion; more forgets errors sooner.",
        metavar="X", at_least=0, at_most=1000, section=_FINE,
    )  # fmt: skip
    raised: float = option(
        1.8,
        "What annealed multiplies the noise level by before each step.",
        metavar="X", at_least=1, below=float("inf"), section=_FINE,
    )  # fmt: skip
    raised_between: tuple[float, float] = option(
        (0.03, 3.0),
        "Range of sigma / alpha in which annealed raises the noise level.",
        metavar="LOW HIGH", at_least=0, section=_FINE,
    )  # fmt: skip
    start: str | None = option(
        None,
        "What to start from: a reference Gaussian (published, scalar, block, size, matched or prior), or shape: shapes "
        "and compositions of random training molecules.  [default: block; shape with `composition`, "
        "`composition_start` or `shape`]",
        metavar="KIND", choices=START_KINDS,
    )  # fmt: skip
    shape: tuple[float, float, float] | None = option(
        None,
        "Start from three gyration eigenvalues in Å^2, such as 1.1,3.0,15.3; the network may change them.",
        metavar="X,X,X", above=0, below=float("inf"),
    )  # fmt: skip
    t_start: int | None = option(None, "First step.  [default: the model's T*]", metavar="STEP", at_least=1)
    stride: int = option(1, "Take every k-th step.", metavar="N", at_least=1)
    dataset_var: float | None = option(
        None, "One variance for all columns, with `start=scalar`.", metavar="V", above=0, below=float("inf")
    )
    sizes: tuple[int, ...] | None = option(
        None, "Numbers of atoms to draw.  [default: as in the data]", metavar="N,N|N:M", at_least=1
    )
    around: str | None = option(
        None, "Noise this molecule and denoise it: molecules like it, atom by atom.", metavar="FILE", section=_STEER
    )
    strength: float | None = option(
        None, f"Å of noise with `around`, at most that at T*; 0 returns the molecule.  [default: {STRENGTH}]",
        metavar="X", at_least=0, below=float("inf"), section=_STEER,
    )  # fmt: skip
    scaffold: str | None = option(
        None, "Keep the atoms of this file where they are, and draw the others; `sizes` is how many there are in all.",
        metavar="FILE", section=_STEER,
    )  # fmt: skip
    fix: tuple[int, ...] | None = option(
        None, "Which atoms of that file are kept, numbered from 1.  [default: all]",
        metavar="N-M,N", at_least=1, section=_STEER,
    )  # fmt: skip
    attach: tuple[int, ...] | None = option(
        None, "Atoms of that file that new atoms may bind to: their hydrogens are dropped.",
        metavar="N-M,N", at_least=1, section=_STEER,
    )  # fmt: skip
    resample: int | None = option(
        None, "Tries of each step, noised again in between.  "
        f"[default: {RESAMPLE} with `scaffold`, 1 with a composition]",
        metavar="N", at_least=1, section=_STEER,
    )  # fmt: skip
    composition: str | None = option(
        None, "Exactly these atoms, hydrogens included; fewer molecules are valid.", metavar="FORMULA", section=_STEER
    )
    composition_start: str | None = option(
        None, "Start from these atoms; the network may change them.", metavar="FORMULA", section=_STEER
    )
    heavy_atoms: tuple[int, ...] | None = option(
        None, "Compositions of training molecules with so many atoms besides hydrogen.",
        metavar="N,N|N:M", at_least=0, section=_STEER,
    )  # fmt: skip
    target: tuple[str, ...] | None = option(
        None, "What molecules of a conditional model should have, in the data's unit (U0, U, H, G, Cv of QM9: less the "
        "free atoms); repeatable.  [default: as in the data]",
        metavar="NAME=X|LOW:HIGH", section=_STEER,
    )  # fmt: skip
    guidance: float = option(
        0.0, "How far predictions are moved away from those without the condition: 1 to 3; takes up to twice as long.",
        metavar="W", at_least=0, below=float("inf"), section=_STEER,
    )  # fmt: skip
    guidance_between: tuple[float, float] = option(
        GUIDED_BETWEEN, "Range of noise in Å in which they are.", metavar="LOW HIGH", at_least=0, section=_STEER
    )
    batch_size: int | None = option(None, "Molecules at a time.  [default: for the device]", metavar="N", at_least=1)
    frames: int = option(0, "Frames kept of each molecule's trajectory; 0 keeps none.", at_least=0)

    def __post_init__(self) -> None:
        given: Any = self.target
        if isinstance(given, Mapping):  # of Python
            object.__setattr__(self, "target", tuple(_written(*item) for item in given.items()))
        super().__post_init__()
        if self.stride > 1 and (self.steps is not None or self.method not in BY_STEP):
            raise InvalidInput(
                "a stride goes with ddpm and ddim, through the schedule's own steps",
                received=f"stride {self.stride}, method {self.method}, steps {self.steps}",
                remedy="give the number of evaluations as steps instead",
            )
        least = 2 if self.method in BY_STEP else 1  # their last evaluation reads the types off z_0
        if self.steps is not None and self.steps < least:
            raise InvalidInput(f"steps must be at least {least} with {self.method}", received=self.steps)
        if self.raised_between[0] > self.raised_between[1]:
            raise InvalidInput("raised_between is a smallest and a largest level", received=self.raised_between)
        if self.dataset_var is not None and self.started_from not in ("scalar", "published"):
            raise InvalidInput(
                "one variance for all columns goes with the start scalar or published",
                received=self.started_from,
            )
        if self.sizes is not None and not self.sizes:
            raise InvalidInput("sizes must be one or more numbers of atoms")
        if self.guidance_between[0] > self.guidance_between[1]:
            raise InvalidInput("guidance_between is a smallest and a largest level", received=self.guidance_between)
        _ = self.targets  # rejects what cannot be read
        self._check_shape()
        self._check_steering()

    def _check_shape(self) -> None:
        if (self.composition_start is not None or self.shape is not None) and self.started_from != SHAPE:
            raise InvalidInput("a composition or a shape goes with the start shape", received=self.start)
        if self.shape is not None and len(self.shape) != 3:
            raise InvalidInput("a shape is three gyration eigenvalues", received=self.shape)
        if self.formula is not None and self.sizes is not None:
            raise InvalidInput(
                "a composition says itself how many atoms there are",
                received=f"{self.formula} and sizes",
                remedy="leave `sizes` out",
            )
        if self.formula is not None:
            atoms_of_formula(self.formula)

    def _check_steering(self) -> None:
        given = {name for name in _TOGETHER if getattr(self, name) is not None}
        for name in sorted(given):
            if others := sorted((given - {name}) & _APART.get(name, set())):
                raise InvalidInput(f"`{name}` does not go with `{others[0]}`", remedy="leave one of them out")
            if (needed := _NEEDED.get(name)) is not None and needed not in given:
                raise InvalidInput(f"`{name}` goes with `{needed}`", remedy=f"name a file with `{needed}`")
        if self.resample is not None and not self.holds:
            raise InvalidInput("`resample` goes with a `scaffold` or a composition")
        if self.holds and self.method not in RESAMPLED:
            raise InvalidInput(
                f"{self.method} cannot keep atoms or types fixed", remedy=f"use {', '.join(RESAMPLED)} as `method`"
            )

    @property
    def unused(self) -> set[str]:
        """Options that have no effect with the others."""
        by_schedule = self.method in BY_STEP and self.steps is None
        annealed = {"raised", "raised_between"} if self.method != "annealed" else set()
        churn = {"churn"} if self.method != "sde" else set()
        bend = {"bend"} if by_schedule or self.placed != "arcsine" else set()
        churn |= set() if self.guidance else {"guidance_between"}
        return annealed | churn | bend | ({"spacing"} if by_schedule else set())

    @property
    def started_from(self) -> str:
        """The start, or that of the other options if none is given."""
        of_shape = self.formula is not None and self.scaffold is None
        return self.start or (SHAPE if of_shape or self.shape is not None else "block")

    @property
    def formula(self) -> str | None:
        """The composition, exact or of the start."""
        return self.composition or self.composition_start

    @property
    def only_sizes(self) -> tuple[int, ...] | None:
        """The numbers of atoms that are drawn; None: as in the data."""
        return self.sizes if self.formula is None else (sum(atoms_of_formula(self.formula).values()),)

    @property
    def targets(self) -> dict[str, tuple[float, float]]:
        """Smallest and largest value of each property that is asked for, by its name.

        Raises:
            InvalidInput: one is not written NAME=X or NAME=LOW:HIGH, or a property is named twice.
        """
        found: dict[str, tuple[float, float]] = {}
        for text in self.target or ():
            name, _, said = text.partition("=")
            try:
                ends = tuple(map(float, said.split(":")))
            except ValueError:
                ends = ()
            if not name or len(ends) not in (1, 2) or not all(map(isfinite, ends)) or ends[0] > ends[-1]:
                raise InvalidInput(
                    "a `target` is a property and its value, or its smallest and largest", received=text,
                    remedy="write it as alpha=80 or alpha=70:90",
                )  # fmt: skip
            if name in found:
                raise InvalidInput("each property has one `target`", received=name)
            found[name] = (ends[0], ends[-1])
        return found

    @property
    def needs_shapes(self) -> bool:
        """Whether shapes and compositions of training molecules are needed."""
        return self.started_from == SHAPE or self.heavy_atoms is not None

    @property
    def noised(self) -> float | None:
        """Å of noise around a molecule; None without one."""
        return None if self.around is None else STRENGTH if self.strength is None else self.strength

    @property
    def holds(self) -> bool:
        """Whether atoms or types are put back after each step."""
        return self.scaffold is not None or self.composition is not None or self.heavy_atoms is not None

    @property
    def tries(self) -> int:
        """How often each step but the last is taken."""
        return self.resample or (1 if self.scaffold is None else RESAMPLE)

    @property
    def file(self) -> Path | None:
        """The molecule or fragment that is read."""
        named = self.around or self.scaffold
        return None if named is None else Path(named)

    @property
    def placed(self) -> str:
        """The spacing, or the method's own if none is given."""
        return self.spacing or ("arcsine" if self.method == "annealed" else "power")

    def effective(self) -> dict[str, Any]:
        """The options that molecules depend on, by name."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        plain |= {"spacing": self.placed, "start": self.started_from}
        plain |= {"resample": self.tries} if self.holds else {}
        plain |= {"strength": self.noised} if self.around is not None else {}
        absent = {name for name in _NEW if plain[name] is None}  # as in runs of earlier versions
        absent |= set() if self.guidance else {"guidance"}
        paths = {name: Path(plain[name]).name for name in ("around", "scaffold") if plain[name] is not None}
        return {name: value for name, value in (plain | paths).items() if name not in self.unused | absent}


# Options of which None is "not asked for"; which of them exclude others, and which need another.
_TOGETHER = (
    "around", "strength", "scaffold", "fix", "attach", "composition", "composition_start", "heavy_atoms", "shape",
    "sizes", "t_start", "start",
)  # fmt: skip
_APART = {
    "around": {"scaffold", "composition", "composition_start", "heavy_atoms", "shape", "t_start", "start"},
    "composition": {"composition_start", "heavy_atoms"},
    "heavy_atoms": {"scaffold", "composition_start", "sizes"},
    "composition_start": {"scaffold"},
}
_NEEDED = {"strength": "around", "fix": "scaffold", "attach": "scaffold"}
_NEW = ("around", "strength", "scaffold", "fix", "attach", "resample", "composition", "composition_start",
        "heavy_atoms", "shape", "target")  # fmt: skip


def _written(name: str, value: float | tuple[float, float]) -> str:
    """A target as it is typed."""
    ends = (value,) if isinstance(value, int | float) else value
    return f"{name}={':'.join(map(repr, ends))}"
