"""Training on [0, T*]: the recipe, the loss, one step, the run, and what it leaves behind."""
