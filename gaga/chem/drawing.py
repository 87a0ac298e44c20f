"""Molecules as flat drawings: coordinates by RDKit's rules of depiction, and grids of them as PNG or SVG.

Bonds are perceived from the geometry, as everywhere; hydrogens are left out. A molecule for which no bonds fit is
projected from the side on which it is widest, with all atoms, and lines between those that are close.
"""

import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

import numpy as np
from jaxtyping import Float, Float32, Int8, Int64, Integer, UInt8

from gaga.chem.bonds import COVALENT_FACTORS, perceive
from gaga.chem.connectivity import close_pairs
from gaga.core.errors import InvalidInput

if TYPE_CHECKING:
    from rdkit.Chem import Mol

WEDGE, HASH = 4, 5
"""Single bonds towards the reader and away from the reader, as `Depiction.orders` has them; the rest are 1, 2, 3."""

MOST_PICTURES = 500
"""Molecules of one picture; more do not fit into a PNG that other programs open."""

_MOST_LAID_OUT = 400  # atoms; rules of depiction take long for more, and show little
_WIDTH, _HEIGHT = 240, 220  # pixels of a molecule with its caption
_KEPT = (1.0, 0.78, 0.38)  # the colour behind atoms that were kept


@dataclass(frozen=True, eq=False, kw_only=True)
class Depiction:
    """The k atoms of a molecule that are drawn, and the b bonds between them.

    Attributes:
        atoms: their numbers in the molecule, [k].
        places: where they are drawn, in Å, [k, 2]; a bond is about 1.5 long.
        hydrogens: how many hydrogens are written with each of them, [k].
        charges: formal charges, [k].
        bonds: pairs of drawn atoms, [b, 2].
        orders: 1, 2 or 3, or `WEDGE` or `HASH`, whose narrow end is the first atom, [b].
        perceived: whether these are perceived bonds; else a projection of all atoms.
        smiles: of perceived bonds, with the stereochemistry of the positions and without hydrogens; else empty.
    """

    atoms: Int64[np.ndarray, " k"]
    places: Float32[np.ndarray, "k 2"]
    hydrogens: UInt8[np.ndarray, " k"]
    charges: Int8[np.ndarray, " k"]
    bonds: Int64[np.ndarray, "b 2"]
    orders: UInt8[np.ndarray, " b"]
    perceived: bool
    smiles: str = ""


def depict(
    atomic_numbers: Integer[np.ndarray, " N"], positions: Float[np.ndarray, "N 3"], *, charge: int = 0
) -> Depiction | None:
    """The drawing of a molecule; None without atoms, or if a position is not finite.

    Args:
        atomic_numbers: [N].
        positions: [N, 3] in Å.
        charge: total charge of the molecule.
    """
    if not len(atomic_numbers) or not np.isfinite(positions).all():
        return None
    molecule = perceive(atomic_numbers, positions, charge=charge) if len(atomic_numbers) <= _MOST_LAID_OUT else None
    return _projected(atomic_numbers, positions) if molecule is None else _laid_out(molecule)


