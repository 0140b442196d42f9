"""`swinunet inspect` and `swinunet convert`: what they show, write and refuse."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from command_line import run_swinunet
from dicom_series import assert_no_patient, lean, make_series, read, save


def only_text(folder: Path) -> None:
    (folder / "notes.txt").write_text("hello " * 100)


def only_reports(folder: Path) -> None:
    save(folder, make_series(SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11")[:1])


def cut_short(folder: Path) -> None:
    path = save(folder, make_series()) / "IM0003"
    path.write_bytes(path.read_bytes()[:-10])


def cut_in_the_header(folder: Path) -> None:
    path = save(folder, make_series()) / "IM0003"
    path.write_bytes(path.read_bytes()[:200])


def two_series(folder: Path) -> None:
    save(folder / "a", make_series())
    save(folder / "b", make_series())


BAD_FOLDERS: dict[str, tuple[Callable[[Path], object], str, bool]] = {
    "missing": (Path.rmdir, "no such file or folder", False),
    "empty": (lambda folder: None, "the folder is empty", False),
    "text": (only_text, "1 files, none of them DICOM", False),
    "reports": (only_reports, "1 DICOM objects, none of them an image", False),
    "truncated": (cut_short, "IM0003: its pixel data ends after", True),
    "truncated header": (cut_in_the_header, "IM0003: its header", True),
    "two series": (two_series, "2 series could be meant", True),
}


def run_main(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of the real command line."""
    status, out, err = run_swinunet(capfd, monkeypatch, *arguments)
    assert_no_patient(out + err)
    return status, out, err


@pytest.mark.parametrize("leaked", ["born 19010203.", "1901-02-03", "03.02.1901", "year 1901", "SECRETID77"])
def test_a_leaked_patient_is_found(leaked: str) -> None:
    with pytest.raises(AssertionError):
        assert_no_patient(f"IM0003: {leaked}")


@pytest.mark.parametrize(
    "random", ["1.2.826.0.1.3680043.8.498.19011901", "/tmp/pytest-of-root/pytest-1901/a", "f1901c"]
)
def test_random_digits_are_no_patient(random: str) -> None:
    assert_no_patient(f"{random}: no image")


