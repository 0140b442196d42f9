"""Names from outside in the terminal: shown as they are, neither obeyed nor read as markup, by every verb."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from command_line import run_swinunet
from dicom_series import make_series, save
from labelled_folders import make_cases, write_msd
from small_model import SMALL_SPEC

HOSTILE = "[/bold]\x1b[2Jgo\nne[left]"
SHOWN = "[/bold]\\x1b[2Jgo\\nne[left]"


def assert_harmless(*outputs: str) -> None:
    """No escape code has passed, and nothing has failed in an unexpected way."""
    assert not any("\x1b" in output or "\x07" in output for output in outputs)
    assert not any("unexpected" in output for output in outputs)


@pytest.mark.parametrize(
    "arguments",
    [
        ("inspect", "PLACE"),
        ("convert", "PLACE", "out.nii"),
        ("segment", "PLACE", "-o", "out"),
        ("train", "PLACE", "-o", "out"),
        ("evaluate", "PLACE", "PLACE", "-o", "out"),
        ("export", "PLACE"),
        ("export", "--rollback", "--repository", "PLACE"),
        ("import", "PLACE", "-o", "out.safetensors"),
        ("serve", "--repository", "PLACE"),
        ("benchmark", "--repository", "PLACE", "-o", "out"),
    ],
    ids=lambda arguments: "-".join(arguments[:2]),
)
def test_a_folder_that_is_not_there(
    arguments: tuple[str, ...], tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = f"{tmp_path}/[/bold]\x1b[2Jgone[left]\udce9"
    words = [place if word == "PLACE" else word for word in arguments]
    status, out, err = run_swinunet(capfd, monkeypatch, *words)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert_harmless(out, err)
    assert "[/bold]\\x1b[2Jgone[left]\\xe9" in err


def test_series_descriptions_and_file_names(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / HOSTILE
    save(folder, make_series(SeriesDescription="[/bold]\x1b]0;owned\x07"))
    (folder / "bro\x1b[31mken.dcm").write_bytes(b"not DICOM")
    status, out, err = run_swinunet(capfd, monkeypatch, "inspect", folder)
    assert status == 0
    assert_harmless(out, err)
    assert "[/bold]" in out
    assert re.search(r"bro(\?|\\x1b)\[31mken\.dcm", out)  # the client has a form of its own for names of files
    (folder / "bro\x1b[31mken.dcm").unlink()
    status, out, err = run_swinunet(capfd, monkeypatch, "convert", folder, folder / "out.nii")
    assert status == 0
    assert_harmless(out, err)
    assert f"{SHOWN}/out.nii: " in out


def test_data_set_and_label_names_in_training(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_msd(tmp_path / "data", make_cases(3), {"0": "[/bold]T1"})
    index = root / "dataset.json"
    index.write_text(index.read_text().replace('"name": "', '"name": "[/bold]\\u001b[2J'))
    status, out, err = run_swinunet(capfd, monkeypatch, "train", root, "--check", "--recipe", "tiny")
    assert_harmless(out, err)
    assert status == 0
    assert "[/bold]" in out


def test_label_names_that_a_server_sends(
    tritonserver: object,
    small_repository: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One study and several, through a real Triton whose model names its labels in markup."""
    config = small_repository / SMALL_SPEC.name / "config.pbtxt"
    for path in (config, *config.parent.glob("configs/*.pbtxt")):
        path.write_text(path.read_text().replace("above 0.5", "[/bold]low[left]"))
    stored = np.random.default_rng(0).integers(0, 1000, (5, 20, 20)).astype(np.uint16)
    study = save(tmp_path / HOSTILE, make_series(stored, pixel_spacing_mm=(1.0, 1.0)))
    other = save(tmp_path / "other", make_series(stored, pixel_spacing_mm=(1.0, 1.0)))
    command = ("segment", "--repository", small_repository)
    status, out, err = run_swinunet(capfd, monkeypatch, *command, study, "-o", tmp_path / "one")
    assert (status, err) == (0, "")
    assert_harmless(out)
    assert "[/bold]low[left]" in out
    status, out, err = run_swinunet(capfd, monkeypatch, *command, study, other, "-o", tmp_path / "two\x1b[2J")
    assert status == 0
    assert_harmless(out, err)
    assert "2 done" in out
