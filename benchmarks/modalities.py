"""Molecules and images compared: the curves that ship, their figure, and the tables of docs/MODALITIES.md.

pip install "gaga-mol[images]" brings the images, and gaga data prepare qm9 the molecules.

python benchmarks/modalities.py measure     all six modalities, into gaga/shipped/modalities.json: ten minutes
python benchmarks/modalities.py tables      the tables, from what ships
python benchmarks/modalities.py stored      norms of QM9's cumulants in the order and orientation of its file
python benchmarks/modalities.py figure      modalities.png, from what ships: as gaga modalities --plot
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import gaga
from gaga import load_dataset
from gaga.cli.modalities import norm_text
from gaga.core.progress import Reporter
from gaga.data.features import FeatureSpace
from gaga.data.images import IMAGES
from gaga.runs.modalities import SHIPPED, ModalitiesRequest, as_json, draw, run, shipped
from gaga.runs.once import Policy
from gaga.stats.arrays import arrays_of
from gaga.stats.cumulants import cumulant_norms
from gaga.stats.modalities import joined
from gaga.storage.files import atomic_write

STEPS = (0, 200, 400, 550, 650)
FILE = Path(gaga.__file__).parent / "shipped" / SHIPPED


def measure(seed: int) -> None:
    """Every modality, into the file that ships."""
    parts = []
    for dataset in ("qm9", *IMAGES):
        print(f"{dataset} ...", flush=True)
        parts.append(run(ModalitiesRequest(dataset=dataset, seed=seed), None, Policy(), Reporter()).result)
    with atomic_write(FILE) as partial:
        partial.write_text(as_json(joined(parts)))
    print(f"Wrote {FILE}, {FILE.stat().st_size:,} bytes")


def _row(*cells: object) -> None:
    print("|", " | ".join(str(cell) for cell in cells), "|")


def tables() -> None:
    """What docs/MODALITIES.md has."""
    result = shipped()
    at = [result.timesteps.tolist().index(t) for t in STEPS]
    curves = {
        "D_t to one Gaussian": (result.distances[..., 0], ".3f"),
        "± (95 %)": (result.reach[..., 0], ".3f"),
        "D_t, a Gaussian field": (result.null_distances[..., 0], ".3f"),
        "D_t to each entry's own": (result.distances[..., 1], ".3f"),
        "pass, equally many": (result.passes[..., 1], ".2f"),
        "the same, a Gaussian field": (result.null_passes[..., 1], ".2f"),
        "pass, all values": (result.passes[..., 0], ".2f"),
        "the same, a Gaussian field ": (result.null_passes[..., 0], ".2f"),
        "adjacent pixels, nats": (result.information[..., 0], ".3f"),
        "random pixels, nats": (result.information[..., 1], ".4f"),
        "H": (result.proposition(), ".3g"),
    }
    for title, (values, form) in curves.items():
        _row(title, *(f"t = {t}" for t in STEPS))
        _row(*["---"] * (1 + len(at)))
        for k, name in enumerate(result.names):
            _row(name, *(f"{values[k, s]:{form}}" for s in at))
        print()
    _row("modality", "samples", "values", "variance", "dimensions", "off-diagonal", "C3", "C4")
    _row(*["---"] * 8)
    for k, name in enumerate(result.names):
        norms = (norm_text(result, k, i) for i in range(3))
        _row(name, f"{result.samples[k]:,}", result.values[k], f"{result.variance[k]:.3g}", result.columns[k], *norms)


def stored(seed: int) -> None:
    """The same norms as if order and orientation of QM9's file had a meaning, of molecules of 18 atoms."""
    data = load_dataset("qm9")
    space, n_atoms = FeatureSpace(vocabulary=data.vocabulary), 18
    molecules = data.molecules.select(np.flatnonzero(data.molecules.n_atoms == n_atoms))
    arrays = space.encode(molecules).reshape(len(molecules), n_atoms, -1)
    for block, columns in space.blocks.items():
        some = arrays_of(arrays[..., columns], "sample", 54)
        found = cumulant_norms(some.x, seed=seed)
        _row(block, *(f"{norm:.3g}" for norm in found.norms / some.variance ** np.array([1.0, 1.5, 2.0])))


def main(words: Sequence[str] | None = None) -> int:
    """Do what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("measure", "tables", "stored", "figure"))
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(words)
    if asked.what == "tables":
        tables()
    elif asked.what == "figure":
        draw(shipped(), Path("modalities.png"), Reporter())
    else:
        {"measure": measure, "stored": stored}[asked.what](asked.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
