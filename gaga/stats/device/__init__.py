"""The heavy statistics in torch, on any device with float64: twins of the numpy modules of the same names.

The molecules, their noise and what is counted are the same; numbers differ by rounding alone. Work goes in chunks
of molecules of one size, each working array of at most `working_set` numbers, and the host waits for the device
once a chunk. Two chunks are under way at a time, so that the host prepares one while the device has another.
"""

from gaga.stats.device.curves import distance_curves as distance_curves
from gaga.stats.device.reference import run_test as run_test
