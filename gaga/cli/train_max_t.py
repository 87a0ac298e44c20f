"""The last step that `gaga train` trains on: a number, or the T* of a stored result."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gaga.cli.errors import usage_error
from gaga.cli.render import Output
from gaga.core.errors import InvalidInput

if TYPE_CHECKING:
    from gaga.models.training.recipe import Recipe
    from gaga.storage.store import Store


def check_max_t(max_t: str | None, tstar: str | None) -> None:
    """Refuse what says no step.

    Raises:
        UsageError: --max-t is neither a step nor auto, or --tstar is given beside it.
    """
    if tstar is not None and max_t is not None:
        raise usage_error("--max-t and --tstar both say where to stop; give one of them")
    if max_t is not None and max_t.lower() != "auto" and not max_t.isdecimal():
        raise usage_error(f"invalid value for --max-t: {max_t!r}; write a step such as 550, or auto")


def with_max_t(
    recipe: "Recipe",
    results: "Store",
    dataset: str,
    max_t: str | None,
    tstar: str | None,
    *,
    cache: Path | None,
    output: Output,
) -> tuple["Recipe", dict[str, str]]:
    """The recipe with its T*, and the stored result that T* came from."""
    if tstar is None and max_t is None:
        return recipe, {}
    if max_t is not None and max_t.lower() != "auto":
        return replace(recipe, max_t=int(max_t)), {}
    from gaga.cli.tstar import default_tstar, stored_tstar
    from gaga.noise import Schedule, make_schedule

    if tstar is None:
        entry, result = default_tstar(results, dataset, cache=cache, output=output)
    else:
        entry, result = stored_tstar(results, tstar)
    if result.tstar is None:
        raise InvalidInput(f"{entry.kind}/{entry.name} found no step that passes", remedy="name a step with --max-t")
    mine = make_schedule(recipe.schedule, recipe.diffusion_steps, recipe.precision_of_schedule)
    if not mine.matches(Schedule(result.schedule, result.gamma)):
        raise InvalidInput(
            f"T* of {entry.name} belongs to another schedule, {result.schedule} of {result.T} steps",
            received=f"{recipe.schedule} of {recipe.diffusion_steps} steps, precision {recipe.precision_of_schedule:g}",
            remedy="measure T* with this schedule, train with that one, or name a step with --max-t",
        )
    output.note(f"T* = {result.tstar}, from {entry.kind}/{entry.name}.")
    return replace(recipe, max_t=result.tstar), {f"{entry.kind}/{entry.name}": entry.digest}
