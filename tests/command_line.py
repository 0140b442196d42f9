"""The command line inside the test's own process."""

from __future__ import annotations

import sys

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


def run_benchmark(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of the real `swinunet benchmark`."""
    return run_swinunet(capfd, monkeypatch, "benchmark", *arguments)
