"""The training loop: settings, batches and augmentation, losses, optimisation, a state that survives a kill, output."""
