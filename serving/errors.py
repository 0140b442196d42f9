"""The one exception of this package. It imports nothing of ours, so it stands beside the project's error tree."""


class ServingError(Exception):
    """Triton is not installed, did not start, or does not answer as it must. The message is one line to act on."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def printable(text: str) -> str:
    """Text that any stream takes: bytes of a path that are no UTF-8 become escapes, such as `\\xe8`."""
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")
