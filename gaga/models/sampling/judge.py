"""Judges molecules as they are drawn: in this process, or in several, so that a GPU need not wait."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from gaga.chem.annotate import annotate
from gaga.chem.records import NOT_FINITE
from gaga.chem.similarity import similarity
from gaga.chem.writers import as_written
from gaga.core.processes import Workers
from gaga.models.sampling.molecules import JudgedMolecule, Sampled

_CHUNK = 32  # molecules
_WORTH_PROCESSES = 256  # of a batch: starting processes takes as long as judging about this many


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Judges molecules and makes their records.

    Attributes:
        out: the output file, whose name says how records look.
        keep: `all`, `valid` by the strict protocol, or `stable` by EDM's; a .smi file holds what has a SMILES.
        label: the checkpoint, as the records name it.
        like: SMILES of the molecule that all are to be like; empty if there is none.
    """

    out: Path
    keep: str
    label: str
    like: str = ""

    def __call__(self, seed: int, molecules: Sequence[Sampled]) -> list[JudgedMolecule]:
        """Molecules of this seed, ready to be spooled."""
        return [self._judged(seed, molecule) for molecule in molecules]

    def _judged(self, seed: int, molecule: Sampled) -> JudgedMolecule:
        properties = {"gaga_seed": str(seed), "gaga_index": str(molecule.index), "checkpoint": self.label}
        properties |= {
            name: f"{value:.{6 if name.startswith('target_') else 4}g}" for name, value in molecule.notes.items()
        }
        name = f"gaga-{seed}-{molecule.index}"
        atoms = slice(None) if molecule.finite else slice(0)  # without coordinates there is no atom to write
        if not molecule.finite:
            properties[NOT_FINITE] = f"{len(molecule.atomic_numbers)} atoms"
        found = annotate(molecule.atomic_numbers[atoms], molecule.positions[atoms], name=name, properties=properties)
        record = found.record
        if self.like and found.smiles:
            alike = {"similarity_to_input": f"{similarity(found.smiles, self.like):.3f}"}
            record = replace(record, properties={**record.properties, **alike})
        valid = None if found.valid is None else found.valid and molecule.finite
        stable, smiles = found.stable and molecule.finite, found.smiles
        kept = {"all": True, "valid": bool(valid), "stable": stable}[self.keep]
        if self.out.name.lower().endswith(".smi") and not smiles:
            kept = False
        return JudgedMolecule(
            seed=seed, index=molecule.index, atomic_numbers=molecule.atomic_numbers, positions=molecule.positions,
            finite=molecule.finite, stable=stable, n_stable_atoms=found.n_stable_atoms, valid=valid,
            smiles=smiles, text=as_written(self.out, record, found.mol) if kept else b"",
        )  # fmt: skip


class Judges:
    """The same by several processes, so that the interpreter is free to feed the GPU; a context manager.

    Args:
        judge: what each of them does.
        processes: how many; 1 is this process alone. They start with the first batch that is worth it.
    """

    def __init__(self, judge: Judge, processes: int = 1) -> None:
        self._judge, self._processes = judge, processes
        self._workers = Workers(partial(_judge_part, judge), processes, remedy="continue with `resume=True`")

    def __call__(self, seed: int, molecules: Sequence[Sampled]) -> list[JudgedMolecule]:
        """Molecules of this seed, ready to be spooled, in their order.

        Raises:
            Unavailable: a process has ended early.
        """
        if self._processes == 1 or len(molecules) < _WORTH_PROCESSES:
            return self._judge(seed, molecules)
        bare = [replace(molecule, frames=()) for molecule in molecules]
        parts = [(seed, bare[first : first + _CHUNK]) for first in range(0, len(bare), _CHUNK)]
        return [molecule for part in self._workers.map(parts) for molecule in part]

    def __enter__(self) -> "Judges":
        return self

    def __exit__(self, *failure: Any) -> None:
        self._workers.__exit__(*failure)


def _judge_part(judge: Judge, part: tuple[int, Sequence[Sampled]]) -> list[JudgedMolecule]:
    return judge(*part)
