"""The figures of docs/STEER.md: molecules around molecules, with a fixed ring, of one composition.

    python benchmarks/editing.py around --n 50 --molecules 5
    python benchmarks/editing.py ring --n 100 --ring-of examples/mosesaq_xtb_1000.sdf.gz
    python benchmarks/editing.py composition --n 100 --formula C7H10O2

Rates are of all molecules drawn, by the strict protocol of `gaga evaluate`, with 95 % intervals by bootstrap over
molecules; novel: valid and not in QM9's training split. QM9 is read from the default cache.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from scipy.stats import wasserstein_distance

from gaga import load_dataset, load_model
from gaga.chem.annotate import annotate
from gaga.chem.bonds import perceive
from gaga.chem.elements import symbol_of
from gaga.chem.records import Record
from gaga.chem.similarity import similarity
from gaga.chem.writers import open_writer
from gaga.core.statistics import share_interval
from gaga.data.features import require_features
from gaga.models.model import Model
from gaga.models.sampling.config import SampleConfig
from gaga.models.sampling.molecules import Sampled
from gaga.models.sampling.stream import sample_stream
from gaga.runs.keep import among_others

STRENGTHS = (0.1, 0.3, 0.6, 1.0)
_DATA = 2000  # test molecules whose bonds junctions are compared with


def main(words: Sequence[str] | None = None) -> None:
    """Print the table that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=("around", "ring", "composition"))
    parser.add_argument("--checkpoint", default="qm9_small")
    parser.add_argument("--n", type=int, default=50)
    parser.add_argument("--molecules", type=int, default=5)
    parser.add_argument("--formula", default="C7H10O2")
    parser.add_argument("--ring-of", default="qm9", help="the data set or file that the ring is taken from")
    parser.add_argument("--resample", type=int, nargs="+", default=[10, 1])
    parser.add_argument("--t-start", type=int, nargs="+", default=[None])
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(words)
    model = load_model(asked.checkpoint)
    with TemporaryDirectory() as folder:
        lines = {"around": around, "ring": ring, "composition": composition}[asked.study](model, asked, Path(folder))
        for line in lines:
            print(line, flush=True)


def around(model: Model, asked: argparse.Namespace, folder: Path) -> Iterator[str]:
    """Similarity, validity and novelty against strength."""
    yield "| strength, Å | n | valid | the same molecule | novel | ECFP4 Tanimoto to it | RMSD to it, Å |"
    yield "|---|---|---|---|---|---|---|"
    data, inputs = load_dataset("qm9"), []
    for row in np.random.default_rng(asked.seed).permutation(data.splits["test"])[: asked.molecules]:
        numbers, positions = data.molecules[int(row)]
        inputs.append((written(folder / f"{row}.sdf", numbers, positions), smiles_of(numbers, positions)))
    for strength in STRENGTHS:
        alike, far, valid, same, novel = [], [], 0, 0, 0
        new = among_others("novel", "qm9")
        for path, smiles in inputs:
            for drawn in draws(model, asked, SampleConfig(around=path, strength=strength)):
                far.append(drawn.notes["rmsd_to_input"])
                found = smiles_of(drawn.atomic_numbers, drawn.positions)
                valid, same = valid + bool(found), same + (found == smiles)
                novel += bool(new is not None and new(found))
                alike += [similarity(found, smiles)] if found else []
        n = len(far)
        spread = f"{np.mean(alike):.2f} ± {np.std(alike):.2f}" if alike else "none valid"
        yield (f"| {strength} | {n} | {share(valid, n)} | {share(same, n)} | {share(novel, n)} | {spread} "
               f"| {np.mean(far):.2f} |")  # fmt: skip


def ring(model: Model, asked: argparse.Namespace, folder: Path) -> Iterator[str]:
    """The ring of a test molecule, and what grows on it; junction bonds beside those of QM9."""
    rows = {name: np.random.default_rng(asked.seed).permutation(load_dataset(name).splits["test"])
            for name in ("qm9", asked.ring_of)}  # fmt: skip
    data, test, others = load_dataset("qm9"), rows["qm9"], load_dataset(asked.ring_of)
    known = set(require_features(model.space).vocabulary)
    numbers, positions, atoms = next(
        found for row in rows[asked.ring_of]
        if (found := ring_of(*others.molecules[int(row)])) is not None and set(found[0][found[2]].tolist()) <= known
    )  # fmt: skip
    path = written(folder / "ring.sdf", numbers[atoms], positions[atoms])
    yield f"Ring of {''.join(map(symbol_of, numbers[atoms].tolist()))}, from {smiles_of(numbers, positions)}."
    of_data: dict[str, list[float]] = defaultdict(list)
    for row in test[:_DATA]:
        junctions(*data.molecules[int(row)], None, of_data)
    yield "| tries | first step | n | ring intact | RMSD before, Å | valid | connected | unique of valid |"
    yield "|---|---|---|---|---|---|---|---|"
    bonds = {}
    for tries in asked.resample:
        for first in asked.t_start:
            config = SampleConfig(scaffold=path, resample=tries, t_start=first)
            drawn = list(draws(model, asked, config))
            n, far = len(drawn), [molecule.notes["fragment_rmsd"] for molecule in drawn]
            names = [smiles_of(molecule.atomic_numbers, molecule.positions) for molecule in drawn]
            own: dict[str, list[float]] = defaultdict(list)
            joined = [junctions(m.atomic_numbers, m.positions, len(atoms), own) for m in drawn]
            bonds[tries, first] = own
            valid, intact = sum(map(bool, names)), sum(off <= 0.1 for off in far)
            unique = f"{len(set(names) - {''})} of {valid}"
            yield (f"| {tries} | {first or model.max_t} | {n} | {share(intact, n)} | {np.mean(far):.3f}, at most "
                   f"{max(far):.3f} | {share(valid, n)} | {share(sum(joined), n)} | {unique} |")  # fmt: skip
    yield ""
    yield "| junction | tries | bonds | length, Å | of data | W1, Å |"
    yield "|---|---|---|---|---|---|"
    for (tries, first), own in bonds.items():
        for kind, lengths in sorted(own.items()):
            if len(lengths) >= 5 and kind in of_data:
                known = of_data[kind]
                yield (f"| {kind} | {tries} from {first or model.max_t} | {len(lengths)} | {np.mean(lengths):.3f} ± "
                       f"{np.std(lengths):.3f} | {np.mean(known):.3f} ± {np.std(known):.3f} ({len(known)}) "
                       f"| {wasserstein_distance(lengths, known):.3f} |")  # fmt: skip


