"""`swinunet segment --resume`: what is the same job's result is skipped, anything else is refused and left alone."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from breakable_triton import small_study
from command_line import run_swinunet
from dicom_series import PATIENT, make_enhanced, make_series, save
from small_model import SMALL_SPEC

from swinunet.client.dicom import scan_folder
from swinunet.client.inputs import digest_of_series
from swinunet.client.results.formats import SUMMARY_NAMES
from swinunet.client.results.report import Report, read_report, write_report
from swinunet.foundation.files import sha256_of_file
from swinunet.imaging import write_nifti
from swinunet.serving import TritonServer

Segment = Callable[..., tuple[int, str, str]]
LIGHT = ("--outputs", "nifti,json")


@pytest.fixture
def segment(
    small_triton: TritonServer, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Segment:
    """`swinunet segment -o out`, quick results, on the small model's server."""

    def run(*arguments: object) -> tuple[int, str, str]:
        outputs = () if "--outputs" in arguments else LIGHT
        options = ("-o", tmp_path / "out", "--url", small_triton.url, *outputs)
        return run_swinunet(capfd, monkeypatch, "segment", *arguments, *options)

    return run


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """A NIfTI file that the small model takes."""
    path = tmp_path / "case.nii.gz"
    write_nifti(small_study(4), path)
    return path


