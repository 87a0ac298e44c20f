"""Training on [0, T*]: step after step, their log, and a state from which a run resumes bit for bit on the CPU.

Recipe of Hoogeboom et al. 2022 (EDM), appendix E, and Qu et al. 2026 (GAGA). Everything random in step k is keyed
by (seed, k), so that the state is the weights, their moments and a few numbers, whatever the number of processes.
"""

import logging
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64

from gaga.core.errors import Conflict, GagaError
from gaga.core.progress import Progress, silent
from gaga.data.dataset import Dataset
from gaga.models.checkpoint import Checkpoint, save_checkpoint
from gaga.models.diffusion import Diffusion
from gaga.models.model import Model
from gaga.models.network.kernels import products
from gaga.models.ranks import ALONE, RankLost, Ranks
from gaga.models.training.features import Features
from gaga.models.training.log import History, Metrics, is_logged, sampled_stability, validated
from gaga.models.training.objective import Objective
from gaga.models.training.optimiser import Optimiser
from gaga.models.training.recipe import Recipe
from gaga.models.training.setup import begin, checkpoint_of, model_of
from gaga.models.training.state import Counters, TrainingState, differences, write_skipped_step
from gaga.models.training.step import REMEMBERED, Prefetch, Stepper
from gaga.noise import Moments
from gaga.storage.files import require_writable

MODEL_FILE, BEST_FILE, STATE_FILE = "model.safetensors", "best.safetensors", "state.safetensors"
METRICS_FILE, SKIPPED_FILE = "metrics.jsonl", "skipped_step.json"
_MAX_BAD_STEPS = 10
log = logging.getLogger(__name__)


