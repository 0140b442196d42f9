"""Pseudonyms by their definition, the table that resolves them, and what is left of a header."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import hmac
import io
from pathlib import Path

import pytest
from command_line import run_swinunet
from pydicom.dataset import Dataset
from result_samples import classic_series

from swinunet.client.dicom.source_images import SourceImages
from swinunet.client.results.deidentify import Pseudonyms
from swinunet.foundation.errors import InputError, OutputError


def series() -> list[Dataset]:
    return classic_series("oblique", (12, 10, 6), (0.9, 0.8, 1.2))


def test_pseudonyms_are_keyed_hashes(tmp_path: Path) -> None:
    key = Pseudonyms.from_file(tmp_path / "key")
    text = (tmp_path / "key").read_text()
    assert bytes.fromhex(text.strip()) == key.key
    assert (len(text), text[-1]) == (65, "\n")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert key.table == tmp_path / "key.csv"

    def digest(kind: str, said: str) -> bytes:
        return hmac.new(key.key, f"{kind}\0{said}".encode(), hashlib.sha256).digest()

    assert key.name("77", "patient") == f"patient-{digest('patient', '77').hex()[:16]}"
    assert key.uid("1.2.3") == f"2.25.{int.from_bytes(digest('uid', '1.2.3')[:16], 'big')}"
    path = tmp_path / "a" / ".." / "exam"
    assert key.case(path) == key.name(str(tmp_path / "exam"), "case")
    assert key.case(path, "1.2.3") == key.name(f"{tmp_path / 'exam'}#1.2.3", "case")
    header = Dataset()
    header.PatientID, header.StudyInstanceUID = "77", "1.2"
    assert key.patient(header) == key.name("77", "patient")
    header.PatientID = ""
    assert key.patient(header) == key.name("1.2", "patient")


@pytest.mark.parametrize(
    "refused",
    [
        ("absent", "-o", "out"),
        ("absent", "missing", "-o", "out"),
        ("present", "-o", "out", "--outputs", "seg,foo"),
        ("present", "-o", "out", "--resume", "--outputs", "seg"),
        ("present", "-o", "out", "--identified"),
        ("present", "-o", "out", "--roi", "1,2,3"),
        ("--list", "absent", "-o", "out"),
        ("--tree", "absent", "-o", "out"),
    ],
    ids=" ".join,
)
def test_a_job_that_is_refused_leaves_no_new_key(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    refused: tuple[str, ...],
) -> None:
    (tmp_path / "present").mkdir()
    monkeypatch.chdir(tmp_path)
    status, _, said = run_swinunet(capfd, monkeypatch, "segment", *refused, "--deidentify", "key.json")
    assert (status, said.count("\n")) == (1, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["present"]


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o610, 0o604, 0o602, 0o601])
def test_a_key_that_anybody_else_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    path.write_text("ab" * 32)
    path.chmod(0o700)
    assert Pseudonyms.from_file(path).key == b"\xab" * 32
    path.chmod(mode)
    with pytest.raises(InputError) as caught:
        Pseudonyms.from_file(path)
    assert str(caught.value) == f"{path}: others may read this key; make it yours alone (chmod 600)"


@pytest.mark.parametrize("content", ["ab" * 31, "ab" * 33, "AB" * 32, "xy" * 32, ""])
def test_a_key_is_thirty_two_bytes_in_small_hexadecimal(tmp_path: Path, content: str) -> None:
    path = tmp_path / "key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(InputError, match=r"key: no key of 32 bytes in hexadecimal; give a new file and one is made"):
        Pseudonyms.from_file(path)


def test_the_table_says_whose_results_are_whose(tmp_path: Path) -> None:
    key = Pseudonyms.from_file(tmp_path / "key")
    header = Dataset()
    header.PatientID, header.StudyInstanceUID, header.SeriesInstanceUID = "77", "1.2.3", "1.2.3.4"
    key.record("case-1", tmp_path / "a" / ".." / "exam", header)
    key.record("case-2", tmp_path / "scan.nii", None)
    assert key.table.stat().st_mode & 0o777 == 0o600
    first, second = csv.DictReader(io.StringIO(key.table.read_text()))
    assert first == {
        "result": "case-1", "input": str(tmp_path / "exam"), "patient_id": "77",
        "patient_pseudonym": key.name("77", "patient"), "study_uid": "1.2.3",
        "study_uid_in_results": key.uid("1.2.3"), "series_uid": "1.2.3.4",
        "series_uid_in_results": key.uid("1.2.3.4"),
    }  # fmt: skip
    assert (second["result"], second["input"], second["patient_id"]) == ("case-2", str(tmp_path / "scan.nii"), None)
    assert [each.name for each in sorted(tmp_path.iterdir())] == ["key", "key.csv"]


def test_a_deidentified_header_says_so_and_has_no_dates(tmp_path: Path) -> None:
    headers = series()
    for header in headers:
        header.PatientID, header.PatientBirthDate, header.PatientSex = "77", "19010203", "F"
        header.StudyDate, header.StudyTime, header.ReferringPhysicianName = "20200102", "1200", "Doctor"
        header.FrameOfReferenceUID, header.SliceThickness, header.StationName = "1.2.9", "1.5", "SECRET"
    key = Pseudonyms.from_file(tmp_path / "key")
    found = key.source(SourceImages.of_slices(headers))
    for header, hidden in zip(headers, found.headers, strict=True):
        assert hidden.PatientID == key.name("77", "patient")
        assert hidden.PatientName == f"{hidden.PatientID}^deidentified"
        assert (hidden.PatientBirthDate, hidden.StudyDate, hidden.StudyTime) == ("", "", "")
        assert hidden.PatientIdentityRemoved == "YES"
        assert hidden.DeidentificationMethod == "PS3.15 Basic Profile; UIDs and Patient ID are keyed hashes"
        (method,) = hidden.DeidentificationMethodCodeSequence
        assert (method.CodeValue, method.CodingSchemeDesignator) == ("113100", "DCM")
        assert method.CodeMeaning == "Basic Application Confidentiality Profile"
        assert "StationName" not in hidden
        for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
            assert hidden.get(keyword) == key.uid(str(header.get(keyword)))
        for keyword in ("SOPClassUID", "Modality", "Rows", "Columns", "PixelSpacing", "SliceThickness"):
            assert hidden.get(keyword) == header.get(keyword)
        assert hidden.ImagePositionPatient == header.ImagePositionPatient
    assert found.references == tuple((key.uid(str(header.SOPInstanceUID)), None) for header in headers)


def test_a_table_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    key = dataclasses.replace(Pseudonyms.from_file(tmp_path / "key"), table=tmp_path / "folder")
    key.table.mkdir()
    with pytest.raises(OutputError) as caught:
        key.record("case-1", tmp_path, None)
    assert str(caught.value) == f"{key.table}: cannot write (Is a directory); choose another key file"