def _laid_out(molecule: "Mol") -> Depiction:
    """By RDKit's rules, without hydrogens, with the stereochemistry of the positions."""
    from rdkit import Chem, rdBase
    from rdkit.Chem import rdDepictor

    with rdBase.BlockLogs():
        flat = Chem.RWMol(molecule)
        Chem.AssignStereochemistryFrom3D(flat)
        for atom in flat.GetAtoms():
            atom.SetIntProp(_PLACE, atom.GetIdx())
        flat = Chem.RemoveHs(flat, sanitize=False)
        flat.UpdatePropertyCache(strict=False)
        smiles = str(Chem.MolToSmiles(flat))
        Chem.Kekulize(flat, clearAromaticFlags=True)
        rdDepictor.Compute2DCoords(flat, canonOrient=True)
        rdDepictor.StraightenDepiction(flat)
        Chem.WedgeMolBonds(flat, flat.GetConformer())
    atoms, bonds = list(flat.GetAtoms()), list(flat.GetBonds())
    directions = {Chem.BondDir.BEGINWEDGE: WEDGE, Chem.BondDir.BEGINDASH: HASH}
    return Depiction(
        atoms=np.array([atom.GetIntProp(_PLACE) for atom in atoms], dtype=np.int64),
        places=flat.GetConformer().GetPositions()[:, :2].astype(np.float32),
        hydrogens=np.array([atom.GetTotalNumHs() for atom in atoms], dtype=np.uint8),
        charges=np.array([atom.GetFormalCharge() for atom in atoms], dtype=np.int8),
        bonds=_pairs([(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in bonds]),
        orders=np.array(
            [directions.get(bond.GetBondDir(), round(bond.GetBondTypeAsDouble())) for bond in bonds], dtype=np.uint8
        ),
        perceived=True,
        smiles=smiles,
    )


_PLACE = "gaga_place"


def _projected(atomic_numbers: Integer[np.ndarray, " N"], positions: Float[np.ndarray, "N 3"]) -> Depiction:
    """Onto the two axes along which the molecule is widest."""
    n = len(atomic_numbers)
    centred = positions.astype(np.float64) - positions.mean(axis=0, dtype=np.float64)
    axes = np.linalg.svd(centred, full_matrices=False)[2]
    places = np.zeros((n, 2), dtype=np.float32)
    flat = centred @ axes[:2].T
    places[:, : flat.shape[1]] = flat
    bonds = close_pairs(atomic_numbers, positions, COVALENT_FACTORS[-1])
    return Depiction(
        atoms=np.arange(n),
        places=places,
        hydrogens=np.zeros(n, np.uint8),
        charges=np.zeros(n, np.int8),
        bonds=bonds,
        orders=np.ones(len(bonds), np.uint8),
        perceived=False,
    )


def _pairs(found: list[tuple[int, int]]) -> Int64[np.ndarray, "b 2"]:
    return np.array(found, dtype=np.int64).reshape(-1, 2)


@dataclass(frozen=True, eq=False, kw_only=True)
class Cell:
    """One molecule of a grid.

    Attributes:
        numbers: atomic numbers of the whole molecule.
        depiction: how it is drawn; None leaves the cell empty but for the caption.
        caption: lines of text.
        kept: numbers of the atoms that are coloured.
    """

    numbers: UInt8[np.ndarray, " N"]
    depiction: Depiction | None
    caption: str
    kept: Collection[int] = ()


def draw_grid(cells: Sequence[Cell], form: str, *, columns: int) -> bytes:
    """A picture of molecules in rows of `columns`, with their captions, as "png" or "svg".

    Raises:
        InvalidInput: no molecule, or more than `MOST_PICTURES`; another format.
    """
    from rdkit import rdBase
    from rdkit.Chem.Draw import rdMolDraw2D

    kinds: dict[str, Any] = {"png": rdMolDraw2D.MolDraw2DCairo, "svg": rdMolDraw2D.MolDraw2DSVG}
    if form not in kinds:
        raise InvalidInput("molecules are drawn as .png or .svg", received=form)
    if not 0 < len(cells) <= MOST_PICTURES:
        raise InvalidInput(f"a picture has 1 to {MOST_PICTURES} molecules", received=len(cells))
    rows = -(-len(cells) // columns)
    with rdBase.BlockLogs():
        canvas = kinds[form](columns * _WIDTH, rows * _HEIGHT, _WIDTH, _HEIGHT)
        options = canvas.drawOptions()
        options.prepareMolsBeforeDrawing = False
        options.legendFontSize, options.legendFraction, options.padding = 14, 0.2, 0.06
        options.fixedBondLength = 32.0
        options.setHighlightColour(_KEPT)
        options.fillHighlights, options.highlightBondWidthMultiplier = True, 16
        molecules = [_drawn(cell) for cell in cells]
        coloured = [_coloured(cell) for cell in cells]
        canvas.DrawMolecules(
            molecules,
            legends=[_literal(cell.caption) for cell in cells],
            highlightAtoms=[atoms for atoms, _ in coloured],
            highlightBonds=[bonds for _, bonds in coloured],
        )
        canvas.FinishDrawing()
        text = canvas.GetDrawingText()
    return text.encode() if isinstance(text, str) else _smaller(bytes(text))


def _smaller(png: bytes) -> bytes:
    """A PNG with a table of its colours, half as large."""
    from PIL import Image

    made = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:  # not atomic: in memory
        picture.convert("RGB").quantize(64).save(made, "PNG", optimize=True)
    return made.getvalue()


def _coloured(cell: Cell) -> tuple[list[int], list[int]]:
    """The drawn atoms that were kept, and the bonds between them."""
    if cell.depiction is None:
        return [], []
    kept = np.isin(cell.depiction.atoms, list(cell.kept))
    return np.flatnonzero(kept).tolist(), np.flatnonzero(kept[cell.depiction.bonds].all(axis=1)).tolist()


def _literal(caption: str) -> str:
    """A caption in the letters of RDKit's font, without what RDKit takes for markup, such as <sub>."""
    plain = normalize("NFKD", caption).encode("ascii", "ignore").decode()
    return plain.replace("<", "(").replace(">", ")")


def _drawn(cell: Cell) -> "Mol":
    """A molecule with the atoms, bonds and places of a depiction, as it is drawn; none of it is checked."""
    from rdkit import Chem

    molecule, found = Chem.RWMol(), cell.depiction
    if found is None:
        return _empty()
    conformer = Chem.Conformer(len(found.atoms))
    conformer.Set3D(False)
    for i, (number, hydrogens, charge) in enumerate(
        zip(cell.numbers[found.atoms].tolist(), found.hydrogens.tolist(), found.charges.tolist(), strict=True)
    ):
        atom = Chem.Atom(number)
        atom.SetNoImplicit(True)
        atom.SetNumExplicitHs(hydrogens)
        atom.SetFormalCharge(charge)
        molecule.AddAtom(atom)
        conformer.SetAtomPosition(i, [*found.places[i].tolist(), 0.0])
    kinds = {2: Chem.BondType.DOUBLE, 3: Chem.BondType.TRIPLE}
    directions = {WEDGE: Chem.BondDir.BEGINWEDGE, HASH: Chem.BondDir.BEGINDASH}
    for (i, j), order in zip(found.bonds.tolist(), found.orders.tolist(), strict=True):
        n_bonds = molecule.AddBond(i, j, kinds.get(order, Chem.BondType.SINGLE))
        molecule.GetBondWithIdx(n_bonds - 1).SetBondDir(directions.get(order, Chem.BondDir.NONE))
    molecule.AddConformer(conformer)
    molecule.UpdatePropertyCache(strict=False)
    Chem.FastFindRings(molecule)
    return molecule.GetMol()


def _empty() -> "Mol":
    """A dash; of a molecule without atoms RDKit does not write the caption."""
    from rdkit import Chem

    molecule = Chem.RWMol()
    molecule.AddAtom(Chem.Atom(0))
    molecule.GetAtomWithIdx(0).SetProp("_displayLabel", "-")
    molecule.AddConformer(Chem.Conformer(1))
    molecule.UpdatePropertyCache(strict=False)
    return molecule.GetMol()