def write_echoes(folder: Path) -> tuple[Path, str]:
    """A DICOM series of two volumes, and its UID."""
    stored = np.random.default_rng(0).integers(0, 1000, (10, 20, 20)).astype(np.uint16)
    slices = make_series(stored, pixel_spacing_mm=(1.0, 1.0))
    for k, ds in enumerate(slices):
        ds.EchoNumbers, ds.ImagePositionPatient = 1 + k // 5, slices[k % 5].ImagePositionPatient
    return save(folder, slices), str(slices[0].SeriesInstanceUID)


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Which files there are, none of them written anew but the summary of the run."""
    files = [path for path in folder.rglob("*") if path.name not in SUMMARY_NAMES]
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


def is_skipped(ended: tuple[int, str, str]) -> bool:
    status, said, errors = ended
    return (status, errors) == (0, "") and "skipped, segmented already" in " ".join(said.split())


def is_refused(ended: tuple[int, str, str], says: str) -> bool:
    status, _, errors = ended
    assert errors.count("\n") == 1
    return status == 1 and says in errors and "--overwrite" in errors


def test_the_same_job_is_skipped_wherever_the_input_lies_now(case: Path, tmp_path: Path, segment: Segment) -> None:
    assert segment(case)[0] == 0
    before = contents(tmp_path / "out")
    assert is_skipped(segment(case, "--resume"))
    (tmp_path / "moved").mkdir()
    assert is_skipped(segment(case.rename(tmp_path / "moved" / case.name), "--resume"))
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--roi=0,3,0,10,0,10"], "made in other boxes (--roi)"),
        (["--restore", "probabilities"], "made with --restore labels, not probabilities"),
        (["--outputs", "json"], "made with --outputs nifti,json, not json"),
        (
            ["--outputs", "json", "--restore", "probabilities"],
            "made with --restore labels, not probabilities, with --outputs nifti,json, not json",
        ),
    ],
)
def test_a_result_of_other_settings_is_refused(
    case: Path, tmp_path: Path, segment: Segment, options: list[str], says: str
) -> None:
    assert segment(case)[0] == 0
    before = contents(tmp_path / "out")
    assert is_refused(segment(case, "--resume", *options), says)
    assert contents(tmp_path / "out") == before
    assert segment(case, "--overwrite", *options)[0] == 0
    assert is_skipped(segment(case, "--resume", *options))


def test_a_result_of_another_image_of_the_same_name_and_shape_is_refused(case: Path, segment: Segment) -> None:
    assert segment(case)[0] == 0
    write_nifti(small_study(4, seed=1), case)
    assert is_refused(segment(case, "--resume"), "made from another input")


def renumbered(report: Report) -> Report:
    return dataclasses.replace(report, model=dataclasses.replace(report.model, version=2))


def retrained(report: Report) -> Report:
    spec = dataclasses.replace(SMALL_SPEC, spacing_mm=(2.0, 2.0))
    return dataclasses.replace(report, model=dataclasses.replace(report.model, spec=spec))


def half_done(report: Report) -> Report:
    return dataclasses.replace(report, failed={"png": "no room"})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (renumbered, "made by small version 2, not small version 1"),
        (retrained, "made by another model that is called small version 1 too"),
        (half_done, "png could not be written then"),
    ],
)
def test_a_result_of_another_model_or_not_whole_is_refused(
    case: Path, tmp_path: Path, segment: Segment, change: Callable[[Report], Report], says: str
) -> None:
    assert segment(case)[0] == 0
    file = tmp_path / "out" / "case" / "report.json"
    write_report(file, change(read_report(file)))
    assert is_refused(segment(case, "--resume"), says)


def test_a_folder_that_is_no_whole_result_is_refused(case: Path, tmp_path: Path, segment: Segment) -> None:
    assert segment(case)[0] == 0
    (tmp_path / "out" / "case" / "mask.nii.gz").unlink()
    assert is_refused(segment(case, "--resume"), "mask.nii.gz is no longer in it")
    (tmp_path / "out" / "case" / "report.json").write_text("{}")
    assert is_refused(segment(case, "--resume"), "holds no whole result")


def test_each_volume_of_a_split_series_has_its_own_result(tmp_path: Path, segment: Segment) -> None:
    folder, uid = write_echoes(tmp_path / "echoes")
    assert segment(folder, "--series", f"{uid}#2")[0] == 0
    assert is_skipped(segment(folder, "--series", f"{uid}#2", "--resume"))
    assert is_skipped(segment(folder, "--series", f"{uid}#echo 2", "--resume"))
    assert is_refused(segment(folder, "--series", f"{uid}#1", "--resume"), "made from another input")


def test_volumes_in_one_multi_frame_file_are_told_apart(tmp_path: Path) -> None:
    (series,) = scan_folder(save(tmp_path, [make_enhanced(range(4))])).series
    halves = [dataclasses.replace(series, frames=frames) for frames in (series.frames[:2], series.frames[2:])]
    assert len({digest_of_series(volume) for volume in (series, *halves)}) == 3


def test_a_series_that_has_lost_a_slice_is_another_input(tmp_path: Path, segment: Segment) -> None:
    folder = save(tmp_path / "brain", make_series(np.ones((5, 20, 20), np.uint16) * np.arange(20, dtype=np.uint16)))
    assert segment(folder)[0] == 0
    (folder / "IM0004").unlink()
    assert is_refused(segment(folder, "--resume"), "made from another input")


def test_how_the_seg_stores_its_segments_is_a_setting_of_dicom_alone(
    case: Path, tmp_path: Path, segment: Segment
) -> None:
    folder = save(tmp_path / "brain", make_series(np.ones((5, 20, 20), np.uint16) * np.arange(20, dtype=np.uint16)))
    outputs = ("--outputs", "seg,json")
    assert segment(folder, *outputs)[0] == 0
    labelmap = segment(folder, *outputs, "--resume", "--seg-type", "labelmap")
    assert is_refused(labelmap, "made with --seg-type binary, not labelmap")
    assert segment(case)[0] == 0
    assert is_skipped(segment(case, "--resume", "--seg-type", "labelmap"))


def test_deidentified_results_are_known_again_by_the_key_alone(case: Path, tmp_path: Path, segment: Segment) -> None:
    tree, key = tmp_path / "tree", tmp_path / "my.key"
    _, uid = write_echoes(tree / "echoes")
    shutil.copy(case, tree / case.name)
    deidentified = ("--tree", tree, "--deidentify", key)
    assert segment(*deidentified)[0] == 0
    before = contents(tmp_path / "out")
    assert len([path for path in before if path.endswith("report.json")]) == 3
    status, said, _ = segment(*deidentified, "--resume")
    assert (status, "0 done, 3 skipped, 0 refused" in said) == (0, True)
    assert contents(tmp_path / "out") == before
    secrets = [uid, sha256_of_file(case), "echoes", "case.nii", *PATIENT.values()]
    for report in [*(tmp_path / "out").rglob("report.json"), *(tmp_path / "out" / name for name in SUMMARY_NAMES)]:
        assert not [secret for secret in secrets if secret in report.read_text()]
    assert not [secret for secret in secrets if secret in said]

    write_nifti(small_study(4, seed=1), tree / case.name)
    status, said, errors = segment(*deidentified, "--resume")
    assert (status, "0 done, 2 skipped, 1 refused" in said) == (1, True)
    assert "made from another input" in errors


def test_an_identified_result_is_no_deidentified_one(case: Path, tmp_path: Path, segment: Segment) -> None:
    assert segment(case, "--deidentify", tmp_path / "my.key")[0] == 0
    (found,) = (tmp_path / "out").iterdir()
    found.rename(tmp_path / "out" / "case")
    assert is_refused(segment(case, "--resume"), "made with --deidentify;")
