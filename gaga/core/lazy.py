"""Public names of a package that are imported when they are first used: importing the package loads none of them."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy(package: str, modules: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package, from the names that each module has for it.

    Args:
        package: its name, for the error.
        modules: by a module's full name, the public names in it, with spaces between.
    """
    module_of = {name: module for module, names in modules.items() for name in names.split()}
    names = sorted(module_of)

    def get(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(module_of[name]), name)

    return get, lambda: list(names), names
