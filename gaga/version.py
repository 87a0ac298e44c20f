"""The version of gaga, as installed."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("gaga-mol")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0"
