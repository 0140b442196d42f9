"""The one exception of this package. It imports nothing of ours, so it stands beside the project's error tree."""


class ServingError(Exception):
    """Triton is not installed, did not start, or does not answer as it must. The message is one line to act on."""
