"""Molecules as a stream: in the order of their keys, or batch by batch as they finish; and how long one takes.

Sampling starts from a reference that stands for q(z_T*) (Qu et al. 2026), not from the prior at T. The steps
are in `batch`; `loop` is the page to read first.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from threading import Event

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64, UInt8
from torch import Tensor

from gaga.core.errors import InvalidInput
from gaga.core.molecules import offsets_of
from gaga.core.progress import Progress, silent
from gaga.core.rng import MAX_SEED
from gaga.core.threads import ahead, map_in_threads
from gaga.models.model import Model
from gaga.models.ranks import Ranks
from gaga.models.sampling.config import SampleConfig
from gaga.models.sampling.engine import Engine, FinishedBatch, StepCounter, parameters_of
from gaga.models.sampling.guidance import Guide
from gaga.models.sampling.loop import Condition, Edit
from gaga.models.sampling.molecules import Sampled
from gaga.models.sampling.plan import Batch, Plan
from gaga.models.sampling.solvers import solver_of
from gaga.models.sampling.steering import steer
from gaga.noise import Reference

__all__ = ["SampleConfig", "Sampled", "sample_batches", "sample_stream", "seconds_per_molecule"]

_SAMPLE = 16  # batches to choose a typical one from


def sample_stream(
    model: Model,
    indices: Sequence[int],
    config: SampleConfig,
    *,
    seed: int = 0,
    reference: Reference | None = None,
    edit: Edit | None = None,
    condition: Condition | None = None,
    guide: Guide | None = None,
    progress: Progress = silent,
) -> Iterator[Sampled]:
    """Molecules for these keys, in their order, as soon as that order allows.

    Args:
        model: what to sample from.
        indices: molecule keys, each once; the same key and seed give the same molecule whatever else is drawn, up to
            floating-point summation order.
        config: how to sample.
        seed: the run's seed, 0 to 2^32 - 1.
        reference: what the first step is drawn from; what `config` names by default.
        edit: what is done to the molecules after each step; what `config` asks for by default.
        condition: what each molecule is asked to be like, for a network that takes a context; what `config` asks for
            by default.
        guide: a score that molecules are drawn towards.
        progress: called after each step of a batch with molecule-steps done and in all.

    Raises:
        InvalidInput: the seed or the first step is out of range, or the model holds no moments.
        Unavailable: a molecule does not fit into the device's memory.
    """
    finished: dict[int, Sampled] = {}
    awaited = iter(indices)
    key = next(awaited, None)
    batches = sample_batches(
        model, indices, config, seed=seed, reference=reference, edit=edit, condition=condition, guide=guide,
        progress=progress,
    )  # fmt: skip
    for batch in batches:
        finished.update((molecule.index, molecule) for molecule in batch)
        while key is not None and key in finished:
            yield finished.pop(key)
            key = next(awaited, None)


def sample_batches(
    model: Model,
    indices: Sequence[int],
    config: SampleConfig,
    *,
    seed: int = 0,
    done: Bool[np.ndarray, " M"] | None = None,
    ranks: Ranks | None = None,
    framed: int | None = None,
    reference: Reference | None = None,
    edit: Edit | None = None,
    condition: Condition | None = None,
    guide: Guide | None = None,
    progress: Progress = silent,
) -> Iterator[list[Sampled]]:
    """Batches of molecules as they are finished, like sizes together; arguments and errors as of `sample_stream`.

    Which molecules share a batch depends on `indices`, the batch size and the kind of device alone, so that a run that
    is resumed, with the keys that it has done, and several processes, each with its own batches, compute what an
    uninterrupted one would have. A batch that is not done whole is computed again.

    Args:
        done: which of `indices` are not needed any more.
        ranks: this process among those that draw one another's batches; each batch is drawn by one of them.
        framed: keep frames only in batches that have a molecule with a key below this.
    """
    if not 0 <= seed <= MAX_SEED:
        raise InvalidInput(f"a seed is a whole number from 0 to {MAX_SEED}", received=seed)
    ranks, steering = ranks or Ranks(), steer(model, config)
    config, edit, reference = steering.config, edit or steering.edit, reference or steering.reference
    wanted = None if steering.asked is None or condition is not None else steering.asked.by(seed)
    guidance = steering.guidance if guide is None else replace(guide, inner=steering.guidance)
    steps, device = solver_of(model, config), parameters_of(model).device
    plan = Plan(indices, steering.moments, config, seed, device)

    def mine() -> Iterator[Batch]:
        for batch in plan.batches():
            needed = done is None or not done[batch.places].all()
            if needed and (seed + batch.number) % ranks.size == ranks.rank:
                yield batch

    counter = StepCounter(progress, sum(len(batch.keys) for batch in mine()) * len(steps))
    run = Engine(
        model, config, seed=seed, counter=counter, framed=framed, reference=reference, edit=edit,
        condition=condition or wanted, guidance=guidance,
    )  # fmt: skip
    with _threads_for(model, device, mine()) as threads:
        for outcome in _outcomes(run, mine(), threads, counter.stop):
            molecules = _unpack(model, outcome) if wanted is None else wanted.noted(_unpack(model, outcome))
            yield [steering.finished(molecule, seed) for molecule in molecules]


def _outcomes(run: Engine, batches: Iterable[Batch], threads: int, stop: Event) -> Iterator[FinishedBatch]:
    """Batches as they arrive: `threads` of them side by side, or one at a time if the device is busy by itself (0)."""
    if threads == 0:
        yield from ahead(run.outcomes(ahead(map(run.start, batches), 1)), 2, stop=stop)
        return

    def draw(batch: Batch) -> list[FinishedBatch]:
        return list(run.outcomes([run.start(batch)]))

    for outcomes in map_in_threads(draw, batches, threads, stop=stop):
        yield from outcomes


@contextmanager
def _threads_for(model: Model, device: torch.device, batches: Iterator[Batch]) -> Iterator[int]:
    """How many batches run side by side: on the CPU as many as torch has threads, each on one thread; else 0.

    A choice for shared machines (benchmarks/RESULTS.md): if another program takes a core it is a third faster than
    threads inside the small operations of one batch, which then wait for each other; else a little slower.
    """
    if device.type != "cpu":
        yield 0
        return
    threads = torch.get_num_threads()
    side_by_side = len(list(islice(batches, threads)))
    interpreted = getattr(model.network, "kernel", "") == "triton"  # Triton's interpreter runs one launch at a time
    if side_by_side < 2 or interpreted:
        yield 1
        return
    torch.set_num_threads(1)
    try:
        yield side_by_side
    finally:
        torch.set_num_threads(threads)


def _unpack(model: Model, outcome: FinishedBatch) -> list[Sampled]:
    """The molecules of a batch, their types decoded and their positions in Å."""
    offsets = offsets_of(outcome.start.sizes)
    molecules, guessed = _decoded(model, outcome.z, offsets)
    histories = [_decoded(model, frame, offsets)[0] for frame in outcome.frames]
    sampled = []
    for i, (numbers, places) in enumerate(molecules):
        finite = bool(np.isfinite(places).all())
        history = tuple(frame[i] for frame in histories) + (((numbers, places),) if histories else ())
        places = places if finite else np.full_like(places, np.nan)
        sampled.append(Sampled(int(outcome.start.keys[i]), numbers, places, finite, history, bool(guessed[i])))
    return sampled


def _decoded(
    model: Model, z: Tensor, offsets: Int64[np.ndarray, " M_plus_1"]
) -> tuple[list[tuple[UInt8[np.ndarray, " N"], Float32[np.ndarray, "N 3"]]], Bool[np.ndarray, " M"]]:
    """Elements and positions in Å of each molecule, and which are of one element that their types do not tell."""
    numbers, places, guessed = model.space.decode(z.double().numpy(), offsets)
    for start, stop in np.stack([offsets[:-1], offsets[1:]], axis=1)[guessed]:
        numbers[start:stop] = model.known_moments().element_alone(int(stop - start)) or numbers[start:stop]
    cuts = offsets[1:-1]
    return list(zip(np.split(numbers, cuts), np.split(places, cuts), strict=True)), guessed


def seconds_per_molecule(model: Model, config: SampleConfig, n_molecules: int = 64) -> float:
    """Measured on this machine: the time of one step of a batch, times the steps, over batches side by side.

    Args:
        model: what to sample from.
        config: how to sample.
        n_molecules: how many are to be drawn; the batch is one of theirs.
    """
    device = parameters_of(model).device
    steering = steer(model, config)
    config = steering.config
    plan = Plan(range(n_molecules), steering.moments, config, 0, device)
    batches = list(islice(plan.batches(), _SAMPLE))
    batch = batches[len(batches) // 2]
    run = Engine(
        model, config, seed=0, counter=StepCounter(silent, 0), reference=steering.reference, edit=steering.edit,
        condition=steering.asked, guidance=steering.guidance,
    )  # fmt: skip
    with _threads_for(model, device, iter(batches)) as threads:
        seconds = run.seconds_per_step(run.start(batch)) / max(1, threads)
    return seconds * len(solver_of(model, config)) / len(batch.keys)
