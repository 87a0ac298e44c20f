"""Training on [0, T*]: AdamW, EMA, adaptive clipping, and a state that resumes bit for bit on the CPU.

Recipe of Hoogeboom et al. 2022 (EDM), appendix E, and Qu et al. 2026 (GAGA). Everything random in step k is keyed
by (seed, k), so that the state is the weights, their moments and a few numbers.
"""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64

from gaga import __version__
from gaga.base.errors import GagaError, InvalidInput
from gaga.base.files import atomic_write
from gaga.base.progress import Progress, silent
from gaga.data.dataset import Dataset
from gaga.data.features import FeatureSpace
from gaga.models.batches import Columns
from gaga.models.checkpoint import Checkpoint, file_digest, load_checkpoint, save_checkpoint
from gaga.models.clipping import AdaptiveClipping
from gaga.models.diffusion import Diffusion
from gaga.models.egnn import EGNN, EGNNConfig
from gaga.models.measuring import Metrics, Window, read_rows, rows_up_to, sampled_stability
from gaga.models.model import Model
from gaga.models.objective import Objective
from gaga.models.recipes import Recipe
from gaga.models.training_state import Counters, TrainingState, optimizer_tensors
from gaga.noise import Moments, make_schedule

MODEL_FILE, STATE_FILE, METRICS_FILE = "model.safetensors", "state.safetensors", "metrics.jsonl"
_MAX_BAD_STEPS = 10
log = logging.getLogger(__name__)