def composition(model: Model, asked: argparse.Namespace, folder: Path) -> Iterator[str]:
    """Molecules of one composition, exactly or from the start, beside those of its size."""
    yield f"| {asked.formula} | n | of the composition | stable (EDM) | valid | unique of valid |"
    yield "|---|---|---|---|---|---|"
    exact = SampleConfig(composition=asked.formula)
    size = exact.only_sizes
    kinds = {
        "exact": exact,
        "of the start": SampleConfig(composition_start=asked.formula),
        "any": SampleConfig(sizes=size),
    }
    (first,) = sample_stream(model, range(1), SampleConfig(composition=asked.formula, steps=1), seed=0)
    wanted = sorted(first.atomic_numbers.tolist())
    for name, config in kinds.items():
        drawn = list(draws(model, asked, config))
        found = [annotate(m.atomic_numbers, m.positions, name="", properties={}) for m in drawn]
        names, n = [one.smiles for one in found if one.smiles], len(drawn)
        same = sum(sorted(molecule.atomic_numbers.tolist()) == wanted for molecule in drawn)
        yield (f"| {name} | {n} | {share(same, n)} | {share(sum(one.stable for one in found), n)} "
               f"| {share(len(names), n)} | {len(set(names))} of {len(names)} |")  # fmt: skip


def draws(model: Model, asked: argparse.Namespace, config: SampleConfig) -> Iterator[Sampled]:
    """The molecules of a run."""
    return sample_stream(model, range(asked.n), config, seed=asked.seed)


def written(path: Path, numbers: np.ndarray, positions: np.ndarray) -> Path:
    """The atoms in a file of their own."""
    with open_writer(path, overwrite=True) as writer:
        writer.write(Record(numbers, positions, path.stem))
    return path


def smiles_of(numbers: np.ndarray, positions: np.ndarray) -> str:
    """SMILES of a valid molecule, else empty."""
    return annotate(numbers, positions, name="", properties={}).smiles


def ring_of(numbers: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[int]] | None:
    """A molecule and the atoms of its first ring, if that has five or six and shares none with another ring."""
    mol = perceive(numbers, positions)
    rings = [] if mol is None else [list(atoms) for atoms in mol.GetRingInfo().AtomRings()]
    alone = rings and all(set(rings[0]).isdisjoint(other) for other in rings[1:])
    return (numbers, positions, rings[0]) if alone and len(rings[0]) in (5, 6) else None


def junctions(numbers: np.ndarray, positions: np.ndarray, k: int | None, lengths: dict[str, list[float]]) -> bool:
    """Add bonds between a ring's atoms (the first k, or those of rings) and heavy atoms outside it, by kind.

    Whether the molecule is in one piece.
    """
    from rdkit import Chem

    mol = perceive(numbers, positions)
    if mol is None:
        return False
    for bond in mol.GetBonds():
        ends = [(bond.GetBeginAtomIdx(), bond.GetBeginAtom()), (bond.GetEndAtomIdx(), bond.GetEndAtom())]
        inside = [atom.IsInRing() if k is None else index < k for index, atom in ends]
        single = bond.GetBondType() == Chem.BondType.SINGLE and not bond.IsInRing()
        if single and inside[0] != inside[1] and all(atom.GetAtomicNum() > 1 for _, atom in ends):
            (i, a), (j, b) = ends if inside[0] else ends[::-1]
            apart = float(np.linalg.norm(positions[i].astype(float) - positions[j].astype(float)))
            lengths[f"ring {a.GetSymbol()}-{b.GetSymbol()}"].append(apart)
    return len(Chem.GetMolFrags(mol)) == 1


def share(count: int, n: int) -> str:
    """A share in per cent with its interval."""
    found = share_interval(count, n, rng=np.random.default_rng(0))
    return f"{100 * found.estimate:.0f} % ({100 * found.low:.0f} to {100 * found.high:.0f})"


if __name__ == "__main__":
    main(sys.argv[1:])
