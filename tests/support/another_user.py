"""What another user of the machine can do: root becomes `nobody` in a child and tries."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

import pytest

_PYTHON = Path("/usr/bin/python3")  # one that every user may run


def as_nobody(program: str, *arguments: object) -> str:
    """What a Python program prints, standard library only, that runs as `nobody`. Skips where we are not root."""
    if os.geteuid() != 0 or not _PYTHON.is_file():
        pytest.skip("only root can become another user, and that user needs a Python")
    nobody = pwd.getpwnam("nobody")
    done = subprocess.run(
        [str(_PYTHON), "-I", "-S", "-c", program, *map(str, arguments)],
        user=nobody.pw_uid,
        group=nobody.pw_gid,
        extra_groups=[],
        cwd="/",
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