@pytest.mark.parametrize("name", BAD_FOLDERS)
def test_bad_input_is_one_line_and_leaves_nothing(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare, said, inspectable = BAD_FOLDERS[name]
    folder, results = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    results.mkdir()
    prepare(folder)
    status, out, err = run_main(capfd, monkeypatch, "convert", str(folder), str(results / "volume.nii.gz"))
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("swinunet: ")
    assert said in err
    assert list(results.iterdir()) == []
    status, out, err = run_main(capfd, monkeypatch, "inspect", str(folder), "--json")
    assert status == (0 if inspectable else 1)
    assert bool(out) is inspectable


def test_inspect_shows_and_reports(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = make_series(BodyPartExamined="HEAD", SeriesDescription="[red]t1[/red]"), make_series()
    lean(bad)
    save(tmp_path / "good", good)
    save(tmp_path / "bad", bad)
    (tmp_path / "broken.dcm").write_bytes(b"not DICOM")
    status, out, err = run_main(capfd, monkeypatch, "inspect", str(tmp_path))
    assert (status, err) == (0, "")
    for text in (
        good[0].SeriesInstanceUID,
        "[red]t1[/red]",
        "3 x 4 x 5",
        "0.75 x 0.5 x 2",
        "12.0 degrees",
        "broken.dcm",
    ):
        assert text in out
    status, out, _ = run_main(capfd, monkeypatch, "inspect", str(tmp_path), "--json")
    report = json.loads(out)
    series = {one["series_instance_uid"]: one for one in report["series"]}
    assert series[bad[0].SeriesInstanceUID]["verdict"] == "tilted"
    assert series[good[0].SeriesInstanceUID] | {"sentence": ""} == {
        "series_instance_uid": good[0].SeriesInstanceUID,
        "phase": None,
        "phases": None,
        "time_ms": None,
        "modality": "MR",
        "body_part": "HEAD",
        "description": "[red]t1[/red]",
        "files": 5,
        "frames": 5,
        "size": [3, 4, 5],
        "spacing_mm": [0.75, 0.5, 2.0],
        "verdict": "ok",
        "sentence": "",
        "usable": True,
        "selector": good[0].SeriesInstanceUID,
        "volume": 1,
        "volumes": 1,
        "name": "",
        "copies": 0,
        "allowances": [],
        "taken": True,  # the broken file lies in no folder of this series
        "reason": "taken: the only one that fits",
        "models": [],  # none of the shipped ones reads slices of 3 x 4 pixels
    }
    assert [broken["file"] for broken in report["unreadable"]] == ["broken.dcm"]


def test_inspect_chooses_as_the_shipped_model_would(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, repository: Path
) -> None:
    brain, scout, chest = make_series(), make_series(SeriesDescription="Scout"), make_series(Modality="CT")
    for name, slices in {"a": brain, "b": scout, "c": chest}.items():
        save(tmp_path / name, slices)
    _, out, _ = run_main(capfd, monkeypatch, "inspect", str(tmp_path), "--json")
    report = json.loads(out)
    version = report["model"].pop("version")
    assert report["model"] == {"name": "swin_unet_hippocampus", "modality": "MR", "body_part": "BRAIN"}
    assert (repository / "swin_unet_hippocampus" / str(version)).is_dir()
    assert [one["reason"] for one in report["series"]] == [
        "taken: the only one that fits",
        "not taken: a localizer, by its image type or description",
        "not taken: its modality is CT, the model reads MR",
    ]
    assert [one["taken"] for one in report["series"]] == [True, False, False]
    _, out, _ = run_main(capfd, monkeypatch, "inspect", str(tmp_path))
    assert f"taken or not: by the rules of swin_unet_hippocampus, version {version} (MR, BRAIN)" in out
    assert brain[0].SeriesInstanceUID in out.splitlines()
    monkeypatch.setattr("swinunet.foundation.paths.default_repository", lambda: tmp_path)
    _, out, _ = run_main(capfd, monkeypatch, "inspect", str(tmp_path), "--json")
    assert json.loads(out)["model"] is None


_BROKEN_SPEC = b'name: "m"\nparameters { key: "swinunet_spec", value { string_value: "{" } }'


@pytest.mark.parametrize(
    ("config", "said"),
    [(b"name: {", "no readable Triton config"), (b"\xff", "no readable"), (_BROKEN_SPEC, "this is no model spec")],
)
def test_inspect_without_a_sound_shipped_model(
    config: bytes, said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models" / "m").mkdir(parents=True)
    (tmp_path / "models" / "m" / "config.pbtxt").write_bytes(config)
    monkeypatch.setattr("swinunet.foundation.paths.default_repository", lambda: tmp_path / "models")
    folder = save(tmp_path / "in", make_series())
    status, out, err = run_main(capfd, monkeypatch, "inspect", str(folder))
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert said in err


def test_convert_writes_ras_and_never_replaces_unasked(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, output = save(tmp_path / "in", make_series()), tmp_path / "volume.nii.gz"
    status, out, err = run_main(capfd, monkeypatch, "convert", str(folder), str(output))
    assert (status, err) == (0, "")
    assert "3 x 4 x 5 voxels of 0.75 x 0.5 x 2 mm, uint16" in out
    image = nib.load(output)
    volume = read(folder).volume
    np.testing.assert_array_equal(np.asarray(image.dataobj), volume.voxels)
    np.testing.assert_allclose(image.affine, np.diag([-1, -1, 1, 1]) @ volume.affine, atol=1e-4)
    output.write_bytes(b"precious")
    status, _, err = run_main(capfd, monkeypatch, "convert", str(folder), str(output))
    assert status == 1
    assert "the file exists; add --overwrite" in err
    assert output.read_bytes() == b"precious"
    assert run_main(capfd, monkeypatch, "convert", str(folder), str(output), "--overwrite")[0] == 0
    assert nib.load(output).shape == (3, 4, 5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "volume.nii.gz"]


@pytest.mark.parametrize(
    ("output", "said"),
    [("volume.png", "ends in .nii or .nii.gz"), ("nowhere/volume.nii", "there is no folder"), ("in.nii", "a folder")],
)
def test_convert_checks_its_output_first(
    output: str, said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in.nii").mkdir()
    status, _, err = run_main(capfd, monkeypatch, "convert", str(tmp_path / "missing"), str(tmp_path / output))
    assert status == 1
    assert said in err


def test_convert_takes_the_named_series(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = make_series(), make_series(np.full((2, 3, 3), 7, np.uint16))
    save(tmp_path / "a", first)
    save(tmp_path / "b", second)
    arguments = ("convert", str(tmp_path), str(tmp_path / "x.nii"), "--series", second[0].SeriesInstanceUID)
    assert run_main(capfd, monkeypatch, *arguments)[0] == 0
    assert nib.load(tmp_path / "x.nii").shape == (3, 3, 2)


def test_the_installed_command_prints_no_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from swinunet.cli import main; main()", "inspect", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"swinunet: {tmp_path}: the folder is empty; give a folder with a DICOM series\n"
