"""A series in time through a real Triton: every phase, one SEG with a phase dimension, one SR, and every refusal."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK
from command_line import run_here
from dicom_series import assert_no_patient, make_cine, save
from PIL import Image
from pydicom.dataset import Dataset
from small_model import SMALL_SPEC, write_small_repository

from swinunet.client import OutputOptions, TritonModel, load_input, run_job
from swinunet.client.results.formats import FORMATS_BY_NAME
from swinunet.client.results.report import read_report
from swinunet.foundation.errors import InputError
from swinunet.imaging import Code, Label, Window
from swinunet.serving import TritonServer

PHASES, SLICES, SIDE = 4, 3, 20
RADII = ((6, 8, 7), (5, 6, 5), (3, 4, 0), (5, 7, 6))  # pixels, of each slice in each phase; 0 is none
VENTRICLE = Code("87878005", "SCT", "Left cardiac ventricle")
SPEC = dataclasses.replace(
    SMALL_SPEC, body_part="HEART", plane="acquired", intensity=Window(-1000.0, 1000.0),
    labels=(Label(1, "Cavity", (230, 80, 60), VENTRICLE), Label(2, "Nothing", (70, 150, 240), VENTRICLE)),
)  # fmt: skip


def disc(radius: int) -> np.ndarray:
    """bool [rows, columns], off the middle so that a flip shows."""
    y, x = np.mgrid[:SIDE, :SIDE]
    return (x - 9) ** 2 + (y - 11) ** 2 < radius**2


def heart() -> list[Dataset]:
    """A cine whose cavity is brighter than what the small model calls 1; pixels 1 mm, slices 8 mm apart."""
    slices = make_cine(PHASES, SLICES, shape=(SIDE, SIDE), pixel_spacing_mm=(1.0, 1.0))
    for ds in slices:
        phase, k = divmod(int(ds.pixel_array.flat[0]), 100)
        ds.PixelData = np.where(disc(RADII[phase][k]), 800, 100).astype(np.int16).tobytes()
        ds.PatientComments = f"{phase} {k}"  # for the tests to know it by
    return slices


def expected() -> np.ndarray:
    """bool [T, K, rows, columns]"""
    return np.array([[disc(radius) for radius in phase] for phase in RADII])


@pytest.fixture(scope="module")
def server(tritonserver: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    with TritonServer(write_small_repository(tmp_path_factory.mktemp("heart") / "repository", spec=SPEC)) as running:
        yield running


@pytest.fixture(scope="module")
def cine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("cine") / "heart", heart())


@pytest.fixture(scope="module")
def said(server: TritonServer, cine: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What the command printed, and its folder of results."""
    out = tmp_path_factory.mktemp("results")
    done = run_here("segment", cine, "-o", out, "--url", server.url)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr, out / "heart"


@pytest.fixture(scope="module")
def results(said: tuple[str, Path]) -> Path:
    return said[1]


def ml_of(phase: int) -> float:
    return float(expected()[phase].sum() * 8 / 1000)


def test_the_report_holds_every_phase_and_what_they_say_together(results: Path) -> None:
    report = read_report(results / "report.json")
    assert [each.number for each in report.phases] == [1, 2, 3, 4]
    for phase, measured in enumerate(report.phases):
        assert measured.structures[0].volume_ml == pytest.approx(ml_of(phase), abs=1e-4)
        assert measured.structures[1].voxels == 0
        assert measured.time_ms == pytest.approx(40 * (phase + 0.5), rel=0.06)
    assert (report.structures[0].phase, report.structures[0].volume_ml) == (1, pytest.approx(ml_of(0), abs=1e-4))
    (function,) = report.cardiac
    assert (function.ed_phase, function.es_phase) == (1, 3)
    assert function.ed_ml == pytest.approx(ml_of(0), abs=1e-4)
    assert function.es_ml == pytest.approx(ml_of(2), abs=1e-4)
    assert function.stroke_ml == pytest.approx(ml_of(0) - ml_of(2), abs=1e-4)
    assert function.ejection_fraction == pytest.approx(100 * (1 - ml_of(2) / ml_of(0)), abs=0.01)
    assert report.failed == {}
    assert set(report.outputs) == {"nifti", "seg", "sr", "png", "html", "json"}


def test_what_is_printed(said: tuple[str, Path]) -> None:
    text = said[0]
    assert "Cavity, phase 1" in text
    assert f"ejection fraction {100 * (1 - ml_of(2) / ml_of(0)):.1f} %" in text.replace("\n", " ")
    assert_no_patient(text)


def test_the_mask_has_the_phase_as_its_fourth_axis(results: Path) -> None:
    image = nib.load(results / "mask.nii.gz")
    assert image.shape == (SIDE, SIDE, SLICES, PHASES)
    np.testing.assert_array_equal(np.asarray(image.dataobj), expected().transpose(3, 2, 1, 0))


