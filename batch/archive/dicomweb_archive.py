"""An archive behind DICOMweb (PS3.18): studies found by QIDO-RS, fetched by WADO-RS."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from dicomweb_client import DICOMwebClient

from swinunet.batch.archive.entries import Archive
from swinunet.client.dicom.quiet import quiet
from swinunet.foundation.errors import InputError, SourceError

_PAGE = 1000
_UID = "0020000D"
_GONE = (401, 403, 404, 410)  # not to be had later, either


class DicomWebArchive(Archive):
    """The studies of a DICOMweb service; an entry is called by its StudyInstanceUID.

    url: of the service, to which /studies is added. Who may ask is what ~/.netrc says.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        try:
            self._client = DICOMwebClient(self._url)
        except ValueError:
            raise InputError(f"{url}: no address of a DICOMweb service; expected dicomweb+https://HOST/PATH") from None

    def entries(self) -> Iterator[str]:
        """The UID of each study, asked for page by page."""
        known: set[str] = set()
        while True:
            try:
                page = self._client.search_for_studies(limit=_PAGE, offset=len(known), fields=[_UID])
            except (requests.RequestException, ValueError) as error:
                raise InputError(f"{self._url}: does not list its studies ({_reason(error)})") from None
            fresh = {study[_UID]["Value"][0] for study in page} - known
            yield from sorted(fresh)
            known |= fresh
            if not fresh:  # the end, or a service that knows no offset
                return

    @contextmanager
    def opened(self, entry: str) -> Iterator[Path]:
        """The study's instances as files, gone when the block ends."""
        with tempfile.TemporaryDirectory(prefix="swinunet-batch-") as folder:
            local = Path(folder) / "study"
            local.mkdir()
            try:
                with quiet():
                    for number, instance in enumerate(self._client.iter_study(entry)):
                        instance.save_as(local / f"{number:06}.dcm", enforce_file_format=True)
            except requests.HTTPError as error:
                gone = error.response is not None and error.response.status_code in _GONE
                kind = InputError if gone else SourceError
                raise kind(f"{self._url}: does not give a study ({_reason(error)})") from None
            except requests.RequestException as error:
                raise SourceError(f"{self._url}: does not give a study now ({_reason(error)})") from None
            yield local

    def said_name(self, entry: str) -> str:
        """A part of the UID's hash: UIDs are not for logs."""
        return f"study {self.digest(entry)}"


def _reason(error: Exception) -> str:
    response = getattr(error, "response", None)
    return f"HTTP status {response.status_code}" if response is not None else type(error).__name__
