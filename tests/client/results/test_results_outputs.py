"""A job's outputs: chosen, each whole or not at all, the others kept when one fails, and the exit says so."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_series import make_series, read, save
from result_samples import LABELS, SPEC
from shipped_model import SHIPPED

from swinunet.client import TritonModel, load_input, run_job
from swinunet.client.dicom import DicomVolume
from swinunet.client.inputs import LoadedInput
from swinunet.client.results.formats import FILE_NAMES, FORMATS_BY_NAME, parse_outputs
from swinunet.client.results.options import OutputOptions
from swinunet.client.results.outputs import write_outputs
from swinunet.client.results.report import Report, read_report
from swinunet.client.results.result import Result
from swinunet.client.segmentation import Segmentation
from swinunet.client.segments import Segment, make_segments, measure
from swinunet.client.triton import Exchange
from swinunet.foundation.errors import InputError, OutputError
from swinunet.imaging import Volume, Window
from swinunet.serving import TritonServer

SEGMENTS = make_segments(LABELS)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MR series that the shipped model reads whole."""
    stored = np.random.default_rng(0).integers(100, 900, (12, 36, 36)).astype(np.uint16)
    slices = make_series(stored, step_mm=(0, 0, 3.0), pixel_spacing_mm=(1.0, 1.0), BurnedInAnnotation="YES")
    return save(tmp_path_factory.mktemp("study") / "exam", slices)


def write(
    folder: Path, dicom: DicomVolume, formats: tuple[str, ...] | None = None, segments: Sequence[Segment] = SEGMENTS
) -> Report:
    """The outputs of a made-up result."""
    mask = np.zeros(dicom.volume.shape, np.uint8)
    mask[10:20, 10:20, 3:8], mask[10:20, 20:25, 3:8] = 1, 2
    measurements = measure(mask, segments, dicom.volume.voxel_ml, dicom.volume.voxels)
    found = Segmentation(dicom.volume, SPEC, (), mask, tuple(segments), measurements, None, {}, Exchange(), "")
    loaded = LoadedInput(Path("exam"), (dicom.volume,), dicom, 0.0)
    return write_outputs(folder, Result(loaded, found, OutputOptions(formats), "exam"))


def test_all_outputs_and_the_report_names_the_source(tmp_path: Path, study: Path) -> None:
    dicom = read(study)
    report = write(tmp_path, dicom)
    assert report.outputs == FILE_NAMES
    assert not report.failed
    assert {path.name for path in tmp_path.iterdir()} == set(FILE_NAMES.values())
    assert list(report.input.source_instances) == [dicom.source.references[k][0] for k in range(12)]
    assert report.model.checkpoint_sha256 == SPEC.provenance.checkpoint_sha256
    sr, seg = (pydicom.dcmread(tmp_path / FILE_NAMES[kind]) for kind in ("sr", "seg"))
    assert sr.StudyInstanceUID == seg.StudyInstanceUID == dicom.source.headers[0].StudyInstanceUID


@pytest.mark.parametrize("failing", FORMATS_BY_NAME)
def test_if_one_output_fails_the_others_are_kept(tmp_path: Path, study: Path, failing: str) -> None:
    """A folder in the way of a file: the disk refuses it for real."""
    (tmp_path / FILE_NAMES[failing]).mkdir()
    report = write(tmp_path, read(study))
    lost = {"seg", "sr"} if failing == "seg" else {failing}
    assert set(report.failed) == lost
    assert "cannot write" in report.failed[failing]
    assert str(tmp_path) not in report.failed[failing]
    if failing == "seg":
        assert report.failed["sr"] == "the segmentation it refers to was not written"
    assert set(report.outputs) == set(FORMATS_BY_NAME) - lost
    files = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert files == {FILE_NAMES[kind] for kind in FORMATS_BY_NAME if kind not in lost}
    if failing != "json":
        assert set(read_report(tmp_path / "report.json").failed) == lost