@pytest.mark.parametrize("seg_type", ["binary", "labelmap"])
def test_the_seg_holds_all_phases_each_frame_of_its_instance(
    seg_type: str, server: TritonServer, cine: Path, tmp_path: Path
) -> None:
    """Read by pydicom alone: by references, by positions and by dimension."""
    with TritonModel(server.url, options=None) as model:
        run_job(load_input(cine, SPEC), tmp_path / "out", model, options=OutputOptions(("seg",), seg_type))  # type: ignore[arg-type]
    seg = pydicom.dcmread(tmp_path / "out" / "segmentation.dcm")
    sources = {ds.SOPInstanceUID: ds for ds in map(pydicom.dcmread, cine.iterdir())}
    pixels = np.asarray(seg.pixel_array).reshape(-1, SIDE, SIDE)
    at = [str(item.DimensionDescriptionLabel) for item in seg.DimensionIndexSequence].index("Temporal Position Index")
    pointer = seg.DimensionIndexSequence[at]
    assert (pointer.DimensionIndexPointer, pointer.FunctionalGroupPointer) == (0x00209128, 0x00209111)
    assert len({item.DimensionOrganizationUID for item in seg.DimensionIndexSequence}) == 1
    found, values = np.zeros((PHASES, SLICES, SIDE, SIDE), bool), set()
    for frame, stored in zip(seg.PerFrameFunctionalGroupsSequence, pixels, strict=True):
        uid = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        phase, k = map(int, sources[uid].PatientComments.split())
        content = frame.FrameContentSequence[0]
        assert content.TemporalPositionIndex == content.DimensionIndexValues[at] == phase + 1
        values.add(tuple(content.DimensionIndexValues))
        assert [float(mm) for mm in frame.PlanePositionSequence[0].ImagePositionPatient] == [-10, 5, 30 + 8 * k]
        found[phase, k] |= stored > 0
    np.testing.assert_array_equal(found, expected())
    assert len(values) == len(pixels) == np.count_nonzero(expected().any(axis=(2, 3)))
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert (float(measures.SpacingBetweenSlices), [*map(float, measures.PixelSpacing)]) == (8, [1, 1])
    assert hd.seg.segread(tmp_path / "out" / "segmentation.dcm").segmentation_type.value == seg_type.upper()


def test_highdicom_finds_every_voxel_of_every_phase(results: Path, cine: Path) -> None:
    """By the instances that each phase is made of."""
    seg = hd.seg.segread(results / "segmentation.dcm")
    sources = {
        tuple(map(int, ds.PatientComments.split())): ds.SOPInstanceUID for ds in map(pydicom.dcmread, cine.iterdir())
    }
    for phase, wanted in enumerate(expected()):
        uids = [sources[phase, k] for k in range(SLICES)]
        found = seg.get_pixels_by_source_instance(uids, combine_segments=True, assert_missing_frames_are_empty=True)
        np.testing.assert_array_equal(found == 1, wanted)
        assert found.max() == 1


def test_simpleitk_finds_every_frame(results: Path) -> None:
    """GDCM, which SimpleITK reads with, knows no phases: it gives the frames in their order."""
    seg = pydicom.dcmread(results / "segmentation.dcm", stop_before_pixels=True)
    frames = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(results / "segmentation.dcm"))) > 0
    assert frames.shape == (int(seg.NumberOfFrames), SIDE, SIDE)
    found = np.zeros(expected().shape, bool)
    for groups, frame in zip(seg.PerFrameFunctionalGroupsSequence, frames, strict=True):
        phase = groups.FrameContentSequence[0].TemporalPositionIndex - 1
        found[phase, round((float(groups.PlanePositionSequence[0].ImagePositionPatient[2]) - 30) / 8)] |= frame
    np.testing.assert_array_equal(found, expected())


def test_the_sr_says_volumes_and_ejection_fraction_in_codes(results: Path) -> None:
    report = hd.sr.srread(results / "measurements.dcm")
    groups = hd.sr.MeasurementReport.from_sequence(report.content).get_volumetric_roi_measurement_groups()
    assert len(groups) == 2 * PHASES + 1
    coded = {
        (measurement.name.value, measurement.name.scheme_designator): (measurement.value, measurement.unit.value)
        for measurement in groups[-1].get_measurements()
    }
    assert coded[("8821-1", "LN")] == (pytest.approx(ml_of(0), abs=1e-4), "ml")
    assert coded[("8823-7", "LN")] == (pytest.approx(ml_of(2), abs=1e-4), "ml")
    assert coded[("90096001", "SCT")] == (pytest.approx(ml_of(0) - ml_of(2), abs=1e-4), "ml")
    assert coded[("8811-2", "LN")] == (pytest.approx(100 * (1 - ml_of(2) / ml_of(0)), abs=0.01), "%")
    for number in range(PHASES):
        group = groups[2 * number]
        volumes = [each.value for each in group.get_measurements() if each.name.value == "118565006"]
        assert volumes == [pytest.approx(ml_of(number), abs=1e-4)]
        reference = group.referenced_segment[0].ReferencedSOPSequence[0]
        assert (reference.ReferencedSegmentNumber, "ReferencedFrameNumber" in reference) == (1, False)
        orders = [each.value for each in group.get_measurements() if each.name.value == "126073"]
        assert orders == [number + 1]


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="dciodvfy (Debian's dicom3tools) is not installed")
@pytest.mark.parametrize("name", ["segmentation.dcm", "measurements.dcm"])
def test_dicom3tools_find_no_error(results: Path, name: str) -> None:
    done = subprocess.run(["dciodvfy", str(results / name)], capture_output=True, text=True, check=False)
    assert not [line for line in done.stderr.splitlines() if line.startswith("Error")]


