"""Is a network trained on [0, T*] alone better there than one trained on all steps? Paired seeds, equal steps.

    python benchmarks/truncation_training.py --out truncation_training.jsonl          train what is missing, then print
    python benchmarks/truncation_training.py --out truncation_training.jsonl --table  print what there is

Two arms for each seed: `--max-t 550` and `--max-t 1000`, the paper's objective (noise prediction, steps drawn evenly),
the same initial weights, molecules, steps and batch size. The learning rate stays constant after its warm-up, so that
every row is a run of its own length; weights are averaged as the preset says. Each row is the mean loss of the
averaged weights over the same validation molecules with the same steps t in [0, 550] and the same noise in both arms.
May be killed at any time: the same command resumes.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from gaga import load_dataset
from gaga.core.rng import normals, uniforms
from gaga.data.features import FeatureSpace
from gaga.models.model import Model
from gaga.models.network.layout import Layout
from gaga.models.training.features import Features
from gaga.models.training.recipe import make_recipe
from gaga.models.training.trainer import STATE_FILE, Trainer
from gaga.stats.moments import estimate_moments

ARMS = (550, 1000)
_SEED = 20_261_130  # of the steps and the noise that losses are measured with
_AT_ONCE = 100  # molecules


def common_loss(model: Model, features: Features, max_t: int) -> np.ndarray:
    """Loss of each molecule [M] at a step in 0..max_t and with noise that are the same for every model.

    The unit is that of `Diffusion.loss`: half the squared error of the predicted noise per column and atom.
    """
    losses = []
    indices = np.arange(len(features.n_atoms))
    with torch.no_grad():
        for part in np.array_split(indices, max(1, len(indices) // _AT_ONCE)):
            sizes = features.n_atoms[part]
            layout = Layout.of(sizes)
            t = torch.from_numpy((uniforms(_SEED, part, 0) * (max_t + 1)).astype(np.int64))
            eps = torch.from_numpy(normals(_SEED, part, sizes, model.space.columns, 1)).float()
            x = features.columns(features.fetch(part))
            losses.append(model.loss(x, eps, t, layout).numpy())
    return np.concatenate(losses)


def train(arm: int, seed: int, asked: argparse.Namespace, out: Path) -> None:
    """One run; a row for each measurement that is not in the file yet."""
    dataset = load_dataset(asked.dataset)
    recipe = make_recipe(
        asked.preset, max_t=arm, prediction="eps", noise_levels="uniform", steps=asked.steps, lr_schedule="constant",
        validate_every=asked.every, sample_every=0, stability_samples=1,
    )  # fmt: skip
    space = FeatureSpace(vocabulary=dataset.vocabulary, factors=recipe.factors)
    trained = dataset.molecules.take(dataset.splits["train"])
    folder = asked.runs / f"t{arm}_s{seed}"
    trainer = Trainer(dataset, recipe, estimate_moments(trained, space), folder, seed=seed)
    if (folder / STATE_FILE).exists():
        trainer.resume()
    valid = dataset.splits["valid"][: asked.validated]
    columns = Features.of(dataset.molecules, trainer.setup.space, torch.device("cpu"), chosen=valid)

    def measure(row: object) -> None:
        step = trainer.counters.step
        if any((r["arm"], r["seed"], r["step"]) == (arm, seed, step) for r in rows_of(out)):
            return
        losses = common_loss(trainer.model(), columns, min(ARMS))
        found = {"arm": arm, "seed": seed, "step": step, "loss": float(losses.mean()), "molecules": len(losses),
                 "standard_error": float(losses.std() / np.sqrt(len(losses))), "batch_size": recipe.batch_size,
                 "seconds": trainer.counters.seconds}  # fmt: skip
        with out.open("a", encoding="utf-8") as file:  # not atomic: a line that was cut short is left out by rows_of
            file.write(json.dumps(found) + "\n")
        print(json.dumps(found), flush=True)

    trainer.run(on_metrics=measure)


def rows_of(out: Path) -> list[dict]:
    """The finished rows of the file."""
    rows = []
    for line in out.read_text(encoding="utf-8").splitlines() if out.exists() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:  # cut short
            continue
    return rows


def table(out: Path) -> None:
    """Paired difference by step, with a 95 % t interval over seeds; and the steps that the arm of all steps needs."""
    from scipy.stats import t as student

    rows = rows_of(out)
    loss = {(r["arm"], r["seed"], r["step"]): r["loss"] for r in rows}
    print("| step | pairs | loss of [0, 550] | loss of [0, 1000] | difference (95 % interval) | ratio |")
    print("|---|---|---|---|---|---|")
    for step in sorted({r["step"] for r in rows}):
        seeds = [s for s in sorted({r["seed"] for r in rows}) if all((arm, s, step) in loss for arm in ARMS)]
        if not seeds:
            continue
        short, long = (np.array([loss[arm, s, step] for s in seeds]) for arm in ARMS)
        gap = long - short
        half = student.ppf(0.975, len(gap) - 1) * gap.std(ddof=1) / np.sqrt(len(gap)) if len(gap) > 1 else np.nan
        means = f"{short.mean():.4f} | {long.mean():.4f} | {gap.mean():.4f} ± {half:.4f} | {(long / short).mean():.3f}"
        print(f"| {step} | {len(gap)} | {means} |")
    for seed in sorted({r["seed"] for r in rows}):
        curves = [sorted((k[2], v) for k, v in loss.items() if k[:2] == (arm, seed)) for arm in ARMS]
        if not all(curves):
            continue
        (steps, short), (_, long) = (tuple(np.array(c).T) for c in curves)
        for step, wanted in zip(steps, short, strict=False):
            later = [s for s, value in curves[1] if value <= wanted]
            reached = f"at {min(later)}" if later else "later"
            print(f"seed {seed}: [0, 550] has {wanted:.4f} at step {step:.0f}; [0, 1000] reaches it {reached}")


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="rows of JSON, appended to")
    parser.add_argument("--runs", type=Path, default=Path("runs/truncation_training"))
    parser.add_argument("--dataset", default="qm9")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--every", type=int, default=250, help="steps between measurements")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--validated", type=int, default=5000, help="validation molecules")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="print what there is and train nothing")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    if not asked.table:
        for seed in range(asked.seeds):
            for arm in ARMS:
                train(arm, seed, asked, asked.out)
    table(asked.out)


if __name__ == "__main__":
    main()
