"""Files on disk -> packed arrays: QM9, the user's own molecules, prepared files; the space of features.

Importing this room loads no reader: sampling needs its features alone.
"""

from typing import TYPE_CHECKING

from gaga.core.lazy import imported_when_used

if TYPE_CHECKING:
    from gaga.data.dataset import Annotations as Annotations
    from gaga.data.dataset import Dataset as Dataset
    from gaga.data.loading import default_cache_dir as default_cache_dir
    from gaga.data.loading import found_prepared as found_prepared
    from gaga.data.loading import load_dataset as load_dataset
    from gaga.data.loading import prepare as prepare
    from gaga.data.loading import prepared_path as prepared_path

_LAZY = {
    "Annotations": "gaga.data.dataset",
    "Dataset": "gaga.data.dataset",
    "default_cache_dir": "gaga.data.loading",
    "found_prepared": "gaga.data.loading",
    "load_dataset": "gaga.data.loading",
    "prepare": "gaga.data.loading",
    "prepared_path": "gaga.data.loading",
}
__all__ = [
    "Annotations", "Dataset", "default_cache_dir", "found_prepared", "load_dataset", "prepare", "prepared_path",
]  # fmt: skip
__getattr__, __dir__ = imported_when_used(__name__, _LAZY)
