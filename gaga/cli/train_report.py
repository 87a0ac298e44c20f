"""How a training run is shown: what to expect of it, how it goes, how it ended."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gaga.cli.render import Table, text
from gaga.core.text import human_bytes, human_time

if TYPE_CHECKING:
    from gaga.models.training.log import Metrics
    from gaga.models.training.recipe import Recipe
    from gaga.models.training.record import TrainingRecord
    from gaga.models.training.trainer import Trainer


def estimate(trainer: "Trainer") -> dict[str, Any]:
    """What is left of a run: parameters, steps, time as measured here, memory."""
    from gaga.models.training.cost import memory_bytes, seconds_per_sample, seconds_per_step

    per_step = seconds_per_step(trainer)
    left = trainer.total_steps - trainer.counters.step
    by_budget = None if trainer.budget_s is None else max(0.0, trainer.budget_s - trainer.counters.seconds)
    seconds = left * per_step if by_budget is None else by_budget
    steps = left if by_budget is None else int(seconds / per_step)
    every = trainer.recipe.sample_every
    samplings = 1 + (steps // every if every else 0)
    sampling = samplings * trainer.recipe.stability_samples * seconds_per_sample(trainer)
    return {
        "parameters": trainer.network.n_parameters,
        "training_molecules": len(trainer.train_set),
        "steps": steps,
        "steps_per_epoch": trainer.steps_per_epoch,
        "seconds_per_step": per_step,
        "seconds": sampling + seconds if by_budget is None else seconds,
        "sampling_seconds": sampling,
        "memory_bytes": memory_bytes(trainer),
        "device": str(trainer.device),
    }


def estimate_line(trainer: "Trainer", expected: dict[str, Any], *, dry: bool = False) -> str:
    """The estimate as a sentence."""
    epochs = expected["steps"] / expected["steps_per_epoch"]
    verb = "Would train" if dry else "Training"
    where, each = expected["device"], ""
    if trainer.ranks.size > 1:
        where, each = f"{trainer.ranks.size} processes, the first on {where}", " each"
    return (
        f"{verb} {expected['parameters']:,} parameters on {expected['training_molecules']:,} molecules, steps 0 to "
        f"{trainer.recipe.max_t} of {trainer.recipe.diffusion_steps}, on {where}: "
        f"{expected['steps']:,} steps ({epochs:.3g} epochs) in about {human_time(expected['seconds'])}, "
        f"with about {human_bytes(expected['memory_bytes'])} of memory{each}."
    )


def dry_run_table(recipe: "Recipe", expected: dict[str, Any]) -> Table:
    """Every setting, and the estimate."""
    shown = expected | {
        "seconds_per_step": f"{expected['seconds_per_step']:.3g}",
        "seconds": f"{expected['seconds']:.0f} ({human_time(expected['seconds'])})",
        "sampling_seconds": f"{expected['sampling_seconds']:.0f}",
        "memory_bytes": human_bytes(expected["memory_bytes"]),
    }
    rows = [*asdict(recipe).items(), *((name.replace("_", " "), value) for name, value in shown.items())]
    return Table(columns=("setting", "value"), rows=[(k, _plain(v)) for k, v in rows], title="What would be trained")


def _plain(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(f"{v:g}" for v in value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else text(value)


def metrics_line(row: "Metrics") -> str:
    """One measurement as a line."""
    stable = (
        ""
        if row.atom_stable is None
        else f", atoms {row.atom_stable:.1%} and molecules {row.molecule_stable:.1%} stable"
    )
    train = "–" if row.train_loss is None else f"{row.train_loss:.4f}"
    valid = "–" if row.valid_loss is None else f"{row.valid_loss:.4f}"
    return f"step {row.step:,}, epoch {row.epoch}: loss {train}, validation {valid}{stable}"


def payload(record: "TrainingRecord") -> dict[str, Any]:
    """The record as JSON has it."""
    return {
        "finished": record.finished,
        "checkpoint": record.checkpoint,
        "checkpoint_sha256": record.checkpoint_sha256,
        "max_t": record.max_t,
        "steps": record.steps,
        "seconds": record.seconds,
        "products": record.products,
        "metrics": {f: getattr(record.metrics, f) for f in record.metrics.__dataclass_fields__},
    }


def summary(record: "TrainingRecord") -> Table:
    """The last measurement."""
    last = {name: column[-1] for name, column in vars(record.metrics).items() if len(column)}
    return Table(columns=("at the end", "value"), rows=list(last.items()), title=f"{record.steps:,} steps")