class Trainer:
    """One training run in a folder: `model.safetensors`, `state.safetensors` and `metrics.jsonl`.

    The two states before the newest are kept, and the averaged weights of the lowest validation loss so far.

    Several processes may run it together, each with the same arguments but its own device and rank: they share each
    batch, and rank 0 writes the folder.

    Args:
        dataset: molecules with their split.
        recipe: every hyperparameter.
        moments: second moments of the training split, kept in the checkpoint.
        folder: where the run is kept; created if missing.
        seed: of weights, order and noise.
        budget_s: seconds after which a full learning-rate schedule has ended; None for the recipe's length.
        device, kernel: where and how the network runs.
        init_from: a checkpoint whose weights are the start.
        provenance: what else the checkpoint should say about its origin.
        ranks: the processes that train together, connected.
        held_bytes: a training set with larger columns is streamed, with the same results; see `Features.of`.

    Raises:
        InvalidInput: recipe and data, or recipe and `init_from`, do not fit together.
        Unavailable: the kernel was asked for by name and cannot run on the device.
    """

    def __init__(
        self,
        dataset: Dataset,
        recipe: Recipe,
        moments: Moments,
        folder: Path,
        *,
        seed: int = 0,
        budget_s: float | None = None,
        device: torch.device | str = "cpu",
        kernel: str = "auto",
        init_from: Path | None = None,
        provenance: dict[str, Any] | None = None,
        ranks: Ranks = ALONE,
        held_bytes: int | None = None,
    ) -> None:
        self.recipe, self.folder, self.budget_s = recipe, folder, budget_s
        self.device, self.ranks = torch.device(device), ranks
        self.products = products.library_on(self.device)
        self.setup, network = begin(
            dataset, recipe, moments, seed=seed, budget_s=budget_s, kernel=kernel, init_from=init_from,
            provenance=provenance,
        )  # fmt: skip
        self.network = network.to(self.device)
        self.network.require_kernel()
        self._trained = dataset.splits["train"]
        self.train_set, self.valid_set = (
            Features.of(dataset.molecules, self.setup.space, self.device, chosen=chosen, held_bytes=held_bytes)
            for chosen in (self._trained, validated(dataset))
        )
        if (conditioning := self.setup.conditioning) is not None:
            contexts = conditioning.contexts_of(dataset)
            self.train_set.context, self.valid_set.context = contexts[self._trained], contexts[validated(dataset)]
        self.objective = Objective(recipe, seed)
        self.objective.check(self.train_set)
        self.optimiser = Optimiser(self.network, recipe)
        diffusion = Diffusion(self.network, self.setup.schedule, self.setup.space, precondition=self.setup.precondition)
        self.stepper = Stepper(self.objective, diffusion, self.train_set, self.optimiser, ranks)
        self.look_every = REMEMBERED if self.device.type == "cuda" else 1  # steps between waits for the device
        self.counters, self.history = Counters(), History()
        self.saved_step: int | None = None  # of this run's newest state and model in the folder
        self._began = time.monotonic()  # when the run would have begun if it had never been interrupted

    @property
    def model_path(self) -> Path:
        """Where the averaged weights are kept."""
        return self.folder / MODEL_FILE

    @cached_property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in one pass over the training set."""
        return self.objective.epochs(self.train_set).length

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole run, if no budget ends it earlier."""
        return self.recipe.steps or self.recipe.epochs * self.steps_per_epoch

    def run(
        self,
        *,
        progress: Progress = silent,
        on_metrics: Callable[[Metrics], None] = lambda row: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Train to the end, or until `should_stop` of any process; the state is saved in both cases.

        `on_metrics` is called by rank 0 alone, with each measurement. Returns whether the run ended.

        Raises:
            GagaError: the loss or its gradient was not finite in ten steps in a row.
            Conflict: another process has other data or another recipe.
            RankLost: another process has ended; on the CPU the last whole step is saved.
        """
        self._agree_on_start()
        if self.ranks.first:
            self._open_folder()
        try:
            with products.fixed(self.products):
                ended = self._train(progress, on_metrics, should_stop)
                self.stepper.forget()
                self.save()
                if ended and not self.history.reaches(self.counters.step, sampled=True):
                    self._measure(on_metrics, last=True)
                    self.save()
            self.ranks.wait()
        except RankLost:
            if self.device.type == "cpu":  # a GPU that waits for another one may never answer
                self.save()
            raise
        return ended

    def _train(
        self, progress: Progress, on_metrics: Callable[[Metrics], None], should_stop: Callable[[], bool]
    ) -> bool:
        """Take steps until the run has ended or a process is asked to stop; returns whether the run has ended."""
        saved = time.monotonic()
        self._began = saved - self.counters.seconds
        if self._measurement_is_due():  # an earlier process was killed before it measured
            self._measure(on_metrics)
        with closing(Prefetch(self.stepper, self.counters.step)) as batches:
            stop = self._asked_to_stop(should_stop)
            while not (ended := self._fraction_done() >= 1.0) and not stop:
                self._advance(batches)
                stop = self._asked_to_stop(should_stop)
                self._report(progress)
                if self._measurement_is_due():
                    self.save()
                    self._measure(on_metrics)
                if time.monotonic() - saved > self.recipe.save_every_s:
                    self.save()
                    saved = time.monotonic()
        return ended

    def _advance(self, batches: Prefetch) -> None:
        """Take steps without waiting for the device, then look at their outcomes."""
        c, began, waited = self.counters, time.monotonic(), batches.waited
        first, members_of = c.step, []
        for step, members, batch in islice(batches, self._steps_until_look()):
            self.stepper(batch, step, self._learning_rate(), self.recipe.ema_decay_at(step))
            members_of.append(members)
            c.step = step + 1
        outcomes = self.stepper.outcomes(first, c.step).tolist()
        c.seconds = time.monotonic() - self._began
        self.history.window.spend(time.monotonic() - began, batches.waited - waited)
        for step, (members, (loss, norm, limit, taken)) in enumerate(zip(members_of, outcomes, strict=True), first):
            self.history.window.add(loss, norm, limit)
            c.bad_steps = 0 if taken else c.bad_steps + 1
            if not taken:
                self._skip(step, members, loss, norm)
            if is_logged(step + 1) and not self.recipe.measures_after(step + 1) and self._fraction_done(step + 1) < 1.0:
                self._log(step + 1, measured=False, **self.history.window.latest(step + 1 - self.history.step))

    def _steps_until_look(self) -> int:
        """Steps until the next look at outcomes: every few steps, when something is measured, and at the end."""
        step = self.counters.step
        left = self.look_every if self.budget_s else self.total_steps - step
        return min(self.look_every - step % self.look_every, self.recipe.until_measured(step), left)

    def _learning_rate(self, step: int | None = None) -> float:
        step = self.counters.step if step is None else step
        return self.recipe.learning_rate_at(step, self._fraction_done(step))

    def _fraction_done(self, step: int | None = None) -> float:
        """Of the budget's time if there is one (a full schedule in that time), else of the steps: now, or at `step`."""
        c = self.counters
        return c.seconds / self.budget_s if self.budget_s else (c.step if step is None else step) / self.total_steps

    def _report(self, progress: Progress) -> None:
        c, note, budget_s = self.counters, self.history.window.note(), self.budget_s
        if budget_s:
            progress(int(min(c.seconds, budget_s)), int(budget_s), f"step {c.step:,}, {note}")
        else:
            progress(c.step, self.total_steps, note)

    def _skip(self, step: int, members: Int64[np.ndarray, " B"], loss: float, norm: float) -> None:
        """Write down a step that was skipped; the tenth in a row ends the run."""
        log.warning("step %d skipped: loss %s, gradient norm %s", step, loss, norm)
        if self.ranks.first:
            write_skipped_step(self.folder / SKIPPED_FILE, step, self.setup.seed, self._trained[members])
        if self.counters.bad_steps >= _MAX_BAD_STEPS:
            self.save()
            self.ranks.wait()
            raise GagaError(
                f"the loss or its gradient was not finite in {_MAX_BAD_STEPS} steps on end",
                received=f"step {step}",
                remedy=f"start from {self.model_path} with `init_from`, a lower `learning_rate` and another `name`",
            )

    def _agree_on_start(self) -> None:
        """All processes start from what rank 0 has, on the same data by the same recipe."""
        if self.ranks.size == 1:
            return
        identity = self.setup.identity()
        first = self.ranks.from_first(lambda: (identity, self.counters, self.history, self.products))
        if differing := differences(first[0], identity):
            raise Conflict(
                f"rank {self.ranks.rank} was started with another {', '.join(differing)} than rank 0",
                remedy="start all processes with the same command on the same data",
            )
        self.counters, self.history, self.products = *first[1:3], products.library_on(self.device, first[3])
        self.ranks.take_from_first(self.optimiser.tensors().values())

    def _asked_to_stop(self, should_stop: Callable[[], bool]) -> bool:
        """Whether any process was asked to stop. All take rank 0's clock."""
        if self.ranks.size == 1:
            return should_stop()
        mine = (self.counters.seconds if self.ranks.first else 0.0, float(should_stop()))
        total = self.ranks.sum(torch.tensor(mine, dtype=torch.float64, device=self.device))
        self.counters.seconds, asked = total.tolist()
        return bool(asked)

    def _open_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        require_writable(self.model_path)
        if self.counters.step == 0:
            (self.folder / BEST_FILE).unlink(missing_ok=True)

    def model(self) -> Model:
        """The averaged weights as a model."""
        return model_of(self.setup, self.network, self.optimiser.ema)

    def checkpoint(self) -> Checkpoint:
        """The averaged weights with everything that sampling needs."""
        return checkpoint_of(
            self.setup, self.network, self.optimiser.ema, self.history.last, steps=self.counters.step,
            molecules_seen=self._molecules_seen(), training_seconds=round(self.counters.seconds),
            device=str(self.device), processes=self.ranks.size, products=self.products or "",
        )  # fmt: skip

    def _molecules_seen(self) -> int:
        """By the batch size, or by the mean batch if batches are filled by edges."""
        if self.recipe.batch_edges is None:
            return self.counters.step * self.recipe.batch_size
        return round(self.counters.step * len(self.train_set) / self.steps_per_epoch)

    def _measurement_is_due(self) -> bool:
        """Whether the log should have a measurement of this step and has none."""
        step = self.counters.step
        due = step > 0 and self.recipe.measures_after(step) and self._fraction_done() < 1.0
        return due and not self.history.reaches(step)

    def _measure(self, on_metrics: Callable[[Metrics], None], *, last: bool = False) -> None:
        """One more measurement in the log."""
        step, every, model = self.counters.step, self.recipe.sample_every, self.model()
        loss = self.objective.validation_loss(model, self.valid_set, ranks=self.ranks)
        stable = {}
        if last or (every and step % every == 0):
            seed, n = (self.setup.seed + 1) % 2**32, self.recipe.stability_samples
            stable = sampled_stability(model, n, seed, self.device, self.ranks)
        row = self._log(step, valid_loss=loss, **self.history.window.means(), **stable)
        if self.ranks.first:
            on_metrics(row)

    def _log(self, step: int, **values: Any) -> Metrics:
        """One more row of the log, about this step; weights whose validation loss is the lowest so far are saved."""
        epoch, rate = step // self.steps_per_epoch, self._learning_rate(step)
        row = Metrics(step=step, epoch=epoch, seconds=self.counters.seconds, learning_rate=rate, **values)
        self.history.add(row)
        if self.ranks.first:
            if row.valid_loss is not None and row.valid_loss < self.history.lowest_loss(before=row):
                save_checkpoint(self.checkpoint(), self.folder / BEST_FILE)
            self.history.write(self.folder / METRICS_FILE)
        return row

    def save(self) -> None:
        """Write log, model and state, as rank 0; each replaces the one before only when it is whole.

        The state comes last: wherever this is interrupted, the state that is resumed finds a log that reaches as far.
        """
        if self.ranks.first:
            self.history.write(self.folder / METRICS_FILE)
            save_checkpoint(self.checkpoint(), self.folder / MODEL_FILE)
            if self.saved_step == self.counters.step and (self.folder / STATE_FILE).exists():
                return
            tensors, window = self.optimiser.tensors(), asdict(self.history.window)
            state = TrainingState(self.counters, self.setup.identity(), tensors, window, self.products or "")
            state.save(self.folder / STATE_FILE, first=self.saved_step is None)
            self.saved_step = self.counters.step

    def resume(self) -> None:
        """Continue from the state in the folder; log lines from after that state are dropped.

        Rank 0 reads it, and gives it to the others when the run begins.

        Raises:
            InvalidInput: there is no state, or it cannot be read.
            Conflict: the state belongs to another recipe, seed, budget or data set.
        """
        self.ranks.from_first(self._read_state)

    def _read_state(self) -> None:
        path = self.folder / STATE_FILE
        state = TrainingState.load_newest(path, self.device)
        state.refuse_other(self.setup.identity(), path)
        self.optimiser.restore(state.tensors)
        self.counters, self.saved_step = state.counters, state.counters.step
        self.products = products.library_on(self.device, state.products)
        self.history = History.at(state.counters.step, self.folder / METRICS_FILE, state.window)
