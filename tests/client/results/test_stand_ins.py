"""Codes of results, and the headers that stand for the source before highdicom."""

from __future__ import annotations

import dataclasses

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage
from result_samples import LABELS, classic_series

from swinunet.client.dicom.source_images import SourceImages
from swinunet.client.results.concepts import concept, intensity, modifiers
from swinunet.client.results.source_header import TYPE_2
from swinunet.client.results.stand_ins import evidence, reference_of, stand_ins
from swinunet.client.segments import make_segments


def series() -> list[Dataset]:
    return classic_series("oblique", (12, 10, 6), (0.9, 0.8, 1.2))


def test_an_intensity_is_named_by_its_modality() -> None:
    def named(modality: str) -> tuple[str, str, str]:
        what, unit = intensity(modality)
        return str(what.value), str(what.scheme_designator), str(unit.value)

    assert named("CT") == ("112031", "DCM", "[hnsf'U]")
    assert named("MR") == ("110852", "DCM", "1")
    assert named("US") == named("") == ("Q4LE", "IBSI", "1")


def test_laterality_comes_before_the_labels_own_modifier() -> None:
    plain = dataclasses.replace(LABELS[0], modifier=None)
    for label, side, expected in (
        (LABELS[0], "left", ["7771000", "255549009"]),
        (LABELS[0], None, ["255549009"]),
        (plain, "right", ["24028007"]),
        (plain, None, []),
    ):
        (segment,) = make_segments([label], (side,))  # type: ignore[arg-type]
        assert [str(code.value) for code in modifiers(segment)] == expected
    found = concept(LABELS[0].type)
    assert (found.value, found.scheme_designator, found.meaning) == ("5366008", "SCT", "Hippocampus")


def test_stand_ins_are_single_frames_with_all_that_is_asked_for() -> None:
    headers = series()
    headers[0].PatientSex, headers[0].SpacingBetweenSlices = "X", "9"
    headers[0].add_new(0x00291001, "LO", "private")
    found = stand_ins(SourceImages.of_slices(headers))
    assert len(found) == len(headers)
    first = found[0]
    assert [first.get(keyword) for keyword in TYPE_2 if keyword != "PatientName"] == [None] * (len(TYPE_2) - 1)
    assert first.PatientName == "Mustermann^Erika"
    assert "SpacingBetweenSlices" not in first
    assert 0x00291001 not in first
    assert headers[0].PatientSex == "X"
    assert len({each.FrameOfReferenceUID for each in found}) == 1
    for k, (each, header) in enumerate(zip(found, headers, strict=True)):
        assert each.SOPInstanceUID == f"2.25.{k + 1}"
        assert (each.SOPClassUID, each.Modality) == (MRImageStorage, "MR")
        assert each.ImagePositionPatient == header.ImagePositionPatient
        assert each.ImageOrientationPatient == header.ImageOrientationPatient
        assert each.PixelSpacing == header.PixelSpacing
        assert float(each.SliceThickness) == pytest.approx(1.2, abs=1e-6)
        assert reference_of(SourceImages.of_slices(headers), str(each.SOPInstanceUID)) == (
            MRImageStorage,
            (header.SOPInstanceUID, None),
        )


@pytest.mark.parametrize(("sex", "kept"), [("M", "M"), ("F", "F"), ("O", "O"), ("U", None), ("", None)])
def test_a_sex_that_is_no_defined_value_is_left_empty(sex: str, kept: str | None) -> None:
    headers = series()
    headers[0].PatientSex, headers[0].FrameOfReferenceUID = sex, "1.2.9"
    first = stand_ins(SourceImages.of_slices(headers))[0]
    assert first.PatientSex == kept
    assert first.FrameOfReferenceUID == "1.2.9"


def test_a_derived_frame_of_reference_follows_from_the_series() -> None:
    one, two = series(), series()
    two[0].SeriesInstanceUID = "1.2.3"
    of_one, of_two = (stand_ins(SourceImages.of_slices(each))[0].FrameOfReferenceUID for each in (one, two))
    assert of_one == stand_ins(SourceImages.of_slices(series()))[0].FrameOfReferenceUID != of_two


def test_the_evidence_names_every_instance_and_the_patient_once() -> None:
    headers = series()
    found = evidence(SourceImages.of_slices(headers))
    assert [each.SOPInstanceUID for each in found] == [each.SOPInstanceUID for each in headers]
    assert {each.SOPClassUID for each in found} == {MRImageStorage}
    assert {each.SeriesInstanceUID for each in found} == {headers[0].SeriesInstanceUID}
    assert ["PatientName" in each for each in found] == [True] + [False] * 5
