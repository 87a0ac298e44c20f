"""Training on [0, T*]: a step after another, their log, and a state that resumes bit for bit on the CPU.

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
from gaga.data.features import FeatureSpace
from gaga.models.checkpoint import Checkpoint, file_digest, save_checkpoint
from gaga.models.diffusion import Diffusion
from gaga.models.model import Model
from gaga.models.network.kernels import products
from gaga.models.ranks import ALONE, RankLost, Ranks
from gaga.models.training.checkpoint import checkpoint_of, model_of
from gaga.models.training.features import Columns
from gaga.models.training.initial import initial_network, precondition_of
from gaga.models.training.log import History, Metrics, is_logged, sampled_stability, validated
from gaga.models.training.objective import Objective
from gaga.models.training.optimiser import Optimiser
from gaga.models.training.prefetch import Feed
from gaga.models.training.recipe import Recipe
from gaga.models.training.state import Counters, TrainingState, differences, write_skipped_step
from gaga.models.training.step import REMEMBERED, Stepper
from gaga.noise import Moments, make_schedule
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
        folder: where the run is kept; created where missing.
        seed: of weights, order and noise.
        budget_s: seconds after which a full learning-rate schedule has ended; the recipe's length where None.
        device, kernel: where and how the network runs.
        init_from: a checkpoint whose weights are the start.
        provenance: what else the checkpoint should say about its origin.
        ranks: the processes that train together, connected.
        held_bytes: training sets with larger columns are streamed, to the same numbers; see `Columns.of`.

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
        self.dataset, self.recipe, self.moments, self.folder = dataset, recipe, moments, folder
        self.seed, self.budget_s, self.device, self.ranks = seed, budget_s, torch.device(device), ranks
        self.products = products.library_on(self.device)
        self.provenance = provenance or {}
        self.init_digest = None if init_from is None else file_digest(init_from)
        self.space = FeatureSpace(
            vocabulary=dataset.vocabulary, factors=recipe.factors, include_charges=recipe.include_charges,
            centred_features=recipe.centred_features,
        )  # fmt: skip
        schedule = make_schedule(recipe.schedule, recipe.diffusion_steps, recipe.precision_of_schedule)
        sizes = dataset.molecules.n_atoms[dataset.splits["train"]]
        mean_atoms = float(sizes.mean()) if len(sizes) else None
        network = initial_network(recipe, self.space, seed, kernel, init_from, mean_atoms=mean_atoms)
        self.network = network.to(self.device)
        self.network.require_kernel()
        self.precondition = precondition_of(recipe, self.space, moments, init_from)
        self.diffusion = Diffusion(self.network, schedule, self.space, precondition=self.precondition)
        self.train_set = self._columns(dataset.splits["train"], held_bytes)
        self.valid_set = self._columns(validated(dataset), held_bytes)
        self.objective = Objective(recipe, seed)
        self.objective.check(self.train_set)
        self.optimiser = Optimiser(self.network, recipe)
        self.stepper = Stepper(self.objective, self.diffusion, self.train_set, self.optimiser, ranks)
        self.look_every = REMEMBERED if self.device.type == "cuda" else 1
        self.counters = Counters()
        self.history = History()
        self._saved: int | None = None  # step of this run's newest state in the folder
        self._began = time.monotonic()  # when the run would have begun if this sitting were its first

    def _columns(self, chosen: Int64[np.ndarray, " n"], held_bytes: int | None) -> Columns:
        return Columns.of(self.dataset.molecules, self.space, self.device, chosen=chosen, held_bytes=held_bytes)

    @property
    def model_path(self) -> Path:
        """Where the averaged weights are kept."""
        return self.folder / MODEL_FILE

    def rows(self) -> list[Metrics]:
        """The measurements so far."""
        return self.history.measured

    @cached_property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in one pass over the training set."""
        return self.objective.epochs(self.train_set).length

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole run, where no budget ends it earlier."""
        return self.recipe.steps or self.recipe.epochs * self.steps_per_epoch

    def run(
        self,
        *,
        progress: Progress = silent,
        on_metrics: Callable[[Metrics], None] = lambda row: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Train to the end, or until `should_stop` of any process; the state is saved either way.

        `on_metrics` is called by rank 0 alone, with each measurement. Returns whether the run ended.

        Raises:
            GagaError: the loss or its gradient was not finite in ten steps on end.
            Conflict: another process has other data or another recipe.
            RankLost: another process has ended; on the CPU the last whole step is saved.
        """
        self._meet()
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
        """Steps until the run has ended or somebody asks to stop: whether it ended."""
        c = self.counters
        saved = time.monotonic()
        self._began = saved - c.seconds
        if self._owes_a_measurement():  # the process before was killed before it made it
            self._measure(on_metrics)
        with closing(Feed(self.stepper, c.step)) as feed:
            stop = self._agree(should_stop)
            while not (ended := self._fraction_done() >= 1.0) and not stop:
                self._advance(feed)
                stop = self._agree(should_stop)
                self._report(progress)
                if self._owes_a_measurement():
                    self.save()
                    self._measure(on_metrics)
                if time.monotonic() - saved > self.recipe.save_every_s:
                    self.save()
                    saved = time.monotonic()
        return ended

    def _owes_a_measurement(self) -> bool:
        """Whether the log has no measurement yet of a step after which it has one."""
        step = self.counters.step
        due = step > 0 and self.recipe.measures_after(step) and self._fraction_done() < 1.0
        return due and not self.history.reaches(step)

    def _meet(self) -> None:
        """All processes go on from what rank 0 has, on the same data by the same recipe."""
        if self.ranks.size == 1:
            return
        theirs = self.ranks.from_first(lambda: (self._identity(), self.counters, self.history, self.products))
        if differing := differences(theirs[0], self._identity()):
            raise Conflict(
                f"rank {self.ranks.rank} was started with another {', '.join(differing)} than rank 0",
                remedy="start all processes with the same command on the same data",
            )
        self.counters, self.history, self.products = *theirs[1:3], products.library_on(self.device, theirs[3])
        self.ranks.take_from_first(self.optimiser.tensors().values())

    def _open_folder(self) -> None:
        if self.ranks.first:
            self.folder.mkdir(parents=True, exist_ok=True)
            require_writable(self.model_path)
            if self.counters.step == 0:
                (self.folder / BEST_FILE).unlink(missing_ok=True)

    def _agree(self, should_stop: Callable[[], bool]) -> bool:
        """Whether any process was asked to stop. All take rank 0's clock."""
        if self.ranks.size == 1:
            return should_stop()
        mine = (self.counters.seconds if self.ranks.first else 0.0, float(should_stop()))
        said = self.ranks.sum(torch.tensor(mine, dtype=torch.float64, device=self.device))
        self.counters.seconds, asked = said.tolist()
        return bool(asked)

    def _advance(self, feed: Feed) -> None:
        """Steps up to the next look, and that look at what they came to."""
        c, began, waited = self.counters, time.monotonic(), feed.waited
        first, members_of = c.step, []
        for step, members, batch in islice(feed, self._until_look()):
            self.stepper(batch, step, self._learning_rate(), self.recipe.ema_decay_at(step))
            members_of.append(members)
            c.step = step + 1
        outcomes = self.stepper.look(first, c.step).tolist()
        c.seconds = time.monotonic() - self._began
        self.history.window.spend(time.monotonic() - began, feed.waited - waited)
        for step, (members, (loss, norm, limit, taken)) in enumerate(zip(members_of, outcomes, strict=True), first):
            self.history.window.add(loss, norm, limit)
            c.bad_steps = 0 if taken else c.bad_steps + 1
            if not taken:
                self._tell_bad_step(step, members, loss, norm)
            if is_logged(step + 1) and not self.recipe.measures_after(step + 1) and self._fraction_done(step + 1) < 1.0:
                self._log(step + 1, measured=False, **self.history.window.latest(step + 1 - self.history.step))

    def _until_look(self) -> int:
        """Steps until there is something to look at: every few, where something is measured, and at the end."""
        step = self.counters.step
        left = self.look_every if self.budget_s else self.total_steps - step
        return min(self.look_every - step % self.look_every, self.recipe.until_measured(step), left)

    def _learning_rate(self, step: int | None = None) -> float:
        step = self.counters.step if step is None else step
        return self.recipe.learning_rate_at(step, self._fraction_done(step))

    def _fraction_done(self, step: int | None = None) -> float:
        """By time where a budget is given (a full schedule in that time), else by steps, of now or up to this one."""
        c = self.counters
        return c.seconds / self.budget_s if self.budget_s else (c.step if step is None else step) / self.total_steps

    def _report(self, progress: Progress) -> None:
        c, note = self.counters, self.history.window.note()
        if self.budget_s:
            progress(int(min(c.seconds, self.budget_s)), int(self.budget_s), f"step {c.step:,}, {note}")
        else:
            progress(c.step, self.total_steps, note)

    def _tell_bad_step(self, step: int, members: Int64[np.ndarray, " B"], loss: float, norm: float) -> None:
        """Write down a step that was skipped; the tenth on end is the last."""
        log.warning("step %d skipped: loss %s, gradient norm %s", step, loss, norm)
        if self.ranks.first:
            write_skipped_step(self.folder / SKIPPED_FILE, step, self.seed, self.dataset.splits["train"][members])
        if self.counters.bad_steps >= _MAX_BAD_STEPS:
            self.save()
            self.ranks.wait()
            raise GagaError(
                f"the loss or its gradient was not finite in {_MAX_BAD_STEPS} steps on end",
                received=f"step {step}",
                remedy=f"start from {self.model_path} with `init_from`, a lower `learning_rate` and another `name`",
            )

    def model(self) -> Model:
        """The averaged weights as a model."""
        return model_of(self)

    def checkpoint(self) -> Checkpoint:
        """The averaged weights with everything that sampling needs."""
        return checkpoint_of(self)

    def _log(self, step: int, **values: Any) -> Metrics:
        """One more row of the log, about this step."""
        epoch, rate = step // self.steps_per_epoch, self._learning_rate(step)
        row = Metrics(step=step, epoch=epoch, seconds=self.counters.seconds, learning_rate=rate, **values)
        self.history.add(row)
        if self.ranks.first:
            self._keep_best(row)
            self.history.write(self.folder / METRICS_FILE)
        return row

    def _measure(self, on_metrics: Callable[[Metrics], None], *, last: bool = False) -> None:
        """One more measurement in the log."""
        step, every, model = self.counters.step, self.recipe.sample_every, self.model()
        values: dict[str, Any] = dict(self.history.window.means())
        values["valid_loss"] = self.objective.validation_loss(model, self.valid_set, ranks=self.ranks)
        if last or (every and step % every == 0):
            seed, n = (self.seed + 1) % 2**32, self.recipe.stability_samples
            stable = sampled_stability(model, n, seed, self.device, self.ranks)
            values |= zip(("atom_stable", "molecule_stable"), stable, strict=True)
        row = self._log(step, **values)
        if self.ranks.first:
            on_metrics(row)

    def _keep_best(self, row: Metrics) -> None:
        """Save the averaged weights if no measurement before had a validation loss as low."""
        if row.valid_loss is not None and row.valid_loss < self.history.lowest_loss(before=row):
            save_checkpoint(self.checkpoint(), self.folder / BEST_FILE)

    def save(self) -> None:
        """Write log, model and state, as rank 0; each replaces the one before only when it is whole.

        The state comes last: wherever this ends, what goes on from the state finds a log that reaches as far.
        """
        if self.ranks.first:
            self.history.write(self.folder / METRICS_FILE)
            save_checkpoint(self.checkpoint(), self.folder / MODEL_FILE)
            if self._saved == self.counters.step and (self.folder / STATE_FILE).exists():
                return
            tensors, window = self.optimiser.tensors(), asdict(self.history.window)
            state = TrainingState(self.counters, self._identity(), tensors, window, self.products or "")
            state.save(self.folder / STATE_FILE, first=self._saved is None)
            self._saved = self.counters.step

    def resume(self) -> None:
        """Go on from the state in the folder; log lines from after that state are dropped.

        Rank 0 reads it, and tells the others when the run begins.

        Raises:
            InvalidInput: there is no state, or it cannot be read.
            Conflict: the state belongs to another recipe, seed, budget or data set.
        """
        self.ranks.from_first(self._read_state)

    def _read_state(self) -> None:
        path = self.folder / STATE_FILE
        state = TrainingState.load_newest(path, self.device)
        state.refuse_other(self._identity(), path)
        self.optimiser.restore(state.tensors)
        self.counters, self._saved = state.counters, state.counters.step
        self.products = products.library_on(self.device, state.products)
        self.history = History.at(state.counters.step, self.folder / METRICS_FILE, state.window)

    def _identity(self) -> dict[str, Any]:
        return {"seed": self.seed, "budget_s": self.budget_s, "recipe": asdict(self.recipe),
                "dataset": self.dataset.fingerprint, "vocabulary": list(self.dataset.vocabulary),
                "init_from": self.init_digest}  # fmt: skip
