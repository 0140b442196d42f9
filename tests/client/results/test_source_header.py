"""What SEG and SR take over from headers that break the standard's formats, and what they leave out and name."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from odd_headers import raw, results
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from result_samples import SEGMENTS, classic_series, identity_of

from swinunet.client.dicom.source_images import SourceImages
from swinunet.client.results.dicom_seg_writer import write_seg
from swinunet.client.results.plain_errors import plain_reason
from swinunet.client.results.source_header import is_date, is_time, usable_part

pytestmark = pytest.mark.filterwarnings("ignore")

# keyword, VR, what the file holds, what the results hold (None: left out and named)
VALUES = [
    ("PatientBirthDate", "DA", b"1960-01-31", None),
    ("PatientBirthDate", "DA", b"19600131", "19600131"),
    ("PatientBirthDate", "DA", b"19600231", None),
    ("PatientBirthTime", "TM", b"10:11:12", None),
    ("StudyDate", "DA", b"2020.01.02", None),
    ("StudyTime", "TM", b"10:11:12", None),
    ("StudyTime", "TM", b"101112.5", "101112.5"),
    ("StudyTime", "TM", b"251112", None),
    ("PatientAge", "AS", b"045Y", "045Y"),
    ("PatientAge", "AS", b"0Y", "000Y"),
    ("PatientAge", "AS", b"45Y", "045Y"),
    ("PatientAge", "AS", b"45", None),
    ("PatientAge", "AS", b"SECRET", None),
    ("PatientWeight", "DS", b"80kg", None),
    ("PatientWeight", "DS", b"80.5", "80.5"),
    ("PatientSize", "DS", b"1,80", None),
    ("PatientSex", "CS", b"Male", None),
    ("PatientSex", "CS", b"F", "F"),
    ("PregnancyStatus", "US", b"\4\0", "4"),
    ("PatientName", "PN", b"A" * 90, "A" * 90),
    ("PatientID", "LO", b"9" * 80, "9" * 80),
    ("AccessionNumber", "SH", b"ACC-0123456789-0123456789", "ACC-0123456789-0123456789"),
    ("StudyInstanceUID", "UI", b"1.2.840.00123.4", "1.2.840.00123.4"),
]


@pytest.mark.parametrize(("keyword", "vr", "content", "taken_over"), VALUES)
def test_a_value_is_taken_over_or_named(keyword: str, vr: str, content: bytes, taken_over: str | None) -> None:
    (header,) = classic_series("axial", (12, 10, 1), (1.0, 1.0, 2.0))
    raw(header, keyword, vr, content)
    found = usable_part(header)
    assert found.left_out == (() if taken_over else (keyword,))
    assert str(found.dataset.get(keyword) or "") == (taken_over or "")


def test_what_no_result_repeats_is_not_named() -> None:
    (header,) = classic_series("axial", (12, 10, 1), (1.0, 1.0, 2.0))
    raw(header, "AcquisitionTime", "TM", b"10:11:12")
    raw(header, "SliceThickness", "DS", b"thick")
    assert usable_part(header).left_out == ()


@pytest.mark.parametrize(
    ("stated", "number"),
    [(b"3", 1003), (b"3.0", 1003), (b"", 1000), (b"x", 1000), (b"4294967295", 1000), (b"2147483647", 1000),
     (b"2147482646", 2147483646), (b"2147482647", 1000), (b"-999", 1), (b"-1000", 1000), (b"-2147483648", 1000)],
)  # fmt: skip
def test_series_numbers_stay_in_range(tmp_path: Path, stated: bytes, number: int) -> None:
    headers = classic_series("axial", (12, 10, 2), (1.0, 1.0, 2.0))
    raw(headers[0], "SeriesNumber", "IS", stated)
    source = SourceImages.of_slices(headers)
    mask = np.ones((12, 10, 2), np.uint8)
    seg = write_seg(tmp_path / "seg.dcm", mask, SEGMENTS, source, identity_of(source), series_description="")
    assert seg.SeriesNumber == number


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian's dicom3tools) is not installed")
def test_values_that_a_validator_complains_of_are_mended_or_left_out(tmp_path: Path) -> None:
    def spoil(header: Dataset) -> None:
        for keyword, vr, content in (
            ("PatientAge", "AS", b"0Y"), ("PatientIdentityRemoved", "CS", b"YES"), ("StudyTime", "TM", b"10:11"),
            ("DeidentificationMethod", "LO", b""), ("PatientSize", "DS", b"1,80"), ("StudyDescription", "LO", b""),
            ("PatientBirthDate", "DA", b"1960-01-31"), ("PatientSex", "CS", b"Male"),
        ):  # fmt: skip
            raw(header, keyword, vr, content)

    for result in results(tmp_path, "ISO IR 100", b"Plain^Name", spoil=spoil):
        said = subprocess.run(["dciodvfy", result.filename], capture_output=True, text=True, check=False).stderr
        assert not [line for line in said.splitlines() if "Error" in line], said
        assert (result.PatientAge, result.DeidentificationMethod) == ("000Y", "not stated by the source")


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("20240229", True),
        ("20230229", False),
        ("2024-02-29", False),
        ("202402", False),
        ("", False),
        ("٢٠٢٤٠٢٢٩", False),
    ],
)
def test_dates(text: str, right: bool) -> None:
    assert is_date(text) is right


@pytest.mark.parametrize(
    ("text", "right"),
    [("", False), ("23", True), ("24", False), ("2359", True), ("2360", False), ("235960", True), ("235961", False),
     ("235959.123456", True), ("235959.1234567", False), ("23:59", False), ("1", False)],
)  # fmt: skip
def test_times(text: str, right: bool) -> None:
    assert is_time(text) is right


@pytest.mark.parametrize(
    ("keyword", "vr", "content"),
    [("PatientAge", "AS", b"SECR"), ("StudyTime", "TM", b"SECR"), ("SeriesNumber", "IS", b"SECR"),
     ("PatientWeight", "DS", b"SECR"), ("PatientSex", "CS", b"SECR"), ("StudyInstanceUID", "UI", b"SECR")],
)  # fmt: skip
@pytest.mark.parametrize("nested", [False, True])
def test_no_error_quotes_what_a_header_holds(keyword: str, vr: str, content: bytes, nested: bool) -> None:
    header, item = Dataset(), Dataset()
    raw(item if nested else header, keyword, vr, content)
    if nested:
        header.OtherPatientIDsSequence = [item]
    for message in ("could not convert SECR", "invalid literal for int() with base 10: 'SECR'", "'SECR' is no value"):
        reason = plain_reason(ValueError(message), [header])
        assert "SECR" not in reason
        assert reason.startswith("ValueError")


def test_of_what_an_error_quotes_keywords_alone_are_shown() -> None:
    error = AttributeError("'Dataset' object has no attribute 'FrameOfReferenceUID'")
    assert plain_reason(error, []) == "AttributeError: object has no attribute 'FrameOfReferenceUID'"
    assert plain_reason(ValueError("bad value: 'half of a na'"), []) == "ValueError: bad value"


def test_the_source_is_left_as_it_was() -> None:
    (header,) = classic_series("axial", (12, 10, 1), (1.0, 1.0, 2.0))
    raw(header, "PatientAge", "AS", b"0Y")
    usable_part(header)
    assert bytes(header.get_item(Tag("PatientAge")).value) == b"0Y"
