"""An archive in an object store, or on any other file system that fsspec knows: s3://, gs://, sftp://, memory:// ..."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec

from swinunet.batch.archive.entries import Archive
from swinunet.foundation.errors import InputError, MissingExtraError, SourceError

_FOR_GOOD = (FileNotFoundError, PermissionError, IsADirectoryError)


class ObjectArchive(Archive):
    """What lies `depth` levels below `url`. An entry is copied to a temporary folder while a worker has it.

    Settings of the file system come from its own files and variables, or fsspec's (FSSPEC_S3_ENDPOINT_URL).
    Raises InputError for a URL of no known kind, MissingExtraError for one whose library is not installed.
    """

    def __init__(self, url: str, depth: int = 1) -> None:
        self._url, self._depth = url, depth
        try:
            self._files, self._root = fsspec.core.url_to_fs(url)
        except ImportError as error:
            library = str(error).removeprefix("Install ").split()[0]
            raise MissingExtraError(f"{url}: this kind of URL needs {library}, which is not installed") from None
        except ValueError as error:
            raise InputError(f"{url}: no archive ({error}); expected a folder, or a URL that fsspec knows") from None

    def entries(self) -> Iterator[str]:
        """Paths below the URL. Hidden ones are left out."""
        found = False
        try:
            for entry in self._below(self._root, "", self._depth):
                found = True
                yield entry
        except FileNotFoundError:
            if found:
                raise
            raise InputError(f"{self._url}: not there; expected the place of an archive") from None
        except PermissionError as error:
            raise InputError(f"{self._url}: may not be listed ({_reason(error)}); check its rights") from None
        except (InputError, GeneratorExit):
            raise
        except Exception as error:  # whatever a file system's library raises
            raise InputError(f"{self._url}: cannot be listed ({_reason(error)})") from None

    def _below(self, place: str, prefix: str, depth: int) -> Iterator[str]:
        for each in self._files.ls(place, detail=True):
            name = PurePosixPath(each["name"]).name
            if not name or name.startswith(".") or each["name"].rstrip("/") == place.rstrip("/"):
                continue
            if depth > 1 and each["type"] == "directory":
                yield from self._below(each["name"], f"{prefix}{name}/", depth - 1)
            else:
                yield prefix + name

    @contextmanager
    def opened(self, entry: str) -> Iterator[Path]:
        """A copy of the entry, gone when the block ends."""
        with tempfile.TemporaryDirectory(prefix="swinunet-batch-") as folder:
            local = Path(folder) / PurePosixPath(entry).name
            try:
                self._fetch(f"{self._root.rstrip('/')}/{entry}", local)
            except InputError:
                raise
            except _FOR_GOOD as error:
                raise InputError(f"{self._url}/{entry}: cannot be fetched ({_reason(error)})") from None
            except Exception as error:  # whatever a file system's library raises: it may be there later
                raise SourceError(f"{self._url}/{entry}: cannot be fetched now ({_reason(error)})") from None
            yield local

    def _fetch(self, place: str, local: Path) -> None:
        sources = [place] if self._files.isfile(place) else self._files.find(place)
        if not sources:
            raise FileNotFoundError(place)
        targets = [local / source[len(place) :].lstrip("/") if source != place else local for source in sources]
        for target in targets:
            if not target.resolve().is_relative_to(local.resolve()):
                raise InputError(f"{self._url}: a name in it leads out of its folder (..); rename that object")
            target.parent.mkdir(parents=True, exist_ok=True)
        self._files.get(sources, [str(target) for target in targets])


def _reason(error: Any) -> str:
    said = " ".join(str(error).split())[:160]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
