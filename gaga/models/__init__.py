"""The EGNN, its diffusion, sampling, training and checkpoints."""
