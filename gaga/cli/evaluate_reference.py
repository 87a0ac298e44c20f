"""What `gaga evaluate` holds molecules against: a row that ships, the user's own data set, or nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gaga import __version__
from gaga.cli.render import Output
from gaga.cli.results import Key, slug
from gaga.cli.resuming import Resumption, compute_resumably

if TYPE_CHECKING:
    from gaga.data import Dataset
    from gaga.evaluation import DataReference
    from gaga.storage.partial import PartialFile
    from gaga.storage.store import Store

NO_REFERENCE, SHIPPED = "none", "qm9"
CHARGES = {"charges": "as given"}
"""Part of what results of molecules come from: earlier versions took all of them for neutral."""
TEST_SHARE = 10  # the row is of one molecule for so many of the training split's


@dataclass(frozen=True, kw_only=True)
class Against:
    """What molecules are held against.

    Attributes:
        typed: as the user names it: `qm9`, `none` or a path.
        protocol: "edm" or "strict".
        size: molecules of the training split that are judged, at most.
        time_limit: seconds for one molecule of it.
        threads: processes.
        cache: folder of prepared data sets.
    """

    typed: str
    protocol: str
    size: int
    time_limit: float | None
    threads: int | None
    cache: Path | None


@dataclass(frozen=True, kw_only=True)
class Held:
    """The same, ready.

    Attributes:
        name: of the data set, None for none.
        reference: its training split and its row, None for none.
        data: the data set, None where it was not read.
        config, inputs: part of a result's header.
    """

    name: str | None = None
    reference: "DataReference | None" = None
    data: "Dataset | None" = None
    config: Mapping[str, object] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)


def hold(against: Against, store: "Store", output: Output) -> Held:
    """Make ready what molecules are held against; the user's own data set is judged once and kept in the store.

    Raises:
        NotFound, InvalidInput, Unavailable: as `load_dataset` and `reference_of`.
    """
    typed = against.typed.lower()
    if typed == NO_REFERENCE:
        return Held()
    if typed == SHIPPED:
        from gaga.evaluation import shipped_reference

        return Held(name=SHIPPED, reference=shipped_reference(SHIPPED, against.protocol))
    return _hold_own(against, store, output)


def _hold_own(against: Against, store: "Store", output: Output) -> Held:
    from gaga.cli.data import read_dataset
    from gaga.evaluation import DataReference, reference_of

    data = read_dataset(against.typed, output, cache=against.cache)
    sizes = {"reference_size": against.size, "row_size": max(1, against.size // TEST_SHARE)}
    key = Key(
        kind="reference",
        name=f"{slug(data.name)}_{against.protocol}_{data.fingerprint[:8]}",
        # A row that an older program judged would stand beside molecules that this one judges.
        config={
            "protocol": against.protocol,
            "time_limit": against.time_limit,
            **sizes,
            "rdkit": rdkit_version(),
            "gaga": __version__,
        },
        inputs=inputs_of(data),
    )
    with output.progress(f"judging {data.name}") as progress:

        def work(pieces: "PartialFile") -> DataReference:
            return reference_of(
                data,
                against.protocol,
                train=sizes["reference_size"],
                test=sizes["row_size"],
                workers=against.threads,
                time_limit=against.time_limit,
                progress=progress,
                pieces=pieces,
            )

        # The data set's row follows from the command: made anew where it was made otherwise, without further words.
        how = Resumption(resume=None, replace=True, engine=rdkit_version, note=output.note)
        outcome = compute_resumably(store, key, DataReference, work, how)
    return Held(name=data.name, reference=outcome.result, data=data, config=sizes, inputs=key.inputs)


def inputs_of(data: "Dataset") -> dict[str, str]:
    """A data set by its hash, and its total charges by theirs if any is not 0: the fingerprint knows no charges."""
    import hashlib

    from gaga.evaluation.molecule_set import charges_of

    charges, _ = charges_of(data)
    found = {data.name: data.fingerprint}
    if charges.any():
        found[f"charges of {data.name}"] = hashlib.sha256(charges.astype("<i2").tobytes()).hexdigest()
    return found


def rdkit_version() -> str:
    """What verdicts come from."""
    from rdkit import rdBase

    return f"rdkit {rdBase.rdkitVersion}"
