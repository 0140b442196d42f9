"""The files of a job: its input as links, so that nothing that arrives or goes meanwhile changes it; its results."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from sqlalchemy import select

from swinunet.foundation.errors import InputError
from swinunet.gateway.ledger.database import Ledger
from swinunet.gateway.ledger.jobs import LeasedJob
from swinunet.gateway.ledger.schema import JobState, jobs
from swinunet.gateway.names import folder_of_uid, shown_uid
from swinunet.gateway.spool import Spool, remove_tree, sync_folder, sync_tree


def link_input(spool: Spool, job: LeasedJob, files: Sequence[tuple[str, str]]) -> Path:
    """A folder with links to the images of a job, a folder for each series. files: (series UID, file below the spool).

    Raises InputError if an image is no longer here.
    """
    folder = spool.job(job.id, job.fence) / shown_uid(job.study_uid)
    remove_tree(folder.parent)
    for series_uid, file in files:
        target = folder / folder_of_uid(series_uid)
        target.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            if not file:
                raise FileNotFoundError
            os.link(spool.root / file, target / Path(file).name)
        except FileNotFoundError:
            raise InputError("its images are no longer here; send the study again") from None
    if not files:
        raise InputError("its images are no longer here; send the study again")
    return folder


def keep_results(spool: Spool, job: LeasedJob, made: Path) -> Path:
    """Move finished results to where the ledger will look for them, whole and on the disk. Raises OSError."""
    sync_tree(made)
    target = spool.result(job.id, job.fence)
    made.rename(target)
    sync_folder(target.parent)
    return target


def remove_job_files(spool: Spool, job: LeasedJob) -> None:
    """Remove the work folder of a lease."""
    remove_tree(spool.job(job.id, job.fence))


def remove_unknown(ledger: Ledger, spool: Spool) -> int:
    """Remove work folders and results that no job holds, as killed workers leave them; returns how many."""
    removed = 0
    for part in ("jobs", "results"):
        for folder in (spool.root / part).glob("*-*"):
            with suppress(ValueError):
                job_id, fence = map(int, folder.name.split("-", 1))
                if not _is_held(ledger, spool, folder, job_id, fence):
                    remove_tree(folder)
                    removed += 1
    return removed


def _is_held(ledger: Ledger, spool: Spool, folder: Path, job_id: int, fence: int) -> bool:
    with ledger.read() as connection:
        row = connection.execute(select(jobs).where(jobs.c.id == job_id)).first()
    if row is None:
        return False
    return bool((row.state == JobState.RUNNING and row.fence == fence) or row.folder == spool.relative(folder))
