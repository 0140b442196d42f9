"""The project's exceptions. A message says what was found, what was expected, what to do, and in which file or series.

    SwinUNetError
    +-- InputError            a file, folder, series or option that cannot be used
    |   +-- GeometryError     ... because of where its voxels lie (gaps, duplicates, a box outside the volume)
    +-- SpecError             a ModelSpec that is broken, or too new for this software
    +-- CheckpointError       weights that do not fit, or cannot be read safely
    +-- ParityError           an exported graph that does not compute what its checkpoint computes
    +-- EngineError           a graph that an engine cannot take
    +-- ServerError           Triton did not start, is not there, or answered wrongly
    |   +-- JobCancelledError ... because we told it to stop
    |   +-- ServingError      ... although it is one that was started here, or was to be
    +-- SourceError           an archive that does not give a study now, and may later
    +-- OutputError           a result that could not be written, or read back as it was meant
    |   +-- DiskFullError     ... because there is no room left for it
    +-- LedgerError           the gateway's ledger cannot be used: of another version, locked, out of reach
    +-- PeerError             another DICOM node or web server is not there, refuses, or answers wrongly
    +-- MissingExtraError     an optional part of this software that is not installed

The command line prints the message as one line and exits with status 1.
"""


class SwinUNetError(Exception):
    """Base of every error that a user can act on."""


class InputError(SwinUNetError):
    """A file, folder, series or option that cannot be used."""


class GeometryError(InputError):
    """Voxels that do not lie where a volume's voxels must."""


class SpecError(SwinUNetError):
    """A ModelSpec that is broken, or newer than this software."""


class CheckpointError(SwinUNetError):
    """Weights that do not fit the network, or cannot be read safely."""


class ParityError(SwinUNetError):
    """An exported graph that does not compute what its checkpoint computes."""


class EngineError(SwinUNetError):
    """A graph that an engine cannot take."""


class ServerError(SwinUNetError):
    """Triton is not there, lacks the model, or answered wrongly."""


class JobCancelledError(ServerError):
    """A job that was cancelled before its end."""


class ServingError(ServerError):
    """A Triton of this machine that is not installed, did not start, or does not answer as it must."""


class SourceError(SwinUNetError):
    """An archive that does not give a study now, and may later."""


class OutputError(SwinUNetError):
    """A result that could not be written, or did not read back as it was meant."""


class DiskFullError(OutputError):
    """A result for which there is no room left."""


class LedgerError(SwinUNetError):
    """A ledger that cannot be used: of another version, in use by another gateway, or out of reach."""


class PeerError(SwinUNetError):
    """Another DICOM node or web server that is not there, refuses, or answers wrongly."""


class MissingExtraError(SwinUNetError):
    """An optional part of this software that is not installed."""
