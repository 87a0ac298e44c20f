"""The chemistry of molecules in 3D: elements, EDM's stability, perceived bonds, strict validity, files.

Importing this room loads no rdkit; the functions that need it import it when they run.
"""

from typing import TYPE_CHECKING

from gaga.core.lazy import lazy

if TYPE_CHECKING:
    from gaga.chem.bonds import perceive as perceive
    from gaga.chem.edm import edm_smiles as edm_smiles
    from gaga.chem.edm import edm_stability as edm_stability
    from gaga.chem.strict import StrictVerdict as StrictVerdict
    from gaga.chem.strict import strict_verdict as strict_verdict

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "gaga.chem.bonds": "perceive",
        "gaga.chem.edm": "edm_smiles edm_stability",
        "gaga.chem.strict": "StrictVerdict strict_verdict",
    },
)