class Trainer:
    """One training run in a folder: `model.safetensors`, `state.safetensors` and `metrics.jsonl`.

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

    Raises:
        InvalidInput: recipe and data, or recipe and `init_from`, do not fit together.
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
    ) -> None:
        self.dataset, self.recipe, self.moments, self.folder = dataset, recipe, moments, folder
        self.seed, self.budget_s, self.device = seed, budget_s, torch.device(device)
        self.provenance = provenance or {}
        self.init_digest = None if init_from is None else file_digest(init_from)
        self.space = FeatureSpace(
            vocabulary=dataset.vocabulary, factors=recipe.factors, include_charges=recipe.include_charges,
            centred_features=recipe.centred_features,
        )  # fmt: skip
        schedule = make_schedule(recipe.schedule, recipe.diffusion_steps, recipe.precision_of_schedule)
        self.network = self._initial_network(kernel, init_from)
        self.diffusion = Diffusion(self.network, schedule, self.space)
        self.ema = {name: p.detach().clone() for name, p in self.network.named_parameters()}
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, amsgrad=True
        )
        self.objective = Objective(recipe, seed)
        self.clipping = AdaptiveClipping()
        self.train_set = Columns.of(dataset.molecules.take(dataset.splits["train"]), self.space, self.device)
        self.valid_set = Columns.of(dataset.molecules.take(dataset.splits["valid"]), self.space, self.device)
        self.counters = Counters()
        self.last_metrics: Metrics | None = None

    @property
    def model_path(self) -> Path:
        """Where the averaged weights are kept."""
        return self.folder / MODEL_FILE

    def rows(self) -> list[Metrics]:
        """The log so far."""
        return read_rows(self.folder / METRICS_FILE)

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in one pass over the training set."""
        return -(-len(self.train_set) // self.recipe.batch_size)

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
        """Train to the end, or until `should_stop`; the state is saved either way. Returns whether it ended.

        Raises:
            GagaError: the loss or its gradient was not finite in ten steps on end.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        c = self.counters
        if c.step == 0:
            (self.folder / METRICS_FILE).unlink(missing_ok=True)
        batches = self.objective.batches(self.train_set, c.step)
        saved = started = time.monotonic()
        before = c.seconds
        window = Window()
        while not (ended := self._fraction_done() >= 1.0) and not should_stop():
            epoch, members = next(batches)
            window.add(*self._train_step(members))
            c.seconds = before + time.monotonic() - started
            progress(*self._done_of_total(), note=f"loss {np.mean(window.losses[-100:]):.4f}")
            if self._is_due() and self._fraction_done() < 1.0:
                self.save()
                on_metrics(self._measure(epoch, window))
                window = Window()
            if time.monotonic() - saved > self.recipe.save_every_s:
                self.save()
                saved = time.monotonic()
        self.save()
        if ended and not (self.last_metrics and self.last_metrics.step == c.step and self.last_metrics.atom_stable):
            on_metrics(self._measure(c.step // self.steps_per_epoch, window, last=True))
            self.save()
        return ended

    def _train_step(self, members: Int64[np.ndarray, " B"]) -> tuple[float, float, float]:
        """One optimiser step; one whose loss or gradient is not finite is skipped and counted.

        Returns the loss, the gradient's norm before clipping, and the largest norm allowed.
        """
        c = self.counters
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        self.optimizer.zero_grad(set_to_none=True)
        mean = self.objective.loss(self.diffusion, self.train_set, members, c.step).mean()
        mean.backward()  # type: ignore[no-untyped-call]
        loss = float(mean.detach())
        parameters = list(self.network.parameters())
        limit = self.clipping.limit() if self.recipe.clipping == "adaptive" else float("inf")
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, limit))
        if np.isfinite(norm) and np.isfinite(loss):
            self.clipping.add(norm)
            self.optimizer.step()
            self._average()
            c.bad_steps = 0
        else:
            self._count_bad_step(members, loss, norm)
        c.step += 1
        return loss, norm, limit

    def _average(self) -> None:
        """The exponential moving average of the weights."""
        step = self.counters.step
        decay = self.recipe.ema_decay
        if self.recipe.ema_warmup:
            decay = min(decay, (1 + step) / (10 + step))
        with torch.no_grad():
            current = [p.detach() for p in self.network.parameters()]
            torch._foreach_lerp_(list(self.ema.values()), current, 1.0 - decay)

    def _learning_rate(self) -> float:
        warm = min(1.0, (self.counters.step + 1) / max(1, self.recipe.warmup_steps))
        fade = 0.5 * (1 + np.cos(np.pi * self._fraction_done())) if self.recipe.lr_schedule == "cosine" else 1.0
        return float(self.recipe.learning_rate * warm * fade)

    def _fraction_done(self) -> float:
        """By time where a budget is given (a full schedule in that time), else by steps."""
        c = self.counters
        return c.seconds / self.budget_s if self.budget_s else c.step / self.total_steps

    def _done_of_total(self) -> tuple[int, int]:
        c = self.counters
        return (int(min(c.seconds, self.budget_s)), int(self.budget_s)) if self.budget_s else (c.step, self.total_steps)

    def _count_bad_step(self, members: Int64[np.ndarray, " B"], loss: float, norm: float) -> None:
        c = self.counters
        c.bad_steps += 1
        log.warning("step %d skipped: loss %s, gradient norm %s", c.step, loss, norm)
        facts = {
            "step": c.step,
            "seed": self.seed,
            "molecules": self.dataset.splits["train"][members].tolist(),
        }
        with atomic_write(self.folder / "skipped_step.json") as partial:
            partial.write_text(json.dumps(facts))
        if c.bad_steps >= _MAX_BAD_STEPS:
            self.save()
            raise GagaError(
                f"the loss or its gradient was not finite in {_MAX_BAD_STEPS} steps on end",
                received=f"step {c.step}",
                remedy=f"start from {self.model_path} with --init-from, a lower --lr and another --name",
            )

    def model(self) -> Model:
        """The averaged weights as a model."""
        network = EGNN(self.network.config, self.network.kernel, self.recipe.precision)
        network.load_state_dict({name: value.clone() for name, value in self.ema.items()})
        network = network.to(self.device).eval().requires_grad_(False)
        return Model(network, self.diffusion.schedule, self.space, max_t=self.recipe.max_t, moments=self.moments,
                     dataset=self.dataset.name)  # fmt: skip

    def _is_due(self) -> bool:
        """Whether something is to be measured at this step."""
        recipe, step = self.recipe, self.counters.step
        return step % recipe.validate_every == 0 or (recipe.sample_every > 0 and step % recipe.sample_every == 0)

    def _measure(self, epoch: int, window: Window, *, last: bool = False) -> Metrics:
        c, every = self.counters, self.recipe.sample_every
        row = Metrics(
            step=c.step, epoch=epoch, seconds=c.seconds, learning_rate=self._learning_rate(),
            valid_loss=self.objective.validation_loss(self.model(), self.valid_set), **window.means(),
        )  # fmt: skip
        if last or (every and c.step % every == 0):
            atoms, molecules = sampled_stability(self.model(), self.recipe.stability_samples, (self.seed + 1) % 2**32)
            row = replace(row, atom_stable=atoms, molecule_stable=molecules)
        row.append_to(self.folder / METRICS_FILE)
        self.last_metrics = row
        return row

    def checkpoint(self) -> Checkpoint:
        """The averaged weights with everything that sampling needs."""
        c = self.counters
        return Checkpoint(
            network=self.network.config,
            space=self.space,
            schedule=self.diffusion.schedule,
            max_t=self.recipe.max_t,
            moments=self.moments,
            weights=self.ema,
            dataset=self.dataset.name,
            recipe=asdict(self.recipe),
            metrics=self.last_metrics.plain() if self.last_metrics else {},
            provenance={
                **self.provenance,
                "dataset_fingerprint": self.dataset.fingerprint, "seed": self.seed, "steps": c.step,
                "molecules_seen": c.step * self.recipe.batch_size, "training_seconds": round(c.seconds),
                "torch_version": torch.__version__, "gaga_version": __version__, "device": str(self.device),
                "kernel": self.network.kernel, "threads": torch.get_num_threads(),
            },
        )  # fmt: skip

    def save(self) -> None:
        """Write model and state; each replaces the one before only when it is whole."""
        save_checkpoint(self.checkpoint(), self.folder / MODEL_FILE)
        self.counters.norms = self.clipping.norms()
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"ema.{k}": v for k, v in self.ema.items()} | optimizer_tensors(self.optimizer)
        TrainingState(self.counters, self._identity(), tensors).save(self.folder / STATE_FILE)

    def resume(self) -> None:
        """Go on from the state in the folder; log lines from after that state are dropped.

        Raises:
            InvalidInput: there is no state, or it cannot be read.
            Conflict: the state belongs to another recipe, seed, budget or data set.
        """
        path = self.folder / STATE_FILE
        state = TrainingState.load(path, self.device)
        state.refuse_other(self._identity(), path)
        self.counters = state.counters
        self.clipping = AdaptiveClipping(self.counters.norms)
        self.network.load_state_dict(state.part("network."))
        self.ema = {name: state.part("ema.")[name].clone() for name in self.ema}
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state.optimizer_moments(), "param_groups": groups})
        log_path = self.folder / METRICS_FILE
        lines = rows_up_to(log_path, self.counters.step)
        with atomic_write(log_path) as partial:
            partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        rows = self.rows()
        self.last_metrics = rows[-1] if rows else None

    def _identity(self) -> dict[str, Any]:
        return {"seed": self.seed, "budget_s": self.budget_s, "recipe": asdict(self.recipe),
                "dataset": self.dataset.fingerprint, "init_from": self.init_digest}  # fmt: skip

    def _initial_network(self, kernel: str, init_from: Path | None) -> EGNN:
        recipe = self.recipe
        config = EGNNConfig(features=self.space.columns - 3, hidden=recipe.hidden, n_layers=recipe.n_layers,
                            inv_sublayers=recipe.inv_sublayers)  # fmt: skip
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = EGNN(config, kernel, recipe.precision)
        if init_from is not None:
            start = load_checkpoint(init_from)
            if start.network != config or start.space != self.space:
                raise InvalidInput(
                    f"{init_from} holds another network or other columns than this recipe",
                    received=f"{start.network} {start.space}",
                    remedy=f"train with {config} {self.space}",
                )
            network.load_state_dict(dict(start.weights))
        return network.to(self.device)