def test_what_a_library_says_is_not_repeated(tmp_path: Path, study: Path) -> None:
    """A colour that is none, past the spec's own check: Matplotlib's message would quote it."""
    no_colour = make_segments([replace(label) for label in LABELS])
    for segment in no_colour:
        object.__setattr__(segment.label, "color", (999, 0, 0))
    assert write(tmp_path, read(study), ("nifti", "png"), no_colour).failed == {"png": "unexpected ValueError"}


def test_no_output_at_all_is_an_error(tmp_path: Path, study: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        write(tmp_path / "missing", read(study), ("nifti", "json"))


@pytest.mark.parametrize(
    ("text", "kinds"), [("json", ("json",)), ("sr, seg", ("seg", "sr")), ("png,nifti,png", ("nifti", "png"))]
)
def test_outputs_are_chosen(text: str, kinds: tuple[str, ...]) -> None:
    assert parse_outputs(text) == kinds


@pytest.mark.parametrize(("text", "says"), [("", "expected some of"), ("rtstruct", "rtstruct"), ("sr,json", "add seg")])
def test_outputs_that_are_refused(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse_outputs(text)


def test_nifti_has_no_dicom_outputs() -> None:
    assert OutputOptions().formats_for(is_dicom=False) == ("nifti", "png", "html", "json")
    with pytest.raises(InputError, match="needs a DICOM input"):
        OutputOptions(("seg",)).formats_for(is_dicom=False)


def test_a_failed_output_is_named_and_the_exit_says_so(triton: TritonServer, study: Path, tmp_path: Path) -> None:
    """A de-identified result has no overlay of pixels with text burnt in."""
    command = [sys.executable, "-m", "swinunet", "segment", study, "-o", tmp_path / "out", "--url", triton.url]
    done = subprocess.run(
        [*map(str, command), "--deidentify", str(tmp_path / "key"), "--seg-type", "labelmap"],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "png was not written" in done.stderr
    (folder,) = (tmp_path / "out").iterdir()
    assert {path.name for path in folder.iterdir()} == set(FILE_NAMES.values()) - {"overlay.png", "index.html"}
    said = json.loads((folder / "report.json").read_text())
    assert list(said["failed"]) == ["png", "html"]
    assert said["settings"]["seg_type"] == "labelmap"
    assert pydicom.dcmread(folder / "segmentation.dcm").SegmentationType == "LABELMAP"


def test_a_folder_that_appears_meanwhile_is_kept(triton: TritonServer, study: Path, tmp_path: Path) -> None:
    folder = tmp_path / "exam"
    folder.mkdir()
    options = OutputOptions(("json",))
    with TritonModel(triton.url, SHIPPED) as model:
        loaded = load_input(study, model.spec)
        with pytest.raises(OutputError, match="appeared while the job ran"):
            run_job(loaded, folder, model, options=options, overwrite=False)
        assert [*tmp_path.iterdir()] == [folder]
        assert not [*folder.iterdir()]
        run_job(loaded, folder, model, options=options)
    assert [path.name for path in folder.iterdir()] == ["report.json"]


def test_the_window_of_a_window_model_is_shown(tmp_path: Path) -> None:
    """What a radiologist sees is what the model saw: the spec's window, where it has one."""
    voxels = np.random.default_rng(0).normal(40, 400, (30, 30, 10)).astype(np.float32)
    volume = Volume(voxels, np.diag([1.0, 1, 3, 1]))
    mask = np.zeros(volume.shape, np.uint8)
    mask[10:20, 10:20, 3:6] = 1
    measurements = measure(mask, SEGMENTS, 0.003)
    pictures = []
    for low in (-100.0, -1000.0):
        spec = replace(SPEC, intensity=Window(low, 300.0))
        folder = tmp_path / str(low)
        folder.mkdir()
        found = Segmentation(volume, spec, (), mask, SEGMENTS, measurements, None, {}, Exchange(), "")
        loaded = LoadedInput(Path("case"), (volume,), None, 0.0)
        write_outputs(folder, Result(loaded, found, OutputOptions(("png",)), "case"))
        pictures.append((folder / "overlay.png").read_bytes())
    assert pictures[0] != pictures[1]
