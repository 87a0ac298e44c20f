"""Files on disk -> packed arrays: QM9, the user's own molecules, prepared files; the space of features."""

from gaga.data.dataset import Annotations, Dataset
from gaga.data.loading import default_cache_dir, found_prepared, load_dataset, prepare, prepared_path

__all__ = ["Annotations", "Dataset", "default_cache_dir", "found_prepared", "load_dataset", "prepare", "prepared_path"]
