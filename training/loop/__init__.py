"""The training loop: settings, losses, optimisation, state that survives a kill, and what a run leaves behind."""
