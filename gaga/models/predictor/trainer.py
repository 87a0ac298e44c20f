"""Training a predictor: step after step, and a state from which a run resumes bit for bit on the CPU.

The recipe is that of EDM's published classifier: the mean absolute error on the property's scale, Adam, a cosine, and
the weights of the lowest validation error. Which molecules a step has is keyed by (seed, epoch), as in
`training.trainer`.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from gaga.core.errors import GagaError, InvalidInput
from gaga.core.progress import Progress, silent
from gaga.core.statistics import interval_of
from gaga.data.dataset import Dataset
from gaga.data.targets import halves_of, scale_of, targets_of
from gaga.models.network.kernels import products
from gaga.models.network.layout import Layout
from gaga.models.predictor.checkpoint import Predictor, input_space, predict_all, save_predictor
from gaga.models.predictor.network import PredictorConfig, PredictorNetwork
from gaga.models.predictor.recipe import PredictorRecipe
from gaga.models.training.batches import Epochs
from gaga.models.training.features import Features
from gaga.models.training.log import History, Metrics
from gaga.models.training.optimiser import Optimiser
from gaga.models.training.state import Counters, TrainingState
from gaga.storage.files import require_writable
from gaga.version import __version__

PREDICTOR_FILE, STATE_FILE, METRICS_FILE = "predictor.safetensors", "state.safetensors", "metrics.jsonl"
HALVES = ("first", "none")
_VALIDATED = 2000  # molecules whose error chooses the weights
_SAVE_EVERY_S = 120.0
_MAX_BAD_STEPS = 10
_BEST = "best."


class PredictorTrainer:
    """One run in a folder: `predictor.safetensors`, `state.safetensors` and `metrics.jsonl`.

    Args:
        dataset: molecules with their split and properties.
        property: which one is learnt; QM9's U0, U, H, G and Cv less those of the free atoms.
        recipe: every hyperparameter.
        folder: where the run is kept; created if missing.
        half: "first" for the first half of the training molecules (gaga.data.targets.halves_of), "none" for all.
        seed: of weights and order.
        budget_s: seconds after which a full learning-rate schedule has ended; None for the recipe's length.
        device: where the network runs.
        provenance: what else the predictor should say about its origin.

    Raises:
        InvalidInput: there is no such property or half, or no molecule to train on has a value.
    """

    def __init__(
        self,
        dataset: Dataset,
        property: str,
        recipe: PredictorRecipe,
        folder: Path,
        *,
        half: str = "first",
        seed: int = 0,
        budget_s: float | None = None,
        device: torch.device | str = "cpu",
        provenance: dict[str, Any] | None = None,
    ) -> None:
        self.recipe, self.folder, self.seed, self.budget_s = recipe, folder, seed, budget_s
        self.device, self.provenance = torch.device(device), provenance or {}
        self.dataset, self.property, self.half = dataset, property, half
        self.products = products.library_on(self.device)
        targets = targets_of(dataset, [property])
        self.unit, self._values, self._digest = targets.units[0], targets.values[:, 0], targets.digest
        self._valid = self._with_value(dataset.splits["valid"])
        if len(self._valid) == 0:
            raise InvalidInput(f"no validation molecule has a value of {property}, and its scale is theirs")
        self.scale = scale_of(targets, self._valid)
        self.vocabulary = dataset.vocabulary
        trained = self._with_value(trained_on(dataset, half))
        if len(trained) == 0:
            raise InvalidInput(f"no training molecule has a value of {property}")
        self.labels = torch.from_numpy(self._scaled(trained)).float().to(self.device)
        self.train_set = self._features(trained)
        self._looked_at = self._valid[
            np.linspace(0, len(self._valid) - 1, min(_VALIDATED, len(self._valid)), dtype=int)
        ]
        self._valid_set = self._features(self._looked_at)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = PredictorNetwork(
                PredictorConfig(types=len(self.vocabulary), hidden=recipe.hidden, n_layers=recipe.n_layers)
            )
        self.network = network.to(self.device)
        self._optimisation = recipe.optimisation()
        self.optimiser = Optimiser(self.network, self._optimisation)
        self.epochs = Epochs(self.train_set.n_atoms, recipe.batch_size, seed)
        self.best: dict[str, Tensor] = {}
        self.counters, self.history = Counters(), History()
        self.saved_step: int | None = None
        self._began = time.monotonic()

    @property
    def model_path(self) -> Path:
        """Where the weights of the lowest validation error are kept."""
        return self.folder / PREDICTOR_FILE

    @property
    def total_steps(self) -> int:
        """Steps of the whole run, if no budget ends it earlier."""
        return self.recipe.steps or self.recipe.epochs * self.epochs.length

    def identity(self) -> dict[str, Any]:
        """What makes a run the same run: a state of another identity is not resumed."""
        return {
            "property": self.property, "half": self.half, "dataset": self.dataset.fingerprint,
            "values": self._digest, "vocabulary": list(self.vocabulary), "seed": self.seed,
            "budget_s": self.budget_s, **asdict(self.recipe),
        }  # fmt: skip

    def run(
        self,
        *,
        progress: Progress = silent,
        on_metrics: Callable[[Metrics], None] = lambda row: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Train to the end, or until `should_stop`; the state is saved in both cases. Returns whether the run ended.

        `on_metrics` is called with each measurement.

        Raises:
            GagaError: the loss or its gradient was not finite in ten steps in a row.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        require_writable(self.model_path)
        with products.fixed(self.products):
            ended = self._train(progress, on_metrics, should_stop)
            if ended and not self.history.reaches(self.counters.step):
                self._measure(on_metrics)
            self.save()
            if ended:
                save_predictor(self.predictor(errors=True), self.model_path)
        return ended

    def _train(
        self, progress: Progress, on_metrics: Callable[[Metrics], None], should_stop: Callable[[], bool]
    ) -> bool:
        c, saved = self.counters, time.monotonic()
        self._began = saved - c.seconds
        batches = self.epochs.from_step(c.step)
        while not (ended := self._fraction_done() >= 1.0) and not should_stop():
            self._step(next(batches)[1])
            c.seconds = time.monotonic() - self._began
            note = self.history.window.note()
            if self.budget_s:
                progress(int(min(c.seconds, self.budget_s)), int(self.budget_s), f"step {c.step:,}, {note}")
            else:
                progress(c.step, self.total_steps, note)
            due = c.step % self.recipe.validate_every == 0 and self._fraction_done() < 1.0
            if due:
                self._measure(on_metrics)
            if due or time.monotonic() - saved > _SAVE_EVERY_S:
                self.save()
                saved = time.monotonic()
        return ended

    def _step(self, members: Int64[np.ndarray, " B"]) -> None:
        """Descend along the gradient of the mean absolute error of these molecules."""
        c, began, o = self.counters, time.monotonic(), self._optimisation
        columns = self.train_set.columns(self.train_set.fetch(members).to(self.device))
        layout = Layout.of(self.train_set.n_atoms[members], self.device)
        with products.fast_products(self.device):
            found = self.network(columns, layout)
            loss = (found - self.labels[torch.from_numpy(members).to(self.device)]).abs().mean()
            parts = torch.autograd.grad(loss, self.optimiser.parameters)
        self.optimiser.set(o.learning_rate_at(c.step, self._fraction_done()), o.ema_decay_at(c.step))
        gradient = torch.cat([part.reshape(-1) for part in parts])
        found_loss, norm, limit, taken = self.optimiser.apply(gradient, loss.detach()).tolist()
        self.history.window.spend(time.monotonic() - began, 0.0)
        self.history.window.add(found_loss, norm, limit)
        c.step += 1
        c.bad_steps = 0 if taken else c.bad_steps + 1
        if c.bad_steps >= _MAX_BAD_STEPS:
            self.save()
            raise GagaError(
                f"the loss or its gradient was not finite in {_MAX_BAD_STEPS} steps on end", received=f"step {c.step}",
                remedy="train again with a lower `learning_rate` and another `name`",
            )  # fmt: skip

    def _fraction_done(self) -> float:
        """Of the budget's time if there is one, else of the steps."""
        return self.counters.seconds / self.budget_s if self.budget_s else self.counters.step / self.total_steps

    def _measure(self, on_metrics: Callable[[Metrics], None]) -> None:
        """One more row of the log; weights of the lowest validation error so far are written."""
        c = self.counters
        error = float(np.abs(predict_all(self.network, self._valid_set) - self._scaled(self._looked_at)).mean())
        rate = self._optimisation.learning_rate_at(c.step, self._fraction_done())
        means: Any = self.history.window.means()
        row = Metrics(
            step=c.step, epoch=c.step // self.epochs.length, seconds=c.seconds, learning_rate=rate, valid_loss=error,
            **means,
        )  # fmt: skip
        self.history.add(row)
        if error < self.history.lowest_loss(before=row) or not self.best:
            self.best = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
            save_predictor(self.predictor(), self.model_path)
        on_metrics(row)

    def predictor(self, *, errors: bool = False) -> Predictor:
        """The weights of the lowest validation error; with `errors`, those of all validation and test molecules."""
        predictor = Predictor(
            property=self.property, unit=self.unit, network=self.network.config, vocabulary=self.vocabulary,
            scale=self.scale, weights=self.best or dict(self.network.state_dict()), dataset=self.dataset.name,
            fingerprint=self.dataset.fingerprint, half=self.half, recipe=asdict(self.recipe),
            provenance={
                **self.provenance, "seed": self.seed, "steps": self.counters.step,
                "training_molecules": len(self.train_set), "training_seconds": round(self.counters.seconds),
                "device": str(self.device), "products": self.products or "", "threads": torch.get_num_threads(),
                "torch_version": torch.__version__, "gaga_version": __version__,
            },
            metrics={"lowest_validation_loss": self._lowest()},
        )  # fmt: skip
        if not errors:
            return predictor
        network = PredictorNetwork(self.network.config).to(self.device)
        network.load_state_dict(dict(predictor.weights))
        found, rng = {}, np.random.default_rng(self.seed)
        for name, molecules in (("valid", self._valid), ("test", self._with_value(self.dataset.splits["test"]))):
            error = np.abs(predict_all(network, self._features(molecules)) - self._scaled(molecules))
            mae = interval_of(error * self.scale.deviation[0], np.mean, rng=rng)
            if len(error):
                found[name] = {"mae": mae.estimate, "low": mae.low, "high": mae.high, "molecules": len(error)}
        return replace(predictor, metrics={**predictor.metrics, "errors": found})

    def save(self) -> None:
        """Write log and state; each replaces the one before only when it is whole."""
        self.history.write(self.folder / METRICS_FILE)
        if self.saved_step == self.counters.step and (self.folder / STATE_FILE).exists():
            return
        tensors = self.optimiser.tensors() | {f"{_BEST}{name}": value for name, value in self.best.items()}
        state = TrainingState(self.counters, self.identity(), tensors, asdict(self.history.window), self.products or "")
        state.save(self.folder / STATE_FILE, first=self.saved_step is None)
        self.saved_step = self.counters.step

    def resume(self) -> None:
        """Continue from the state in the folder; log lines from after that state are dropped.

        Raises:
            InvalidInput: there is no state, or it cannot be read.
            Conflict: the state belongs to another property, recipe, seed, budget or data set.
        """
        path = self.folder / STATE_FILE
        state = TrainingState.load_newest(path, self.device)
        state.refuse_other(self.identity(), path)
        best = {k.removeprefix(_BEST): v for k, v in state.tensors.items() if k.startswith(_BEST)}
        self.optimiser.restore({k: v for k, v in state.tensors.items() if not k.startswith(_BEST)})
        self.best, self.counters, self.saved_step = best, state.counters, state.counters.step
        self.products = products.library_on(self.device, state.products)
        self.history = History.at(state.counters.step, self.folder / METRICS_FILE, state.window)

    def _lowest(self) -> float | None:
        losses = [row.valid_loss for row in self.history.measured if row.valid_loss is not None]
        return min(losses, default=None)

    def _with_value(self, molecules: Int64[np.ndarray, " m"]) -> Int64[np.ndarray, " n"]:
        return np.asarray(molecules[np.isfinite(self._values[molecules])])

    def _scaled(self, molecules: Int64[np.ndarray, " m"]) -> Float64[np.ndarray, " m"]:
        return np.asarray(self.scale(self._values[molecules, None])[:, 0])

    def _features(self, molecules: Int64[np.ndarray, " m"]) -> Features:
        return Features.of(self.dataset.molecules, input_space(self.vocabulary), self.device, chosen=molecules)


def trained_on(dataset: Dataset, half: str) -> Int64[np.ndarray, " m"]:
    """The molecules that a predictor is trained on.

    Raises:
        InvalidInput: there is no such half.
    """
    if half not in HALVES:
        raise InvalidInput("a predictor is trained on the first half, or on all", received=half,
                           remedy=f"use one of {', '.join(HALVES)} as `half`")  # fmt: skip
    return halves_of(dataset)[0] if half == "first" else dataset.splits["train"]
