"""Options of a data set that is prepared from the user's own molecules."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gaga.core.config import Config, option

if TYPE_CHECKING:
    from gaga.data.own import UserDataOptions

_OWN = "Your own molecules"


@dataclass(frozen=True, kw_only=True)
class OwnConfig(Config):
    """Which of the user's molecules are taken, and how geometries are made."""

    embed: bool = option(
        False, "Make geometries of the SMILES in a .csv, .tsv, .smi or .txt: ETKDGv3, then MMFF94.", section=_OWN
    )
    optimise: str | None = option(
        None, "Relax every geometry at GFN2-xTB; needs the program xtb.", choices=("xtb",), section=_OWN
    )
    smiles_column: str | None = option(
        None, "Heading of a table's SMILES; smiles or canonical_smiles by default.", metavar="NAME", section=_OWN
    )
    largest_fragment: bool = option(False, "Of salts and mixtures take the largest piece, by bonds.", section=_OWN)
    elements: tuple[int, ...] | None = option(
        None, "Take molecules of these elements alone.", metavar="H,C,N,...", section=_OWN
    )
    min_atoms: int | None = option(
        None, "Take molecules of at least N atoms, hydrogens counted.", metavar="N", at_least=1, section=_OWN
    )
    max_atoms: int | None = option(
        None, "Take molecules of at most N atoms, hydrogens counted.", metavar="N", at_least=1, section=_OWN
    )
    neutral: bool = option(
        False, "Take neutral molecules alone: by the file's charges, or else by bonds that fit.", section=_OWN
    )
    no_duplicates: bool = option(
        False, "Take the first of each molecule, by canonical SMILES, given or perceived.", section=_OWN
    )
    one_molecule_per_record: bool = option(
        False,
        "Take no records for conformers of one molecule; by default equal SMILES, titles or bonds show them.",
        section=_OWN,
    )
    time_limit: float = option(
        60.0,
        "For a molecule to be embedded; relaxing it may take ten times as long.",
        metavar="SECONDS",
        above=0,
        below=float("inf"),
        section=_OWN,
    )

    def wanted(self, *, seed: int = 0, workers: int | None = None) -> "UserDataOptions":
        """The same as the readers take it; `seed` is that of embedding, `workers` are processes.

        Raises:
            InvalidInput: no number of atoms is in the range.
        """
        from gaga.data.filters import Filters
        from gaga.data.geometries import GeometryOptions
        from gaga.data.own import UserDataOptions

        return UserDataOptions(
            filters=Filters(
                largest_fragment=self.largest_fragment,
                elements=self.elements,
                min_atoms=self.min_atoms,
                max_atoms=self.max_atoms,
                neutral=self.neutral,
                no_duplicates=self.no_duplicates,
            ),
            making=GeometryOptions(embed=self.embed, optimise=self.optimise, seed=seed, time_limit_s=self.time_limit),
            smiles_column=self.smiles_column,
            workers=workers,
            one_molecule_per_record=self.one_molecule_per_record,
        )
