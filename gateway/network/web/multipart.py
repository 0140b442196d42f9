"""multipart/related as PS3.18 uses it: read piece by piece, each part to a file of its own, and known to be whole."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from swinunet.gateway.network.part10 import open_incoming

_DICOM = "application/dicom"
_BOUNDARY = re.compile(
    r"[\w'()+,./:=? -]{0,199}[\w'()+,./:=?-]", re.ASCII
)  # RFC 2046 5.1.1 says 70 at most, Orthanc sends 73


class MultipartError(Exception):
    """A body that is no whole multipart/related of application/dicom."""


@dataclass(frozen=True)
class ContentType:
    """A Content-Type header: media type and parameters, both in lower case but for the parameters' values."""

    media_type: str
    parameters: dict[str, str]

    @classmethod
    def parse(cls, header: str) -> ContentType:
        """Read the header (RFC 9110 8.3.1)."""
        message = Message()
        message["content-type"] = header
        pairs = message.get_params(failobj=[], unquote=True) or []
        parameters = {name.lower(): value for name, value in pairs[1:]}
        return cls(pairs[0][0].strip().lower() if pairs else "", parameters)

    def boundary(self) -> str:
        """The boundary of a multipart/related of application/dicom. Raises MultipartError for anything else."""
        kind = self.parameters.get("type", _DICOM).lower()
        if self.media_type != "multipart/related" or kind != _DICOM:
            raise MultipartError('expected Content-Type multipart/related; type="application/dicom"')
        boundary = self.parameters.get("boundary", "")
        if not _BOUNDARY.fullmatch(boundary):
            raise MultipartError("the Content-Type has no usable boundary")
        return boundary


class PartFiles:
    """Takes the pieces of a body; each part becomes a file in `folder`. `paths` are those that are whole.

    when_part_ends: called with each, as soon as it is. Leaving the `with` block removes the files that the caller has
    not taken out of `paths`.
    """

    def __init__(self, folder: Path, boundary: str, when_part_ends: Callable[[Path], None] | None = None) -> None:
        self.paths: list[Path] = []
        self._folder, self._when_part_ends = folder, when_part_ends
        self._ended = False
        self._header, self._value = b"", b""
        self._file: BinaryIO | None = None
        self._path = Path()
        self._parser = MultipartParser(boundary.encode("ascii"), {
            "on_header_field": self._on_header_field, "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end, "on_part_begin": self._on_part_begin,
            "on_part_data": self._on_part_data, "on_part_end": self._on_part_end, "on_end": self._on_end,
        })  # fmt: skip

    def __enter__(self) -> PartFiles:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            self._unlink(self._path)
        for path in self.paths:
            self._unlink(path)

    def write(self, piece: bytes) -> None:
        """Take the next piece. Raises MultipartError, and OSError of the disk."""
        try:
            if not self._ended:  # what follows the last boundary means nothing (RFC 2046 5.1.1)
                self._parser.write(piece)
        except FormParserError:
            raise MultipartError("the body is no multipart/related with the boundary of its Content-Type") from None

    def finish(self) -> None:
        """Raise MultipartError unless the last boundary has come."""
        if not self._ended:
            raise MultipartError("the body ends before its last boundary")

    def _on_part_begin(self) -> None:
        self._path, self._file = open_incoming(self._folder)

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        name, value = self._header.strip().lower(), self._value.decode("latin-1")
        self._header, self._value = b"", b""
        if name == b"content-type" and ContentType.parse(value).media_type != _DICOM:
            raise MultipartError("a part is no application/dicom")

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        assert self._file is not None
        self._file.write(memoryview(data)[start:end])

    def _on_part_end(self) -> None:
        assert self._file is not None
        self._file.close()
        self._file = None
        self.paths.append(self._path)
        if self._when_part_ends is not None:
            self._when_part_ends(self._path)

    def _on_end(self) -> None:
        self._ended = True

    @staticmethod
    def _unlink(path: Path) -> None:
        with suppress(OSError):
            path.unlink(missing_ok=True)
