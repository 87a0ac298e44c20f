"""A trained model: a diffusion, how far it was trained, and the data's moments that its start is made from."""

from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from gaga.core.errors import InvalidInput
from gaga.data.shapes import ShapeLibrary
from gaga.models.conditioning import Conditioning
from gaga.models.diffusion import Diffusion
from gaga.noise import Moments


@dataclass(frozen=True, eq=False)
class Model(Diffusion):
    """A diffusion with everything else that sampling needs.

    Attributes:
        max_t: T*, the largest step that the network was trained on.
        moments: second moments and histogram of sizes of its data; None for an EDM folder opened as it is.
        shapes: shapes and compositions of training molecules, to start from; None in older checkpoints.
        dataset: name of the data set.
        conditioning: the properties that its network takes as a context; None if it takes none.
        decided: of an EDM folder, in a sentence: whose training it was taken for and why; else empty.
    """

    max_t: int = field(kw_only=True)
    moments: Moments | None = field(kw_only=True)
    shapes: ShapeLibrary | None = field(kw_only=True, default=None)
    dataset: str = field(kw_only=True, default="")
    conditioning: Conditioning | None = field(kw_only=True, default=None)
    decided: str = field(kw_only=True, default="")

    def given(self, t: Float[Tensor, " M"], context: Float[Tensor, "M K"] | None) -> Float[Tensor, "M *k"]:
        """As of `Diffusion`; without a context, the null context of a model that was trained with it."""
        if context is None and self.conditioning is not None:
            context = t.new_zeros(len(t), self.conditioning.columns)
        return super().given(t, context)

    def known_moments(self) -> Moments:
        """The moments.

        Raises:
            InvalidInput: the model was opened from an EDM folder, which does not hold them.
        """
        if self.moments is None:
            raise InvalidInput(
                "this EDM folder does not say how large its molecules are",
                remedy="run `gaga import-edm DIR --dataset qm9 --out model.safetensors` once, then sample from that",
            )
        return self.moments

    def known_shapes(self) -> ShapeLibrary:
        """Shapes and compositions of training molecules.

        Raises:
            InvalidInput: the model has none: an earlier version made the checkpoint.
        """
        if self.shapes is None:
            raise InvalidInput(
                "the start shape needs shapes of training molecules, which this checkpoint does not hold",
                remedy="name the data that it was trained on with `dataset`, or use another `start`",
            )
        return self.shapes
