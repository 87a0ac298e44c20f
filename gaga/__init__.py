"""gaga: find where diffusion noise turns molecules Gaussian; train and sample 3D molecules only up to there."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gaga.data import load_dataset as load_dataset
    from gaga.models.api import load_model as load_model
    from gaga.runs.evaluate import evaluate as evaluate
    from gaga.runs.gaussianity import gaussianity as gaussianity
    from gaga.runs.sample import sample as sample
    from gaga.runs.train import train as train
    from gaga.runs.tstar import tstar as tstar
    from gaga.runs.variance import variance as variance
    from gaga.storage.store import Store as Store
    from gaga.version import __version__ as __version__

_LAZY = {
    "load_model": "gaga.models.api",
    "gaussianity": "gaga.runs.gaussianity",
    "sample": "gaga.runs.sample",
    "train": "gaga.runs.train",
    "tstar": "gaga.runs.tstar",
    "variance": "gaga.runs.variance",
    "load_dataset": "gaga.data",
    "evaluate": "gaga.runs.evaluate",
    "Store": "gaga.storage.store",
    "__version__": "gaga.version",
}
__all__ = ["Store", *sorted(_LAZY.keys() - {"Store"})]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import gaga` loads neither torch nor rdkit."""
    if name not in _LAZY:
        raise AttributeError(f"module 'gaga' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
