"""A model of EDM's or GAGA's published code becomes a gaga checkpoint."""

from dataclasses import replace
from pathlib import Path

from gaga.core.progress import Reporter
from gaga.data.shapes import ShapeLibrary
from gaga.models.checkpoint import Checkpoint, save_checkpoint
from gaga.models.edm import import_edm
from gaga.runs.inputs import moments_of, read_dataset
from gaga.storage.files import refuse_to_overwrite, require_writable


def run(
    folder: Path,
    out: Path,
    report: Reporter,
    *,
    dataset: str | Path | None = None,
    centred_features: bool | None = None,
    max_t: int | None = None,
    overwrite: bool = False,
    cache: Path | None = None,
) -> tuple[Checkpoint, str]:
    """Write the checkpoint, with the sizes and moments of the data set if one is named; also what was assumed and why.

    Raises:
        Conflict: `out` is already there. Unavailable: it cannot be written.
        InvalidInput, NotFound: as `models.edm.import_edm` and `load_dataset`.
    """
    refuse_to_overwrite(out, overwrite=overwrite)
    require_writable(out)
    checkpoint, decided = import_edm(folder, None, centred_features=centred_features, max_t=max_t)
    if dataset is not None:
        data = read_dataset(dataset, report, cache=cache)
        provenance = {**checkpoint.provenance, "moments_from": {data.name: data.fingerprint}}
        moments = moments_of(data, checkpoint.space, report)
        shapes = ShapeLibrary.of(data.molecules, data.splits["train"], checkpoint.space)
        checkpoint = replace(checkpoint, moments=moments, shapes=shapes, provenance=provenance)
    save_checkpoint(checkpoint, out)
    return checkpoint, decided
