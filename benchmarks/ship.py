"""Make a checkpoint of a training run into the one that ships: averaged weights in half precision, figures inside.

    python benchmarks/ship.py runs/qm9 --half --out half.safetensors      no figures yet: measure this file
    python benchmarks/ship.py runs/qm9 --cells quality.jsonl --measured half.safetensors --out shipped.safetensors
    python benchmarks/ship.py --shapes qm9 --out gaga/shipped/shapes_qm9.safetensors
    python benchmarks/ship.py --results gaga.h5 --out gaga/shipped/results.h5

`--shapes` writes shapes of a data set's training molecules, for checkpoints that do not hold theirs. `--results` writes
a store of `gaga variance --dataset qm9 --replace` and `gaga gaussianity --dataset qm9 --replace`, made in an empty
folder, in as few bytes as gzip can.

Figures are those of finished cells (benchmarks/quality.py) of this very file of weights: of its half-precision form,
since that is what users sample from. Written twice from the same run, both forms have the same weights.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from measuring.lines import Lines
from scipy.stats import ks_2samp

from gaga.core.errors import GagaError, InvalidInput
from gaga.data.features import FeatureSpace
from gaga.data.loading import load_dataset
from gaga.data.shapes import ShapeLibrary, gyration_eigenvalues, save_shapes
from gaga.models.api import model_file
from gaga.models.checkpoint import Checkpoint, file_digest, load_checkpoint, save_checkpoint

_LARGEST = 12 * 2**20  # bytes of a checkpoint that goes into the package


def in_half(checkpoint: Checkpoint) -> Checkpoint:
    """The same with weights rounded to float16.

    Raises:
        InvalidInput: a weight is beyond its range.
    """
    weights = {name: value.half() for name, value in checkpoint.weights.items()}
    if not all(torch.isfinite(value).all() for value in weights.values()):
        raise InvalidInput("a weight is too large for float16")
    return replace(checkpoint, weights=weights)


def figures(path: Path, measured: Path) -> dict[str, Any]:
    """Rates with intervals of the cells that were drawn from this file.

    Raises:
        InvalidInput: there are none.
    """
    rows = [row for row in Lines(path).rows() if row["key"]["checkpoint"] == file_digest(measured)]
    if not rows:
        raise InvalidInput(f"no cell of {path} was drawn from {measured}", remedy="run benchmarks/quality.py with it")
    kept = ("key", "labels", "rates", "classes")
    return {"cells": [{name: row[name] for name in kept if name in row} for row in rows]}


def write_shapes(name: str, out: Path) -> None:
    """The file of a data set's shapes; says how many rows it has."""
    data = load_dataset(name)
    library = ShapeLibrary.of(data.molecules, data.splits["train"], FeatureSpace(data.vocabulary))
    if library is None:
        raise InvalidInput("no molecules in the training split", received=name)
    save_shapes(library, data.fingerprint, data.vocabulary, out)
    print(f"{out}: {out.stat().st_size / 1e3:.0f} kB, {len(library.n_atoms):,} molecules")
    train = data.molecules.take(np.sort(data.splits["train"]))
    shares, known = (values[:, 0] / values.sum(axis=1) for values in (gyration_eigenvalues(train), library.eigenvalues))
    sampled = [n for n in np.unique(train.n_atoms) if (train.n_atoms == n).sum() > (library.n_atoms == n).sum()]
    far = [ks_2samp(shares[train.n_atoms == n], known[library.n_atoms == n]).statistic for n in sampled]
    if far:
        print(f"KS distance of the largest eigenvalue's share to all molecules of a size, {len(far)} sizes: "
              f"mean {np.mean(far):.3f}, largest {max(far):.3f}")  # fmt: skip


def compress(store: Path, out: Path) -> None:
    """The same store with its arrays compressed anew at gzip's highest level."""

    def put(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset) and item.compression:
            how = {"chunks": item.chunks, "shuffle": item.shuffle, "compression": "gzip", "compression_opts": 9}
            copied = written.create_dataset(name, data=item[()], **how)
        elif isinstance(item, h5py.Dataset):
            read.copy(item, written, name)
            return
        else:
            copied = written.require_group(name)
        copied.attrs.update(item.attrs)

    with h5py.File(store) as read, h5py.File(out, "w") as written:
        written.attrs.update(read.attrs)
        read.visititems(put)
    print(f"{out}: {out.stat().st_size / 1e6:.2f} MB, {store}: {store.stat().st_size / 1e6:.2f} MB")


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", help="a run's folder, or a checkpoint")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--half", action="store_true", help="without figures, to be measured")
    parser.add_argument("--cells", type=Path, help="finished cells, drawn from --measured")
    parser.add_argument("--measured", type=Path, help="the file that they were drawn from, written with --half")
    parser.add_argument("--shapes", metavar="DATASET", help="write shapes of its training molecules")
    parser.add_argument("--results", type=Path, metavar="STORE", help="write its results in fewer bytes")
    asked = parser.parse_args()
    if asked.results is not None:
        compress(asked.results, asked.out)
        return
    if asked.shapes is not None:
        write_shapes(asked.shapes, asked.out)
        return
    if asked.run is None:
        parser.error("give a run, --shapes or --results")
    checkpoint = in_half(load_checkpoint(model_file(asked.run)))
    if not asked.half:
        if asked.cells is None or asked.measured is None:
            parser.error("give --cells and --measured, or --half")
        same = load_checkpoint(asked.measured).weights
        if not all(torch.equal(same[name], value) for name, value in checkpoint.weights.items()):
            raise InvalidInput(f"{asked.measured} has other weights than {asked.run}")
        checkpoint = replace(checkpoint, metrics={**checkpoint.metrics, **figures(asked.cells, asked.measured)})
    save_checkpoint(checkpoint, asked.out)
    size = asked.out.stat().st_size
    print(f"{asked.out}: {size / 1e6:.2f} MB, {sum(v.numel() for v in checkpoint.weights.values()):,} parameters")
    if size > _LARGEST:
        raise InvalidInput("too large for the package", received=f"{size / 2**20:.1f} MiB", remedy="at most 12 MiB")


if __name__ == "__main__":
    try:
        main()
    except GagaError as error:
        sys.exit(str(error))
