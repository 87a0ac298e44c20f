"""GEOM-Drugs' forms, made of any molecules: what its publishers' and EDM's code would write of them."""

import io
import json
import pickle
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from gaga.chem.io import Record, read_molecules

SDF = Path(__file__).parents[2] / "examples" / "mosesaq_xtb_1000.sdf.gz"


@dataclass(frozen=True)
class Molecule:
    """A molecule with conformers of positions [N, 3] and energies."""

    smiles: str
    numbers: NDArray[np.uint8]
    conformers: Sequence[NDArray[np.float64]]
    energies: Sequence[float]


def drugs(n: int | None = None) -> list[Molecule]:
    """The first molecules of the example, one conformer each; a SMILES that tells them apart, not one of theirs."""
    records = [record for record in read_molecules(SDF) if isinstance(record, Record)][:n]
    return [Molecule(f"molecule {i}", r.atomic_numbers, [r.positions], [-float(i)]) for i, r in enumerate(records)]


def with_conformers(molecules: Sequence[Molecule], count: int, seed: int = 0) -> list[Molecule]:
    """Each with so many conformers, jittered, in no order of their energies."""
    rng = np.random.default_rng(seed)
    return [
        Molecule(
            m.smiles,
            m.numbers,
            [m.conformers[0] + rng.normal(scale=0.02, size=m.conformers[0].shape) for _ in range(count)],
            list(map(float, rng.permutation(count))),
        )
        for m in molecules
    ]


def write_npy(path: Path, molecules: Sequence[Molecule]) -> Path:
    """EDM's layout; conformers lowest energy first, as its code writes them."""
    rows, number = [], 0
    for molecule in molecules:
        for k in np.argsort(molecule.energies, kind="stable"):
            n = len(molecule.numbers)
            rows.append(np.column_stack([np.full(n, number), molecule.numbers, molecule.conformers[k]]))
            number += 1
    np.save(path, np.vstack(rows))
    return path


def as_dictionary(molecule: Molecule, first: int = 0) -> dict[str, Any]:
    """What the publishers' msgpack has of a molecule."""
    conformers = [
        {
            "geom_id": first + k, "set": 1, "degeneracy": 1, "totalenergy": energy, "relativeenergy": 0.0,
            "boltzmannweight": 0.5, "conformerweights": [0.25, 0.25],
            "xyz": [[float(z), *map(float, xyz)] for z, xyz in zip(molecule.numbers, positions, strict=True)],
        }
        for k, (positions, energy) in enumerate(zip(molecule.conformers, molecule.energies, strict=True))
    ]  # fmt: skip
    return {
        "totalconfs": len(conformers), "temperature": 298.15, "uniqueconfs": len(conformers), "charge": 0,
        "conformers": conformers, "datasets": ["plain"],
    }  # fmt: skip


def write_msgpack(path: Path, molecules: Sequence[Molecule], each: int = 300) -> Path:
    """A stream of dictionaries of so many molecules."""
    with path.open("wb") as file:
        for first in range(0, len(molecules), each):
            some = {m.smiles: as_dictionary(m, 100 * first) for m in molecules[first : first + each]}
            file.write(msgpack.packb(some))
    return path


def as_pickle(molecule: Molecule, protocol: int = 3, *, numpy_energies: bool = True) -> bytes:
    """What the publishers' pickle has of a molecule."""
    from rdkit import Chem

    whole = as_dictionary(molecule)
    for conformer, positions in zip(whole["conformers"], molecule.conformers, strict=True):
        del conformer["xyz"]
        conformer["rd_mol"] = _rdkit_molecule(Chem, molecule.numbers, positions)
        if numpy_energies:
            conformer["totalenergy"] = np.float64(conformer["totalenergy"])
            conformer["geom_id"] = np.int64(conformer["geom_id"])
    return pickle.dumps(whole | {"smiles": molecule.smiles}, protocol)


def _rdkit_molecule(chem: Any, numbers: NDArray[np.uint8], positions: NDArray[np.float64]) -> Any:
    molecule = chem.RWMol()
    for number in numbers:
        molecule.AddAtom(chem.Atom(int(number)))
    conformer = chem.Conformer(len(numbers))
    conformer.SetPositions(np.ascontiguousarray(positions, dtype=np.float64))
    molecule.AddConformer(conformer)
    return molecule.GetMol()


def write_folder(folder: Path, molecules: Sequence[Molecule]) -> Path:
    """The unpacked folder; names that sort otherwise than the summary lists them."""
    (folder / "drugs").mkdir(parents=True)
    summary = {}
    for name, molecule in zip(_names(len(molecules)), molecules, strict=True):
        (folder / "drugs" / name).write_bytes(as_pickle(molecule))
        summary[molecule.smiles] = {"uniqueconfs": len(molecule.conformers), "pickle_path": f"drugs/{name}"}
    (folder / "summary_drugs.json").write_text(json.dumps(summary))
    return folder


def _names(n: int) -> Iterator[str]:
    return (f"{(7 * i) % 10007:05d}_å.pickle" for i in range(n))


def write_archive(path: Path, molecules: Sequence[Molecule], mode: str = "w:gz") -> Path:
    """The archive, with the folder's other files."""
    members = [(f"rdkit_folder/drugs/{i}.pickle", as_pickle(m)) for i, m in enumerate(molecules)]
    return write_members(path, [("rdkit_folder/summary_drugs.json", b"{}"), *members], mode)


def write_members(path: Path, members: Sequence[tuple[str, bytes]], mode: str = "w:gz") -> Path:
    """An archive of any members."""
    with tarfile.open(path, mode) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path
