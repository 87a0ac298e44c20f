"""Before anything is imported: one thread for each worker."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
