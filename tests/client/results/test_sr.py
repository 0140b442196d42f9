"""A DICOM SR says what was measured: values, codes, references, provenance; read back, sabotaged, validated."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from result_samples import SEGMENTS, SPEC, blobs, classic_series, enhanced, identity_of

from swinunet.client.dicom.source_images import SourceImages
from swinunet.client.results.dicom_seg_writer import write_seg
from swinunet.client.results.dicom_sr_writer import read_values, write_sr
from swinunet.client.results.options import SegType
from swinunet.client.results.quality import Quality, judge_quality
from swinunet.client.segments import Measurement, measure
from swinunet.foundation.errors import OutputError

MASK = blobs((12, 10, 6), 2)
VOXELS = np.random.default_rng(0).normal(100, 5, MASK.shape).astype(np.float32)


@pytest.fixture
def headers() -> list[Dataset]:
    return classic_series("oblique", (12, 10, 6), (0.9, 0.9, 1.2))


def judged() -> tuple[tuple[Measurement, ...], list[Quality]]:
    measurements = measure(MASK, SEGMENTS, 0.001, VOXELS, np.full(MASK.shape, 128, np.uint8))
    return measurements, judge_quality(MASK, measurements, [])


def write(folder: Path, source: SourceImages, seg_type: SegType = "binary") -> Path:
    """The SR, beside the SEG it refers to."""
    identity, (measurements, qualities) = identity_of(source, restore="labels"), judged()
    seg = write_seg(
        folder / "seg.dcm", MASK, SEGMENTS, source, identity, series_description="SEG", seg_type=seg_type
    )  # fmt: skip
    write_sr(folder / "sr.dcm", measurements, qualities, seg, source, identity, series_description="SR")
    return folder / "sr.dcm"


def groups(path: Path) -> list[hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations]:
    report = hd.sr.MeasurementReport.from_sequence(hd.sr.srread(path).content)
    return report.get_volumetric_roi_measurement_groups()


@pytest.mark.parametrize("multi_frame", [False, True])
@pytest.mark.parametrize("seg_type", ["binary", "labelmap"])
def test_values_codes_and_references(
    tmp_path: Path, headers: list[Dataset], multi_frame: bool, seg_type: SegType
) -> None:
    source = enhanced(headers, [3, 0, 5, 1, 4, 2]) if multi_frame else SourceImages.of_slices(headers)
    found = groups(write(tmp_path, source, seg_type))
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    segments = [item for item in seg.SegmentSequence if item.SegmentNumber]
    for group, segment, item in zip(found, SEGMENTS, segments, strict=True):
        inside = segment.mask_value == MASK
        volume, intensity, confidence = group.get_measurements()
        assert (volume.name.meaning, volume.unit.value) == ("Volume", "ml")
        assert volume.value == pytest.approx(0.001 * inside.sum(), abs=1e-4)
        assert (intensity.name.meaning, intensity.derivation.meaning) == ("MR signal intensity", "Mean")
        assert intensity.value == pytest.approx(VOXELS[inside].mean(), abs=1e-2)
        assert confidence.value == pytest.approx(128 / 255, abs=1e-4)
        assert group.referenced_segment.referenced_sop_instance_uid == seg.SOPInstanceUID
        assert group.referenced_segment.referenced_segment_numbers == [segment.number]
        assert group.tracking_uid == item.TrackingUID
        assert group.tracking_identifier == item.TrackingID
        assert group.finding_type.value == "5366008"
        assert group.finding_sites[0].laterality.meaning.lower() == segment.laterality


def test_it_says_what_made_it(tmp_path: Path, headers: list[Dataset]) -> None:
    path = write(tmp_path, SourceImages.of_slices(headers))
    text = str(pydicom.dcmread(path).to_json())
    for said in (
        SPEC.provenance.checkpoint_sha256,
        "spec=",
        "restore=labels",
        "software=swinunet",
        "Swin-UNet project",
    ):
        assert said in text
    evidence = pydicom.dcmread(path).CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    instances = {item.ReferencedSOPInstanceUID for series in evidence for item in series.ReferencedSOPSequence}
    assert instances > {header.SOPInstanceUID for header in headers}


def test_flags_and_what_was_not_judged(tmp_path: Path, headers: list[Dataset]) -> None:
    group = groups(write(tmp_path, SourceImages.of_slices(headers)))[0]
    evaluations = [(each.name.value, each.value.value) for each in group.get_qualitative_evaluations()]
    said = [each for each in evaluations if each[0] in ("quality", "not_judged")]
    expected = [("quality", flag.kind) for flag in judged()[1][0].flags] + [("not_judged", "volume")]
    assert said == expected
    assert ("quality", "low_confidence") in said


def test_the_same_job_gives_the_same_bytes(tmp_path: Path, headers: list[Dataset]) -> None:
    source = SourceImages.of_slices(headers)
    assert write(tmp_path, source).read_bytes() == write(tmp_path, source).read_bytes()


def test_a_wrong_value_is_found_out(tmp_path: Path, headers: list[Dataset], monkeypatch: pytest.MonkeyPatch) -> None:
    measured = hd.sr.Measurement.__init__
    monkeypatch.setattr(
        hd.sr.Measurement, "__init__", lambda self, **said: measured(self, **said | {"value": said["value"] + 1})
    )
    with pytest.raises(OutputError, match="does not read back as what was measured"):
        write(tmp_path, SourceImages.of_slices(headers))
    assert [path.name for path in tmp_path.iterdir()] == ["seg.dcm"]


def test_a_source_without_identity_is_refused_without_the_patient(tmp_path: Path, headers: list[Dataset]) -> None:
    source, (measurements, qualities) = SourceImages.of_slices(headers), judged()
    identity = identity_of(source)
    seg = write_seg(tmp_path / "seg.dcm", MASK, SEGMENTS, source, identity, series_description="")
    del headers[0].SeriesInstanceUID
    with pytest.raises(OutputError, match=r"sr\.dcm: no DICOM SR can be made") as caught:
        write_sr(tmp_path / "sr.dcm", measurements, qualities, seg, source, identity, series_description="")
    assert "Mustermann" not in str(caught.value)


def test_unknown_values_are_left_out(tmp_path: Path, headers: list[Dataset]) -> None:
    source, identity = SourceImages.of_slices(headers), identity_of(SourceImages.of_slices(headers))
    measurements = measure(MASK, SEGMENTS, 0.001)
    seg = write_seg(tmp_path / "seg.dcm", MASK, SEGMENTS, source, identity, series_description="")
    qualities = judge_quality(MASK, measurements, [])
    write_sr(tmp_path / "sr.dcm", measurements, qualities, seg, source, identity, series_description="")
    assert {name for _, name, _ in read_values(tmp_path / "sr.dcm")} == {"118565006"}


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian's dicom3tools) is not installed")
def test_sr_is_valid_dicom(tmp_path: Path, headers: list[Dataset]) -> None:
    path = write(tmp_path, SourceImages.of_slices(headers))
    verdict = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False).stderr
    assert "ComprehensiveSR" in verdict
    assert "Error" not in verdict
