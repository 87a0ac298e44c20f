"""The EGNN, its diffusion, samplers, training and checkpoints."""

from gaga.models.api import load_model, sample

__all__ = ["load_model", "sample"]
