"""What a run is asked to be like: its start, what is done between steps, its sizes, and what is said at the end."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from gaga.chem.annotate import annotate
from gaga.chem.geometry import aligned_rmsd
from gaga.core.errors import InvalidInput
from gaga.core.molecules import PackedMolecules
from gaga.core.rng import STREAM_FURTHER, uniforms
from gaga.data.features import FeatureSpace, molecule_means, require_features
from gaga.models.model import Model
from gaga.models.sampling.config import SampleConfig
from gaga.models.sampling.fragment import Fragment, read_fragment, read_molecule
from gaga.models.sampling.guidance import ClassifierFree
from gaga.models.sampling.known import Known
from gaga.models.sampling.loop import UNGUIDED, Edit, Guidance
from gaga.models.sampling.molecules import Sampled
from gaga.models.sampling.plan import composition_of
from gaga.models.sampling.targets import Asked
from gaga.noise import Moments, Reference

STREAM_COMPOSITION = STREAM_FURTHER - 1


def _as_drawn(molecule: Sampled, seed: int) -> Sampled:
    return molecule


@dataclass(frozen=True, eq=False)
class Steering:
    """What the options that steer come to.

    Attributes:
        config: how to sample, with the sizes that follow from what was asked.
        moments: those of the model; only molecules of a size that it counts are drawn.
        reference: what the first step is drawn from; None: what `config` names.
        edit: what is done between steps; None: nothing.
        asked: the properties that each molecule is asked to have; None if the model is not conditional.
        guidance: what the network's predictions are turned into.
        finished: what is done to a molecule of a seed at the end.
        like: the molecule that all are to be like; None if there is none.
        kept: the fragment that all have; None if there is none.
    """

    config: SampleConfig
    moments: Moments
    reference: Reference | None = None
    edit: Edit | None = None
    asked: Asked | None = None
    guidance: Guidance = UNGUIDED
    finished: Callable[[Sampled, int], Sampled] = _as_drawn
    like: Fragment | None = None
    kept: Fragment | None = None

    def smiles_of_input(self) -> str:
        """SMILES of the molecule that all are to be like; empty if there is none, or it has no SMILES."""
        return "" if self.like is None else _smiles(self.like)

    def whole_by_itself(self) -> str:
        """SMILES of the fragment if it is a valid molecule with hydrogens, to which nothing can bind; else empty."""
        closed = self.kept is not None and (self.kept.atomic_numbers == 1).any()
        return _smiles(self.kept) if closed and self.kept is not None else ""


def _smiles(of: Fragment) -> str:
    return annotate(of.atomic_numbers, of.positions.astype(np.float32), name="", properties={}).smiles


def steer(model: Model, config: SampleConfig) -> Steering:
    """What the options that steer come to, for this model; nothing is changed if there are none.

    Without sizes or a composition, targets decide on sizes too: those of training molecules that have them.

    Raises:
        NotFound: there is no such file.
        InvalidInput: the model has no such property, or a target is far from all of its data; the file has no
            molecule, or elements that the model does not know; a fragment is larger than the molecules asked for, or
            has more atoms of an element than their composition; no molecule of the data has so many heavy atoms.
    """
    steering, asked = _edited(model, config), Asked.of(model, config)
    if asked is None:
        return steering
    guidance = ClassifierFree(config.guidance, config.guidance_between) if config.guidance else UNGUIDED
    moments = steering.moments
    if asked.limited and steering.config.only_sizes is None:
        counts = np.where(moments.counts > 0, asked.counts(len(moments.counts)), 0)
        moments = replace(moments, counts=counts) if counts.any() else moments
    return replace(steering, moments=moments, asked=asked, guidance=guidance)


def _edited(model: Model, config: SampleConfig) -> Steering:
    moments = model.known_moments()
    if config.around is not None:
        return _around(model, config)
    if not config.holds:
        return Steering(config, moments)
    space = require_features(model.space)
    fragment = None
    if config.file is not None:
        fragment = read_fragment(config.file, config.fix, config.attach).require(space.vocabulary, config.file)
        moments = _no_smaller(moments, fragment, config)
    types: OneComposition | HeavyAtoms | None = None
    if config.composition is not None:
        types = OneComposition.of(composition_of(config.composition, space, moments), fragment, space, config)
    elif config.heavy_atoms is not None:
        types = HeavyAtoms(model, space, config.heavy_atoms)
        moments = replace(moments, counts=types.counts())
    known = Known(model, config, fragment, types)
    return Steering(config, moments, edit=known, finished=known.finished, kept=fragment)


@dataclass(frozen=True, eq=False)
class Around:
    """A molecule, noised (`gaga.noise.Reference`): z = alpha x + sigma eps on the zero-mean subspace.

    Attributes:
        molecule: the one. space: the columns.
    """

    molecule: Fragment
    space: FeatureSpace

    def transform(
        self,
        noise: Float64[np.ndarray, "A D"],
        n_atoms: Int64[np.ndarray, " M"],
        alpha2: float,
        context: Float64[np.ndarray, "M K"] | None = None,
    ) -> Float64[np.ndarray, "A C"]:
        """As `gaga.noise.Reference`."""
        numbers, centre = self.molecule.atomic_numbers, self.molecule.positions.mean(axis=0)
        offsets = np.array([0, len(numbers)])
        clean = self.space.encode(
            PackedMolecules((self.molecule.positions - centre).astype(np.float32), numbers, offsets)
        )
        columns, every = self.space.centred_columns, np.arange(len(n_atoms) + 1) * len(numbers)
        eps = noise.copy()
        eps[:, :columns] -= np.repeat(molecule_means(eps[:, :columns], every), n_atoms, axis=0)
        z: Float64[np.ndarray, "A C"] = np.sqrt(alpha2) * np.tile(clean, (len(n_atoms), 1)) + np.sqrt(1 - alpha2) * eps
        return z

    def finished(self, molecule: Sampled, seed: int) -> Sampled:
        """The molecule where the given one is; its notes say how far from it (`rmsd_to_input`, Å, superimposed)."""
        if not molecule.finite:
            return molecule
        rmsd = aligned_rmsd(molecule.positions, self.molecule.positions)
        positions = (molecule.positions + self.molecule.positions.mean(axis=0)).astype(np.float32)
        return replace(molecule, positions=positions, notes={**molecule.notes, "rmsd_to_input": rmsd})


def _around(model: Model, config: SampleConfig) -> Steering:
    path = Path(config.around or "")
    space, moments = require_features(model.space), model.known_moments()
    molecule = read_molecule(path).require(space.vocabulary, path)
    if len(molecule) >= len(moments.counts):
        raise InvalidInput(
            f"the largest molecule that the model knows has {len(moments.counts) - 1} atoms",
            received=f"{path}, {len(molecule)} atoms",
        )
    start = Around(molecule, space)
    if config.sizes not in (None, (len(molecule),)):
        raise InvalidInput(f"`around` keeps the molecule's {len(molecule)} atoms", remedy="leave `sizes` out")
    sized = replace(config, sizes=(len(molecule),))
    if config.noised:
        return Steering(sized, moments, start, finished=start.finished, like=molecule)
    known = Known(model, config, molecule)

    def finished(drawn: Sampled, seed: int) -> Sampled:
        return replace(known.finished(drawn, seed), notes={"rmsd_to_input": 0.0})

    return Steering(sized, moments, start, known, finished=finished, like=molecule)


def _no_smaller(moments: Moments, fragment: Fragment, config: SampleConfig) -> Moments:
    """The moments without the sizes that the fragment does not fit into.

    Raises:
        InvalidInput: none is left.
    """
    k, asked = len(fragment), config.only_sizes
    smallest, largest = (1, len(moments.counts) - 1) if asked is None else (min(asked), max(asked))
    if asked is not None and k > smallest:
        raise InvalidInput(
            f"the fragment is larger than the molecules asked for: {k} atoms", received=f"{smallest} atoms",
            remedy=f"ask for {k} or more with `sizes`, or keep fewer atoms with `fix`",
        )  # fmt: skip
    counts = np.where(np.arange(len(moments.counts)) > k, moments.counts, 0)
    if asked is None and not counts.any():
        raise InvalidInput(
            f"the fragment is larger than the molecules that the model knows: {k} atoms",
            received=f"at most {largest} atoms",
        )
    return replace(moments, counts=counts) if counts.any() else moments


def _sorted(counts: Int64[np.ndarray, " K"], space: FeatureSpace) -> UInt8[np.ndarray, " N"]:
    """Atoms of this composition in the order of the vocabulary, hydrogens last."""
    atoms = np.repeat(np.array(space.vocabulary, dtype=np.uint8), counts)
    return atoms[np.argsort(atoms == 1, kind="stable")]


@dataclass(frozen=True, eq=False)
class OneComposition:
    """The same elements in every molecule (`known.Types`): which atom has which does not matter, as the start does not
    tell them apart."""

    atomic_numbers: UInt8[np.ndarray, " N"]

    @classmethod
    def of(
        cls, counts: tuple[int, ...], fragment: Fragment | None, space: FeatureSpace, config: SampleConfig
    ) -> "OneComposition":
        """The elements, those of the fragment first.

        Raises:
            InvalidInput: the fragment has more atoms of an element than the composition.
        """
        own = np.zeros(0, dtype=np.uint8) if fragment is None else fragment.atomic_numbers
        others = np.array(counts) - np.array([(own == z).sum() for z in space.vocabulary])
        if (others < 0).any():
            raise InvalidInput("the fragment has atoms that the composition lacks", received=config.composition)
        return cls(np.concatenate([own, _sorted(others, space)]))

    def __call__(
        self, keys: Int64[np.ndarray, " M"], sizes: Int64[np.ndarray, " M"], seed: int
    ) -> UInt8[np.ndarray, " A"]:
        """As `known.Types`."""
        return np.tile(self.atomic_numbers, len(keys))


@dataclass(frozen=True, eq=False)
class HeavyAtoms:
    """Compositions of training molecules with one of these numbers of heavy atoms (`known.Types`).

    A molecule's size is drawn from the data's, each weighted by its share of such molecules, and then a composition of
    that size, so that both are those of the data.
    """

    model: Model
    space: FeatureSpace
    heavy: tuple[int, ...]

    def counts(self) -> Int64[np.ndarray, " N_max_plus_1"]:
        """Molecules of each size that have so many heavy atoms, times the library's share, rounded up.

        Raises:
            InvalidInput: there are none.
        """
        there = self.model.known_moments().counts
        counts = np.zeros_like(there)
        for n, (share, _) in self._by_size.items():
            counts[n] = int(np.ceil(share * there[n]))
        if not counts.any():
            asked = ", ".join(map(str, self.heavy))
            raise InvalidInput("no molecule of the data has so many heavy atoms", received=asked)
        return counts

    def __call__(
        self, keys: Int64[np.ndarray, " M"], sizes: Int64[np.ndarray, " M"], seed: int
    ) -> UInt8[np.ndarray, " A"]:
        """As `known.Types`."""
        chance, elements = uniforms(seed, keys, STREAM_COMPOSITION), []
        for n, u in zip(sizes.tolist(), chance, strict=True):
            _, rows = self._by_size[n]
            elements.append(_sorted(rows[int(u * len(rows))], self.space))
        return np.concatenate(elements)

    @cached_property
    def _by_size(self) -> dict[int, tuple[float, Int64[np.ndarray, "s K"]]]:
        """Of each size of the data, the share of molecules with so many heavy atoms, and their compositions."""
        moments, shapes = self.model.known_moments(), self.model.known_shapes()
        found = {}
        for n in np.flatnonzero(moments.counts).tolist():
            compositions = shapes.of_size(n, moments)[1]
            hydrogens = compositions[:, np.array(self.space.vocabulary) == 1].sum(axis=1)
            having = np.isin(n - hydrogens, self.heavy)
            found[n] = (float(having.mean()), compositions[having])
        return found
