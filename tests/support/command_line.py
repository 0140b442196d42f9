"""The command line inside the test's own process."""

from __future__ import annotations

import io
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout

import pytest

import swinunet.cli


def run_swinunet(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object
) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of the real `swinunet`."""
    monkeypatch.setattr(sys, "argv", ["swinunet", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        swinunet.cli.main()
    captured = capfd.readouterr()
    return int(caught.value.code or 0), captured.out, captured.err


def run_here(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The real `swinunet` without a process of its own, which would import for two seconds."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["swinunet", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            swinunet.cli.main()
    return subprocess.CompletedProcess(sys.argv, int(caught.value.code or 0), out.getvalue(), err.getvalue())


def run_benchmark(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> tuple[int, str, str]:
    """`run_swinunet` with the verb `benchmark`."""
    return run_swinunet(capfd, monkeypatch, "benchmark", *arguments)
