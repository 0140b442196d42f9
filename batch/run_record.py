"""What a manifest is of: written by the first run into it, and the same for all later runs and shards, or refused."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from swinunet.batch.settings import BatchSettings, Shard
from swinunet.foundation.errors import InputError, OutputError
from swinunet.foundation.files import prepare_folder, unwritable, write_whole

RECORD_NAME = "run.json"
_CALLED = {
    "archive": "archive",
    "depth": "--depth",
    "shards": "number of shards",
    "model": "model",
    "version": "model version",
    "checkpoint_sha256": "checkpoint",
    "spec": "model spec",
    "outputs": "--outputs",
    "seg_type": "--seg-type",
    "restore": "--restore",
    "deidentified": "--deidentify",
    "allow": "--allow",
    "assume_ras": "--assume-ras",
}


def require_same_run(settings: BatchSettings) -> None:
    """Record what this run is, or raise InputError, naming the first difference, if the manifest is of another.

    Makes the folder of the manifest. Raises OutputError if it cannot be written.
    """
    prepare_folder(settings.manifest)
    path, ours = settings.manifest / RECORD_NAME, _record(settings)
    if not path.exists():
        aside = settings.manifest / f".{os.getpid()}-{settings.shard.name}.{RECORD_NAME}"
        write_whole(aside, (json.dumps(ours, indent=1) + "\n").encode())
        try:
            os.link(aside, path)  # fails where another shard was faster, and never shows half a file
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
    try:
        theirs = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(f"{path}: cannot be read; it says of which run the manifest is, so restore it") from None
    for name, called in _CALLED.items():
        if theirs.get(name) != ours[name]:
            detail = "" if name == "spec" else f": {_shown(theirs.get(name))} there, {_shown(ours[name])} now"
            raise InputError(
                f"{settings.manifest}: the manifest of a run with another {called}{detail}; give another output folder"
            )


@contextmanager
def sole_writer(manifest: Path, shard: Shard) -> Iterator[None]:
    """Hold the lock of a shard's part of the manifest. Raises InputError if another run holds it.

    The kernel drops the lock however its holder ends. Where a file system knows no locks, a result is still written
    once: a folder of results appears by renaming, which one of two writers loses.
    """
    path = manifest / f"{shard.name}.lock"
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise unwritable(path, error) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(
                f"{manifest}: another run writes shard {shard.number}/{shard.count} of it now; wait for it or stop it"
            ) from None
        except OSError:
            pass
        yield
    finally:
        os.close(descriptor)


def _record(settings: BatchSettings) -> dict[str, Any]:
    results, spec = settings.results, settings.spec
    return {
        "format": "swinunet-manifest",
        "schema_version": 1,
        "archive": settings.archive,
        "depth": settings.depth,
        "shards": settings.shard.count,
        "model": spec.name,
        "version": spec.version,
        "checkpoint_sha256": spec.provenance.checkpoint_sha256,
        "spec": json.loads(spec.to_json()),
        "outputs": sorted(results.formats) if results.formats is not None else None,
        "seg_type": results.seg_type,
        "restore": results.restore,
        "deidentified": results.pseudonyms is not None,
        "allow": sorted(settings.allow),
        "assume_ras": settings.assume_ras,
    }


def _shown(value: object) -> str:
    return "none" if value is None else ",".join(map(str, value)) if isinstance(value, list) else str(value)
