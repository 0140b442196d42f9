"""A folder as a destination: each job's results as one folder, which appears whole or not at all."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from swinunet.foundation.leftovers import remove_leftovers, replace_folder, work_folder
from swinunet.gateway.contract import SendOutcome
from swinunet.gateway.spool import sync_folder, sync_tree

_FOR_GOOD = (errno.ENAMETOOLONG, errno.EINVAL)


def copy_results(results: Path, destination: Path, name: str) -> SendOutcome:
    """Copy a folder of results to `destination`/`name`, on the disk when this returns; what is there is replaced."""
    target = destination / name
    try:
        destination.mkdir(parents=True, exist_ok=True)
        remove_leftovers(destination)
        with work_folder(destination) as work:
            new = work / "new"
            shutil.copytree(results, new)
            sync_tree(new)
            if target.exists():
                replace_folder(target, new, work)
            else:
                new.rename(target)
        sync_folder(destination)
    except shutil.Error:
        return SendOutcome(False, True, False, None, "the results could not be copied")
    except OSError as error:
        words = f"the folder cannot be written ({error.strerror or type(error).__name__})"
        return SendOutcome(False, error.errno not in _FOR_GOOD, False, None, words)
    return SendOutcome(True, False, False, None, "copied")
