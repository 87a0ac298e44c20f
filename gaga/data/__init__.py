"""Files on disk -> packed arrays: QM9, the user's own molecules, prepared files; the space of features.

Importing this room loads no reader: sampling needs its features alone.
"""

from typing import TYPE_CHECKING

from gaga.core.lazy import lazy

if TYPE_CHECKING:
    from gaga.data.dataset import Annotations as Annotations
    from gaga.data.dataset import Dataset as Dataset
    from gaga.data.loading import default_cache_dir as default_cache_dir
    from gaga.data.loading import found_prepared as found_prepared
    from gaga.data.loading import load_dataset as load_dataset
    from gaga.data.loading import prepare as prepare
    from gaga.data.loading import prepared_path as prepared_path

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "gaga.data.dataset": "Annotations Dataset",
        "gaga.data.loading": "default_cache_dir found_prepared load_dataset prepare prepared_path",
    },
)