def test_the_picture_is_one(results: Path) -> None:
    with Image.open(results / "overlay.png") as image:
        assert image.size[0] > 1000
        assert not image.info.keys() - {"Software", "dpi"}


def test_one_phase_alone_is_a_volume(server: TritonServer, cine: Path, tmp_path: Path) -> None:
    uid = next(iter(map(pydicom.dcmread, cine.iterdir()))).SeriesInstanceUID
    done = run_here(
        "segment", cine, "-o", tmp_path, "--url", server.url, "--series", f"{uid}#3", "--outputs", "nifti,json"
    )
    assert done.returncode == 0, done.stderr
    report = read_report(tmp_path / "heart" / "report.json")
    assert (report.phases, report.cardiac, report.input.shape) == ((), (), (SIDE, SIDE, SLICES))
    assert report.structures[0].volume_ml == pytest.approx(ml_of(2), abs=1e-4)


def test_a_resumed_run_knows_its_result(server: TritonServer, cine: Path, results: Path, tmp_path: Path) -> None:
    shutil.copytree(results, tmp_path / "heart")
    done = run_here("segment", cine, "-o", tmp_path, "--url", server.url, "--resume")
    assert done.returncode == 0, done.stderr
    assert "skipped" in done.stdout


def one_line(done: subprocess.CompletedProcess[str], says: str, out: Path) -> None:
    assert done.returncode == 1
    assert says in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert_no_patient(done.stderr + done.stdout)
    assert not list(out.glob("*"))


def test_a_phase_that_lacks_a_slice_is_refused_by_name(server: TritonServer, tmp_path: Path) -> None:
    slices = [ds for ds in heart() if ds.PatientComments != "2 1"]
    folder, out = save(tmp_path / "in", slices), tmp_path / "out"
    done = run_here("segment", folder, "-o", out, "--url", server.url)
    one_line(done, "phase 3 of 4", out)
    assert "lacks slice 2 of 3" in done.stderr
    one_line(run_here("segment", folder, "-o", out, "--url", server.url, "--allow", "gap"), "lacks slice 2 of 3", out)


def test_a_phase_that_cannot_be_segmented_fails_the_job_by_name(server: TritonServer, tmp_path: Path) -> None:
    spec = dataclasses.replace(SPEC, intensity=SMALL_SPEC.intensity)
    slices = heart()
    for ds in slices:
        if ds.PatientComments.startswith("1 "):
            ds.PixelData = bytes(len(ds.PixelData))
    folder, out = save(tmp_path / "in", slices), tmp_path / "out"
    repository = write_small_repository(tmp_path / "repository", spec=spec)
    with TritonServer(repository) as running:
        done = run_here("segment", folder, "-o", out, "--url", running.url)
    one_line(done, "phase 2 of 4", out)
    assert "constant" in done.stderr


def test_the_page_has_every_phase(results: Path) -> None:
    page = (results / "index.html").read_text()
    (packed,) = re.findall(r'id="mask-0">([^<]+)<', page)
    shown = nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(packed)))
    mask = nib.load(results / "mask.nii.gz")
    np.testing.assert_array_equal(np.asanyarray(shown.dataobj), np.asanyarray(mask.dataobj))
    np.testing.assert_allclose(shown.affine, mask.affine, atol=1e-4)
    assert f"ejection fraction {100 * (1 - ml_of(2) / ml_of(0)):.1f} %" in page
    assert_no_patient(page)


def test_a_format_that_is_not_made_of_phases_is_refused(
    server: TritonServer, cine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unphased = dataclasses.replace(FORMATS_BY_NAME["html"], phased_writer="")
    monkeypatch.setitem(FORMATS_BY_NAME, "html", unphased)
    with TritonModel(server.url) as model:
        loaded = load_input(cine, SPEC)
        with pytest.raises(InputError, match="html: not made of a series in time"):
            run_job(loaded, tmp_path / "out", model, options=OutputOptions(("html", "json")))
    assert not list(tmp_path.iterdir())


def test_a_box_outside_is_refused(server: TritonServer, cine: Path, tmp_path: Path) -> None:
    done = run_here("segment", cine, "-o", tmp_path, "--url", server.url, "--roi", "100,120,0,10,30,40")
    one_line(done, "reaches outside", tmp_path)


def test_the_summary_of_several_inputs_has_the_cine(server: TritonServer, cine: Path, tmp_path: Path) -> None:
    run_here("segment", cine, cine, "-o", tmp_path, "--url", server.url, "--outputs", "json")
    rows = json.loads((tmp_path / "summary.json").read_text())["inputs"]
    assert [row["outcome"] for row in rows] == ["done", "done"]
    assert rows[0]["structures"][0]["volume_ml"] == pytest.approx(ml_of(0), abs=1e-4)
