"""Open a model and sample from it: what `from gaga import load_model, sample` gives."""

import hashlib
import warnings
from pathlib import Path
from typing import Any

import torch

from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules, pack
from gaga.core.progress import Progress, silent
from gaga.models.checkpoint import file_digest, load_checkpoint
from gaga.models.edm import edm_files, is_edm_folder, load_edm
from gaga.models.model import Model
from gaga.models.sampling.config import SampleConfig
from gaga.models.sampling.guidance import Guide
from gaga.models.sampling.loop import Condition, Edit
from gaga.models.sampling.stream import sample_stream
from gaga.models.training.recipe import Recipe
from gaga.noise import Reference

_SHIPPED = Path(__file__).parent.parent / "shipped"
SHIPPED_CHECKPOINT, SMALL_CHECKPOINT = _SHIPPED / "qm9_large.safetensors", _SHIPPED / "qm9_small.safetensors"
SHIPPED = {path.stem: path for path in (SHIPPED_CHECKPOINT, SMALL_CHECKPOINT)}


def model_file(path: Path) -> Path:
    """The file whose content names a model: a checkpoint, that of a run's folder, or an EDM folder's weights.

    The name of a model that ships is that model's file, unless a file or folder has the name.
    """
    if path.is_dir():
        return edm_files(path).weights if is_edm_folder(path) else path / "model.safetensors"
    return path if path.exists() else SHIPPED.get(str(path), path)


def model_digest(path: Path) -> str:
    """Sha256 of all that a model is made of: its file, or the weights and arguments of an EDM folder; empty if there is
    no such file."""
    content = model_file(path)
    if path.is_dir() and is_edm_folder(path):
        both = "".join(file_digest(file) for file in edm_files(path))
        return hashlib.sha256(both.encode()).hexdigest()
    return file_digest(content) if content.is_file() else ""


def shipped_like(recipe: Recipe) -> Path:
    """The model that ships whose network has a recipe's shape.

    Raises:
        InvalidInput: there is none.
    """
    shapes = {path: load_checkpoint(path).network for path in SHIPPED.values()}
    for path, shape in shapes.items():
        if (shape.hidden, shape.n_layers, shape.inv_sublayers) == (
            recipe.hidden,
            recipe.n_layers,
            recipe.inv_sublayers,
        ):
            return path
    known = " or ".join(f"{shape.hidden} features and {shape.n_layers} layers" for shape in shapes.values())
    raise InvalidInput(
        f"the models that ship have {known}",
        received=f"{recipe.hidden} features and {recipe.n_layers} layers",
        remedy="use `preset=small` or `preset=large`, or `init_from=FILE`",
    )


def load_model(
    path: Path | str | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    kernel: str = "auto",
    precision: str = "auto",
    centred_features: bool | None = None,
    max_t: int | None = None,
) -> Model:
    """Open a gaga checkpoint, or a folder that EDM's or GAGA's training wrote; without a path, the model that ships.

    Args:
        path: checkpoint file, folder of a training run, or EDM folder; `qm9_large` or `qm9_small`, which ship.
        dtype: type of the weights and of what is computed.
        device: where the weights go.
        kernel: how the network runs; all kernels give the same results.
        precision: `bfloat16` rounds the operands of matrix products: faster, and within about 0.5 %; `auto` does so
            if the fused kernels run in nothing else, but not for EDM folders.
        centred_features: of an EDM folder, whether types are centred in each molecule; None: what its arguments say
            (`Model.decided` says what was chosen and why).
        max_t: of an EDM folder, T*; None: what its arguments say.

    Raises:
        NotFound: nothing is there.
        InvalidInput: what is there is not a model, or a gaga checkpoint is asked for other features or another T*.
        Unavailable: the kernel is named and cannot run on this device.

    Example:
        >>> from gaga import load_model, sample
        >>> molecules = sample(load_model(), 2, seed=1, steps=20)
        >>> len(molecules)
        2
    """
    path = SHIPPED_CHECKPOINT if path is None else Path(path)
    if path.is_dir() and is_edm_folder(path):
        diffusion, arguments, last, decided = load_edm(
            path, dtype=dtype, device=device, kernel=kernel, precision=precision,
            centred_features=centred_features, max_t=max_t,
        )  # fmt: skip
        return Model(
            diffusion.network, diffusion.schedule, diffusion.space,
            max_t=last, moments=None, dataset=str(arguments["dataset"]), decided=decided,
        )  # fmt: skip
    if centred_features is not None or max_t is not None:
        raise InvalidInput(
            "a gaga checkpoint holds its own T* and says whether its types are centred",
            received=path,
            remedy="centred_features and max_t are for folders of EDM's code; leave them out",
        )
    return load_checkpoint(model_file(path)).model(dtype=dtype, device=device, kernel=kernel, precision=precision)


def sample(
    model: Model | Path | str | None,
    n: int,
    *,
    seed: int = 0,
    progress: Progress = silent,
    reference: Reference | None = None,
    edit: Edit | None = None,
    condition: Condition | None = None,
    guide: Guide | None = None,
    **options: Any,
) -> PackedMolecules:
    """Draw `n` molecules; molecule i depends on (seed, i) alone.

    A molecule whose numbers overflow has positions NaN, `PackedMolecules.finite` says which, and a warning is given.

    Args:
        model: a model, or its path; None is the model that ships with gaga.
        n: how many.
        seed: seed of the run.
        progress: called with molecule-steps done and in all.
        reference, edit, condition, guide: as `gaga.models.sampling.stream.sample_stream`.
        options: fields of `SampleConfig`, such as `around="mol.sdf", strength=0.3`, `composition="C7H10O2"` or
            `target={"alpha": 80}, guidance=1`.

    Raises:
        InvalidInput: an argument is out of range.
    """
    if n < 1:
        raise InvalidInput("the number of molecules must be at least 1", received=n)
    model = model if isinstance(model, Model) else load_model(model)
    drawn = sample_stream(
        model, range(n), SampleConfig(**options), seed=seed, progress=progress,
        reference=reference, edit=edit, condition=condition, guide=guide,
    )  # fmt: skip
    molecules = pack((molecule.atomic_numbers, molecule.positions) for molecule in drawn)
    if failed := int((~molecules.finite).sum()):
        warnings.warn(f"{failed:,} of {n:,} molecules are not finite: their positions are NaN", stacklevel=2)
    return molecules
