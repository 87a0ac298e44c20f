"""PoseBusters' checks of a molecule by itself, if it is installed.

Buttenschoen, Morris and Deane 2024 (doi:10.1039/D3SC04185A).
"""

import copy
import logging
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from gaga.core.errors import Unavailable

if TYPE_CHECKING:
    from rdkit import Chem

PACKAGE = "posebusters"
CONFIG = "mol"
"""PoseBusters' name for its checks without a receptor and a true ligand."""

_NOT_CHECKS = ("file", "molecule", "position")


def require_posebusters() -> str:
    """The version of the package.

    Raises:
        Unavailable: it is not installed.
    """
    try:
        if find_spec(PACKAGE) is not None:
            return version(PACKAGE)
    except PackageNotFoundError:
        pass
    raise Unavailable(
        "the package posebusters is not installed", remedy="install it with pip install 'gaga-mol[posebusters]'"
    )


def check_pose(molecule: "Chem.Mol") -> dict[str, bool]:
    """What each check says of a molecule with bonds, hydrogens and a conformer; one that cannot be made says no.

    Raises:
        Unavailable: the package is not installed.
    """
    require_posebusters()
    table = _checker().bust(mol_pred=[molecule])
    # What could not be computed is NaN there, and would be taken for yes.
    return {str(name): bool(table[name].iloc[0] == True) for name in table.columns if name not in _NOT_CHECKS}  # noqa: E712


@cache
def _checker() -> Any:
    """PoseBusters with the threads of this process: it is one of several at work."""
    from posebusters import PoseBusters

    logging.getLogger(PACKAGE).setLevel(logging.ERROR)
    config = copy.deepcopy(PoseBusters(config=CONFIG).config)
    for module in config["modules"]:
        if module["function"] == "energy_ratio":
            module.setdefault("parameters", {})["num_threads"] = 1
    return PoseBusters(config=config)
