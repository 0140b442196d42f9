"""The `swinunet` command itself: what ends it, and how it says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import run_swinunet

from swinunet import client


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (KeyboardInterrupt(), 130, "swinunet: interrupted\n"),
        (
            ZeroDivisionError("Doe^Jane"),
            1,
            "swinunet: unexpected ZeroDivisionError; run again with SWINUNET_DEBUG=1 for the details and report it\n",
        ),
    ],
)
def test_whatever_ends_a_verb_is_one_line(
    error: BaseException,
    status: int,
    said: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    def scan(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(client.dicom, "scan_folder", scan)
    assert run_swinunet(capfd, monkeypatch, "inspect", tmp_path) == (status, "", said)
