"""What a result, its report and its outputs say, field by field, where no round trip would notice."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from result_samples import LABELS, SEGMENTS, SPEC, blobs, classic_series, enhanced

from swinunet.client.dicom import DicomVolume
from swinunet.client.dicom.source_images import SourceImages
from swinunet.client.inputs import LoadedInput
from swinunet.client.results import formats as formats_module
from swinunet.client.results import outputs as outputs_module
from swinunet.client.results.deidentify import Pseudonyms
from swinunet.client.results.formats import (
    FORMATS_BY_NAME,
    OUTPUT_FORMATS,
    OutputFormat,
    outputs_default,
    outputs_help,
    parse_outputs,
)
from swinunet.client.results.identity import Identity
from swinunet.client.results.options import OutputOptions
from swinunet.client.results.outputs import write_outputs
from swinunet.client.results.quality import Flag, Quality
from swinunet.client.results.report import Box, Input, Settings, Structure, make_report, read_report
from swinunet.client.results.report_writer import boxes_of, describe
from swinunet.client.results.result import Result
from swinunet.client.rois import Roi
from swinunet.client.segmentation import Segmentation
from swinunet.client.segments import Measurement, measure
from swinunet.client.triton import Exchange
from swinunet.foundation.errors import InputError, OutputError
from swinunet.imaging import Volume

SHAPE = (12, 10, 6)


def series() -> list[Dataset]:
    return classic_series("oblique", SHAPE, (0.9, 0.8, 1.2))


QUALITY = Quality((Flag("cut", "at the edge"),), ("volume",))


def test_a_structure_has_every_field_of_its_segment_rounded_to_four_digits() -> None:
    found = Structure.of(Measurement(SEGMENTS[3], 1234, 1.23456, -0.00004, 0.98765), QUALITY)
    assert found == Structure(
        name="Right posterior hippocampus", label="posterior hippocampus", laterality="right", type=LABELS[1].type,
        modifier=LABELS[1].modifier, mask_value=4, segment_number=4, voxels=1234, volume_ml=1.2346,
        mean_intensity=-0.0, confidence=0.9877, flags=QUALITY.flags, not_judged=("volume",),
    )  # fmt: skip
    unknown = Structure.of(Measurement(SEGMENTS[3], 0, 0.0), QUALITY)
    assert (unknown.mean_intensity, unknown.confidence) == (None, None)


SETTINGS = Settings("labels", "binary", ("json",), deidentified=False)
INPUT = Input("study", "nifti", (1, 2, 3), (1.0, 2.0, 3.0))


def test_a_report_names_model_software_and_time_and_leaves_out_what_was_not_given() -> None:
    report = make_report(INPUT, SPEC, (), settings=SETTINGS, timings_s={"read": 0.123456}, outputs={"json": "a"})
    assert (report.model.name, report.model.version) == ("hippocampus", 3)
    assert (report.model.checkpoint_sha256, report.model.spec) == ("5e" * 32, SPEC)
    assert report.timings_s == {"read": 0.1235}
    assert report.outputs == {"json": "a"}
    assert (report.failed, report.boxes, report.structures, report.trace) == ({}, (), (), "")
    assert report.software == f"swinunet {version('swinunet')}"
    assert report.schema_version == 5
    assert report.created.endswith("+00:00")
    assert len(report.created) == len("2026-11-25T20:00:00+00:00")
    assert abs(datetime.fromisoformat(report.created) - datetime.now(UTC)) < timedelta(minutes=10)
    text = report.to_json()
    assert text.startswith('{\n  "input": {\n    "name": "study"')
    assert json.loads(text)["input"]["series_instance_uid"] is None


def test_what_is_no_report_is_refused_with_the_field(tmp_path: Path) -> None:
    report = json.loads(make_report(INPUT, SPEC, (), settings=SETTINGS, timings_s={}, outputs={}).to_json())
    report["input"]["kind"] = "jpeg"
    path = tmp_path / "report.json"
    path.write_text(json.dumps(report))
    with pytest.raises(InputError) as caught:
        read_report(path)
    assert str(caught.value) == (
        f"{path}: not a report of schema version 5 (input.kind: Input should be 'dicom' or 'nifti')"
    )
    path.write_text("no JSON")
    with pytest.raises(InputError, match=r"report\.json: not a report of schema version 5 \(: Invalid JSON"):
        read_report(path)


def test_boxes_are_corners() -> None:
    rois = [Roi((1, 2, 3, 4, 5, 6), "left"), Roi((-1, 0, -3, 0, -5, 0))]
    assert boxes_of(rois) == (Box((1, 3, 5), (2, 4, 6), "left"), Box((-1, -3, -5), (0, 0, 0), None))


def result_of(
    dicom: DicomVolume | None = None, rois: tuple[Roi, ...] = (), options: OutputOptions | None = None
) -> Result:
    volume = Volume(np.zeros(SHAPE, np.float32), np.diag([0.9, 0.8, 1.2, 1.0]))
    mask = blobs(SHAPE, 1)
    measurements = measure(mask, SEGMENTS, 0.5)
    found = Segmentation(
        volume, SPEC, rois, mask, SEGMENTS, measurements, None, {"inference": 2.5}, Exchange(), "job-7"
    )
    loaded = LoadedInput(Path("folder/exam.nii.gz"), (volume,), dicom, 1.5, "ab" * 32)
    return Result(loaded, found, options or OutputOptions(), "case-1")


class FakeVerdict:
    def __init__(self, usable: bool) -> None:
        self.usable, self.sentence = usable, "the series has a gap"


class FakeSeries:
    def __init__(self, verdict: FakeVerdict | None) -> None:
        self.verdict = verdict


class FakeDicom:
    def __init__(self, source: SourceImages, verdict: FakeVerdict | None = None) -> None:
        self.source, self.series = source, FakeSeries(verdict)


def test_a_result_of_nifti_has_no_source() -> None:
    result = result_of()
    assert (result.source, result.input_name, result.input_digest) == (None, "exam.nii.gz", "ab" * 32)
    assert list(result.timings) == ["read", "inference", "judge"]
    assert (result.timings["read"], result.timings["inference"]) == (1.5, 2.5)
    assert 0 <= result.timings["judge"] < 60
    assert (result.outputs, result.failed, result.objects) == ({}, {}, {})
    assert result.identity == Identity((), SPEC, (("restore", "labels"),))
    report = describe(result)
    assert report.input == Input("exam.nii.gz", "nifti", SHAPE, (0.9, 0.8, 1.2), fingerprint="ab" * 32)
    assert report.settings == Settings("labels", "binary", ("nifti", "png", "html", "json"), deidentified=False)
    assert report.trace == "job-7"
    assert [each.name for each in report.structures] == [segment.text for segment in SEGMENTS]
    pairs = list(result.judged())
    assert [each for each, _ in pairs] == list(result.found.measurements)
    assert [each for _, each in pairs] == result.qualities


def test_boxes_are_part_of_the_identity_and_of_the_quality() -> None:
    rois = (Roi((0.0, 4.5, 0.0, 4.0, 0.0, 3.6), "left"), Roi((5.4, 9.0, 0.0, 4.0, 0.0, 3.6)))
    result = result_of(rois=rois, options=OutputOptions(restore="probabilities"))
    assert result.identity.settings == (
        ("restore", "probabilities"),
        ("roi", "left=0.0,4.5,0.0,4.0,0.0,3.6; 5.4,9.0,0.0,4.0,0.0,3.6"),
    )
    assert describe(result).boxes == boxes_of(rois)
    assert any("of the box" in flag.detail for quality in result.qualities for flag in quality.flags)


@pytest.mark.parametrize(
    ("verdict", "said"), [(None, None), (FakeVerdict(True), None), (FakeVerdict(False), "the series has a gap")]
)
def test_a_result_of_dicom_names_its_instances_once_and_an_odd_series(verdict: FakeVerdict | None, said) -> None:
    source = enhanced(series(), [3, 0, 5, 1, 4, 2])
    result = result_of(FakeDicom(source, verdict))  # type: ignore[arg-type]
    assert result.identity.sources == tuple(f"{uid}#{frame}" for uid, frame in source.references)
    report = describe(result)
    assert report.input.kind == "dicom"
    assert report.input.series_instance_uid == source.headers[0].SeriesInstanceUID
    assert report.input.source_instances == (source.headers[0].SOPInstanceUID,)
    assert report.input.verdict == said
    assert report.settings.outputs == tuple(FORMATS_BY_NAME)


def test_a_deidentified_result_names_nothing_of_the_input(tmp_path: Path) -> None:
    key = Pseudonyms.from_file(tmp_path / "key")
    source = SourceImages.of_slices(series())
    options = OutputOptions(pseudonyms=key)
    result = result_of(FakeDicom(source), options=options)  # type: ignore[arg-type]
    assert result.input_name == "case-1"
    assert result.input_digest == key.name("ab" * 32, "input")
    assert result.source is not None
    assert not {uid for uid, _ in result.source.references} & {uid for uid, _ in source.references}
    assert describe(result).settings.deidentified
    assert result_of(options=options).source is None


def test_help_names_every_format_and_what_is_written_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert outputs_help() == "Results to write, some of nifti, seg, sr, png, html, json; separated by commas."
    assert outputs_default() == "all that the input allows"
    further = OutputFormat("mesh", "mesh", "mesh.stl", "mesh:write", default=False)
    monkeypatch.setattr(formats_module, "OUTPUT_FORMATS", (*OUTPUT_FORMATS, further))
    assert outputs_default() == "all of nifti,seg,sr,png,html,json that the input allows"


def test_refusals_of_outputs_say_what_is_allowed() -> None:
    for text, says in (
        ("json,rtstruct,x", "--outputs 'rtstruct': expected some of nifti,seg,sr,png,html,json"),
        ("json,sr", "--outputs sr: it refers to the segmentation; add seg"),
    ):
        with pytest.raises(InputError) as caught:
            parse_outputs(text)
        assert str(caught.value) == says
    with pytest.raises(InputError) as caught:
        OutputOptions(("json", "sr")).formats_for(is_dicom=False)
    assert str(caught.value) == "--outputs sr: needs a DICOM input, this is NIfTI; leave it out"
    assert OutputOptions(("json", "sr")).formats_for(is_dicom=True) == ("json", "sr")
    assert OutputOptions().formats_for(is_dicom=True) == ("nifti", "seg", "sr", "png", "html", "json")
    options = OutputOptions()
    assert (options.seg_type, options.restore, options.pseudonyms) == ("binary", "labels", None)


def test_a_format_that_is_no_default_is_written_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from swinunet.client.results import options as options_module

    further = OutputFormat("mesh", "mesh", "mesh.stl", "mesh:write", default=False)
    monkeypatch.setattr(options_module, "OUTPUT_FORMATS", (*OUTPUT_FORMATS, further))
    assert "mesh" not in OutputOptions().formats_for(is_dicom=True)
    assert not OutputFormat("mesh", "mesh", "mesh.stl", "mesh:write").needs_dicom
    assert OutputFormat("mesh", "mesh", "mesh.stl", "mesh:write").default


def test_each_output_is_timed_and_a_failure_is_told_without_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []

    def write(result: Result, path: Path) -> str:
        written.append(path)
        assert result.outputs["nifti"] == "mask.nii.gz"
        return "what it returned"

    def fails(result: Result, path: Path) -> None:
        raise OutputError(f"{path}: the disk is full")

    def breaks(result: Result, path: Path) -> None:
        raise ValueError("patient Mustermann")

    writers = {"nifti_writer": write, "overlay_writer": fails, "report_writer": breaks}
    monkeypatch.setattr(
        outputs_module.pkgutil, "resolve_name", lambda name: writers[name.split(":")[0].rpartition(".")[2]]
    )
    result = result_of(options=OutputOptions(("nifti", "png", "json")))
    report = write_outputs(tmp_path, result)
    assert written == [tmp_path / "mask.nii.gz"]
    assert report.outputs == {"nifti": "mask.nii.gz"}
    assert report.failed == {"png": "overlay.png: the disk is full", "json": "unexpected ValueError"}
    assert result.objects == {"nifti": "what it returned"}
    assert list(result.timings)[-3:] == ["nifti", "png", "json"]
    assert all(0 <= result.timings[name] < 60 for name in ("nifti", "png", "json"))
    only = result_of(options=OutputOptions(("png", "json")))
    with pytest.raises(OutputError) as caught:
        write_outputs(tmp_path, only)
    assert str(caught.value) == "png: overlay.png: the disk is full; json: unexpected ValueError"
