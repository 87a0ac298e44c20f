"""gaga: find where diffusion noise turns molecules Gaussian; train and sample 3D molecules only up to there."""

from typing import TYPE_CHECKING

from gaga.core.lazy import lazy

if TYPE_CHECKING:
    from gaga.data import load_dataset as load_dataset
    from gaga.models.api import load_model as load_model
    from gaga.models.sampling.guidance import Guide as Guide
    from gaga.runs.evaluate_python import evaluate as evaluate
    from gaga.runs.gaussianity import gaussianity as gaussianity
    from gaga.runs.sample import sample as sample
    from gaga.runs.train import train as train
    from gaga.runs.train_property import train_property as train_property
    from gaga.runs.tstar import tstar as tstar
    from gaga.runs.variance import variance as variance
    from gaga.runs.view import view as view
    from gaga.storage.store import Store as Store
    from gaga.version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "gaga.data": "load_dataset",
        "gaga.models.api": "load_model",
        "gaga.models.sampling.guidance": "Guide",
        "gaga.runs.evaluate_python": "evaluate",
        "gaga.runs.gaussianity": "gaussianity",
        "gaga.runs.sample": "sample",
        "gaga.runs.train": "train",
        "gaga.runs.train_property": "train_property",
        "gaga.runs.tstar": "tstar",
        "gaga.runs.variance": "variance",
        "gaga.runs.view": "view",
        "gaga.storage.store": "Store",
        "gaga.version": "__version__",
    },
)
