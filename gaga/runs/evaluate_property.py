"""The part of `gaga evaluate` that judges by a property: what was asked of molecules, a predictor, rows of the data."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64

from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules
from gaga.core.progress import Reporter
from gaga.data.dataset import Dataset
from gaga.data.targets import has_halves, targets_of
from gaga.evaluation.evaluation import Evaluation
from gaga.evaluation.molecule_set import molecule_set
from gaga.evaluation.property_error import PropertyError, PropertyRow, asked_of, property_error, rows_of_data
from gaga.models.checkpoint import file_digest
from gaga.models.predictor.checkpoint import Predictor, load_predictor
from gaga.runs.devices import torch_device
from gaga.runs.inputs import MoleculeFile
from gaga.runs.once import Key, Outcome, Policy, once, slug
from gaga.storage.store import Store

KIND = "property"


@dataclass(frozen=True, kw_only=True, eq=False)
class PropertyQuestion:
    """A property, the predictor of it, what was asked of the molecules of a file, and the data that has rows beside.

    Attributes:
        property: its name.
        file: the molecules.
        predictor: None for the rows of the data alone. path: of it.
        molecules, targets: M molecules and what was asked of each, [M]; None without a predictor.
        data: None for no rows.
    """

    property: str
    file: MoleculeFile
    predictor: Predictor | None = None
    path: Path | None = None
    molecules: PackedMolecules | None = None
    targets: Float64[np.ndarray, " M"] | None = None
    data: Dataset | None = None

    @classmethod
    def of(
        cls, property: str | None, predictor: str | Path | None, file: MoleculeFile, data: Dataset | None,
        report: Reporter,
    ) -> "PropertyQuestion":  # fmt: skip
        """The question, with everything checked that can be before the work.

        Raises:
            NotFound: there is no such predictor.
            InvalidInput: it is none, or of another property, or does not know an element of the molecules; nothing was
                asked of them; the data has no such property; or there is neither a predictor nor data.
        """
        if predictor is None:
            if data is None:
                raise InvalidInput(
                    "errors of a property need a predictor, or a data set on this machine", received=property,
                    remedy="name a `predictor`, or a `dataset` that has been prepared",
                )  # fmt: skip
            targets_of(data, [property or ""])
            return cls(property=property or "", file=file, data=data)
        path = Path(predictor)
        judge = load_predictor(path)
        if property is not None and property != judge.property:
            raise InvalidInput(
                f"{path} predicts {judge.property}, not {property}",
                remedy=f"evaluate `property={judge.property}`, or name a predictor of {property}",
            )
        asked, molecules = asked_of(file.path, judge.property), molecule_set(file.path).molecules
        judge.require_elements(molecules)
        if data is not None and judge.fingerprint != data.fingerprint:
            report.note(f"{data.name} has no rows of {judge.property}: the predictor was trained on {judge.dataset}.")
            data = None
        return cls(
            property=judge.property, file=file, predictor=judge, path=path, molecules=molecules, targets=asked,
            data=data,
        )  # fmt: skip

    def answered(
        self,
        evaluation: Evaluation,
        *,
        store: Store | None,
        name: str | None,
        seed: int,
        policy: Policy,
        report: Reporter,
    ) -> Outcome[PropertyError]:
        """The errors, found or computed and stored.

        Args:
            evaluation: which of the molecules are valid, and by which protocol.
            store, name, policy, report: as `runs.evaluate`. seed: of the bootstrap and the draws.

        Raises:
            Conflict, NotFound, Unavailable: as `once`.
        """
        device, valid = torch_device("auto"), evaluation.verdicts.valid
        judge, molecules, targets = self.predictor, self.molecules, self.targets

        def compute(_: object) -> PropertyError:
            rows = self._rows(seed, device, report)
            if judge is not None and molecules is not None and targets is not None:
                return property_error(judge, molecules, targets, valid, rows, seed=seed, device=device)
            nothing = np.full(len(valid), np.nan)
            unit = self.data.annotations.units.get(self.property, "") if self.data is not None else ""
            return PropertyError(
                property=self.property, unit=unit, n_molecules=len(valid), targets=nothing, predicted=nothing,
                valid=valid, rows=rows, predictor="", seed=seed,
            )  # fmt: skip

        key = self._key(name, evaluation.protocol, seed)
        return once(store, key, PropertyError, compute, replace(policy, engine=lambda: str(device)), report)

    def _rows(self, seed: int, device: torch.device, report: Reporter) -> tuple[PropertyRow, ...]:
        if self.data is None:
            return ()
        with report.progress(f"{self.property} of {self.data.name}") as progress:
            return rows_of_data(
                self.data, self.property, halves=self._halves, predictor=self.predictor, seed=seed, device=device,
                progress=progress,
            )  # fmt: skip

    @cached_property
    def _halves(self) -> bool:
        """Whether rows are of the half that the predictor, or a published one, was not trained on."""
        if self.predictor is not None:
            return self.predictor.half == "first"
        return self.data is not None and has_halves(self.data)

    def _key(self, name: str | None, protocol: str, seed: int) -> Key:
        inputs, data = {self.file.label: self.file.digest}, self.data
        parts = [self.file.stem, protocol, slug(self.property)]
        if data is not None:
            parts += ["vs", slug(data.name)]
            inputs |= {data.name: data.fingerprint, "properties": targets_of(data, [self.property]).digest}
        if self.path is not None:
            digest = file_digest(self.path)
            inputs[f"predictor of {self.property}"] = digest
            parts += ["by", digest[:8]]
        return Key(
            kind=KIND,
            name=name or "_".join([*parts, self.file.digest[:8]]),
            config={
                "file": self.file.label, "property": self.property, "protocol": protocol,
                "dataset": data and data.name, "halves": self._halves,
            },
            inputs=inputs,
            seed=seed,
        )  # fmt: skip
