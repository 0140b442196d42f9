"""Removes local copies when their time has come, and rows of the ledger long after that."""

from __future__ import annotations

import logging
from contextlib import suppress

from swinunet.gateway.config.settings import RetentionConfig
from swinunet.gateway.ledger.administration import forget_study
from swinunet.gateway.ledger.clock import Clock
from swinunet.gateway.ledger.database import Ledger
from swinunet.gateway.ledger.retention import (
    jobs_with_results,
    release_inputs,
    release_results,
    studies_at_an_end,
    studies_without_files,
)
from swinunet.gateway.looping import Looping
from swinunet.gateway.names import shown_uid
from swinunet.gateway.spool import Spool, remove_tree

_log = logging.getLogger(__name__)
_LOOK_S = 60.0
_HOUR_S = 3600.0


class Retention:
    """The thread that removes what need not be kept. The ledger changes first, so no row names a file that went."""

    def __init__(self, config: RetentionConfig, spool: Spool, ledger: Ledger, clock: Clock | None = None) -> None:
        self._config, self._spool, self._ledger, self._clock = config, spool, ledger, clock or Clock()
        self._loop = Looping("retention", self.remove_old, _LOOK_S)

    def start(self) -> None:
        """Begin to look."""
        self._loop.start()

    def stop(self) -> None:
        """End."""
        self._loop.stop()

    def remove_old(self) -> None:
        """Remove everything whose time has come."""
        for study in studies_at_an_end(self._ledger):
            hours = self._config.inputs_hours if study.segmented else self._config.refused_hours
            if self._is_over(study.ended, hours):
                self._remove(release_inputs(self._ledger, study.study_uid))
                _log.info("study %s: the received files were removed", shown_uid(study.study_uid))
        for job_id, ended, folder in jobs_with_results(self._ledger):
            if self._is_over(ended, self._config.results_hours):
                release_results(self._ledger, job_id)
                remove_tree(self._spool.root / folder)
                _log.info("job %d: the results were removed", job_id)
        for study_uid, last in studies_without_files(self._ledger):
            if self._is_over(last, self._config.history_hours):
                self._remove(forget_study(self._ledger, study_uid, self._clock.wall(), say=False))

    def _is_over(self, since: float, hours: float | None) -> bool:
        return hours is not None and self._clock.elapsed(since) > hours * _HOUR_S

    def _remove(self, files: list[str]) -> None:
        remove_files(self._spool, files)


def remove_files(spool: Spool, files: list[str]) -> None:
    """Remove files and folders below the spool, and the folders of series and studies that are empty then."""
    for name in files:
        path = spool.root / name
        if path.is_dir():
            remove_tree(path)
            continue
        with suppress(OSError):
            path.unlink()
    for folder in {(spool.root / name).parent for name in files if name.startswith("instances/")}:
        with suppress(OSError):  # not empty: more arrived
            folder.rmdir()
            folder.parent.rmdir()
