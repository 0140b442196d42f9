"""Rules of results by hand: dates and UIDs, what an error may quote, how frames are packed."""

from __future__ import annotations

import dataclasses
import hashlib
import io

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SegmentationStorage
from result_samples import SPEC

from swinunet.client.results.identity import Identity, date_from_source
from swinunet.client.results.plain_errors import plain_reason
from swinunet.client.results.seg_frames import pack_frames, read_frames

JOB = Identity(("1.2.3#None", "1.2.4#None"), SPEC, (("restore", "labels"),))


@pytest.mark.parametrize(
    ("said", "date", "time"),
    [
        ({}, "19000101", "000000"),
        ({"StudyDate": "20200102", "StudyTime": "0304"}, "20200102", "0304"),
        ({"SeriesDate": "20200103", "StudyDate": "20200102", "StudyTime": "0304"}, "20200103", "000000"),
        (
            {"ContentDate": "20200105", "ContentTime": "101112.5", "SeriesDate": "20200103", "SeriesTime": "01"},
            "20200105",
            "101112.5",
        ),
        ({"ContentDate": "2020", "SeriesDate": "20200103", "SeriesTime": "12"}, "20200103", "12"),
        ({"ContentDate": "20200105", "ContentTime": "1"}, "20200105", "000000"),
        ({"ContentDate": "20200105", "ContentTime": "123"}, "20200105", "000000"),
        ({"ContentDate": "20200105", "ContentTime": "123456.1234567"}, "20200105", "000000"),
        ({"ContentDate": "20200105", "ContentTime": "123456.123456"}, "20200105", "123456.123456"),
        ({"ContentDate": "202001050", "ContentTime": "12"}, "19000101", "000000"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_dates_are_the_sources_first_that_is_one(said: dict[str, str], date: str, time: str) -> None:
    header, result, equipment = Dataset(), Dataset(), Dataset()
    for name, value in said.items():
        setattr(header, name, value)
    equipment.ContributionDateTime = "20260101"
    result.ContributingEquipmentSequence = [equipment]
    date_from_source(result, header)
    assert (result.ContentDate, result.InstanceCreationDate) == (date, date)
    assert (result.ContentTime, result.InstanceCreationTime) == (time, time)
    assert "ContributionDateTime" not in result.ContributingEquipmentSequence[0]


def test_a_uid_follows_from_everything_that_makes_the_result() -> None:
    others = [
        dataclasses.replace(JOB, sources=("1.2.3#None",)),
        dataclasses.replace(JOB, sources=JOB.sources[::-1]),
        dataclasses.replace(JOB, spec=dataclasses.replace(SPEC, version=4)),
        dataclasses.replace(JOB, settings=(("restore", "probabilities"),)),
        dataclasses.replace(JOB, settings=()),
    ]
    uids = [each.uid("seg", "a") for each in (JOB, *others)] + [JOB.uid("sr", "a"), JOB.uid("seg", "b"), JOB.uid("seg")]
    assert len(set(uids)) == len(uids)
    assert dataclasses.replace(JOB).uid("seg", "a") == uids[0]
    assert all(len(uid) <= 64 and pydicom.uid.UID(uid).is_valid for uid in uids)


def test_what_made_a_result_is_said() -> None:
    said = JOB.parameters()
    assert said["checkpoint_sha256"] == "5e" * 32
    assert said["spec_sha256"] == hashlib.sha256(SPEC.to_json().encode()).hexdigest()
    assert said["software"] == f"swinunet {JOB.software}"
    assert said["restore"] == "labels"
    assert JOB.device_serial_number == "5e" * 8
    bare = dataclasses.replace(
        JOB, spec=dataclasses.replace(SPEC, provenance=dataclasses.replace(SPEC.provenance, checkpoint_sha256=""))
    )
    assert bare.device_serial_number == "0"
    assert "checkpoint_sha256" not in bare.parameters()


def header(**said: object) -> Dataset:
    found = Dataset()
    for name, value in said.items():
        setattr(found, name, value)
    return found


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("no such tag", "ValueError: no such tag"),
        ("cannot use Mustermann^Erika here", "ValueError"),
        ("patient 4711 is odd", "ValueError"),
        ("the modality MR is odd", "ValueError: the modality MR is odd"),
        ("a value of 1.2.3.4", "ValueError: a value of 1.2.3.4"),
        ("ab is short", "ValueError: ab is short"),
        ("abc is not", "ValueError"),
        ("", "ValueError"),
        ("first line\nMustermann^Erika", "ValueError: first line"),
        ("x" * 200, f"ValueError: {'x' * 120}"),
    ],
)
def test_an_error_that_quotes_a_header_is_named_by_its_type_alone(message: str, reason: str) -> None:
    headers = [
        header(Modality="MR", SeriesInstanceUID="1.2.3.4", StudyDescription="ab", Rows=200),
        header(PatientName="Mustermann^Erika", PatientID="4711", SeriesDescription="abc"),
    ]
    assert plain_reason(ValueError(message), headers) == reason


@pytest.mark.parametrize("labelmap", [False, True])
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_frames_come_back_whatever_their_size(labelmap: bool, data: st.DataObject) -> None:
    """Frames of bits that begin within a byte; pydicom's own pixel decoder reads them as well."""
    shape = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9)))
    elements = st.integers(0, 255) if labelmap else st.booleans()
    frames = data.draw(hnp.arrays(np.uint8 if labelmap else bool, shape, elements=elements))
    pixels = io.BytesIO()
    pack_frames(iter(frames), pixels)
    seg = FileDataset(None, {}, preamble=b"\0" * 128, file_meta=FileMetaDataset())
    seg.file_meta.TransferSyntaxUID, seg.file_meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, SegmentationStorage
    seg.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    seg.SamplesPerPixel, seg.PhotometricInterpretation, seg.PixelRepresentation = 1, "MONOCHROME2", 0
    seg.NumberOfFrames, seg.Rows, seg.Columns = shape
    seg.BitsAllocated = seg.BitsStored = 8 if labelmap else 1
    seg.HighBit = seg.BitsStored - 1
    content = pixels.getvalue()
    seg.add_new("PixelData", "OB", content + b"\0" * (len(content) % 2))
    file = io.BytesIO()
    seg.save_as(file, enforce_file_format=True)
    file.seek(0)
    read, stored = read_frames(file)
    assert (read.Rows, read.Columns, "PixelData" in read) == (*shape[1:], False)
    np.testing.assert_array_equal(list(stored), frames.astype(np.uint8))
    file.seek(0)
    theirs = pydicom.dcmread(file).pixel_array.reshape(shape)
    np.testing.assert_array_equal(theirs, frames.astype(np.uint8))


@pytest.mark.parametrize(("length", "fits"), [(7, False), (8, True), (10, False)])
def test_pixel_data_must_be_as_long_as_its_frames(length: int, fits: bool) -> None:
    """Two frames of 3 x 10 bits are 7.5 bytes, 8 with the padding to an even number."""
    seg = FileDataset(None, {}, preamble=b"\0" * 128, file_meta=FileMetaDataset())
    seg.file_meta.TransferSyntaxUID, seg.file_meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, SegmentationStorage
    seg.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    seg.NumberOfFrames, seg.Rows, seg.Columns, seg.BitsAllocated = 2, 3, 10, 1
    seg.add_new("PixelData", "OB", b"\1" * length)
    file = io.BytesIO()
    seg.save_as(file, enforce_file_format=True)
    if length % 2:  # pydicom pads to an even length: state the odd one
        content = file.getvalue()
        at = content.index(bytes.fromhex("e07f1000"))
        file = io.BytesIO(content[: at + 8] + length.to_bytes(4, "little") + content[at + 12 : at + 12 + length])
    file.seek(0)
    if fits:
        assert len(list(read_frames(file)[1])) == 2
    else:
        with pytest.raises(ValueError, match="no Pixel Data of 2 frames"):
            read_frames(file)
