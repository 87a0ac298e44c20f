"""Files that survive a crash: atomic writes, locks, HDF5 trees, unfinished work, and the result store."""
