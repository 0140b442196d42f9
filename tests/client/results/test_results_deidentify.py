"""De-identified results: no trace of the patient in any byte or name, the same pseudonyms under the same key."""

from __future__ import annotations

import csv
import gzip
import io
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_series import make_series, save
from pydicom.datadict import DicomDictionary
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from result_samples import SEGMENTS, blobs, classic_series, enhanced, identity_of

from swinunet.client.dicom.source_images import SourceImages
from swinunet.client.results.deidentify import Pseudonyms
from swinunet.client.results.dicom_seg_writer import write_seg
from swinunet.client.results.report import read_report
from swinunet.foundation.errors import InputError, OutputError
from swinunet.serving import TritonServer

SENTINEL = "SENTINEL"
SENTINELS = ("SENTINEL", "Sentinel", "19010203", "MNOPQ")
_GROUPS = (0x0008, 0x0010, 0x0012, 0x0018, 0x0020, 0x0028, 0x0032, 0x0038, 0x0040, 0x4008)
_TEXT = {"LO": SENTINEL, "SH": SENTINEL, "ST": SENTINEL, "LT": SENTINEL, "UT": SENTINEL, "UC": SENTINEL,
         "PN": "SENTINEL ANNA", "AE": SENTINEL, "DA": "19010203"}  # fmt: skip


def mark(ds: Dataset) -> int:
    """Write sentinels into every textual attribute of the common groups; the number of them."""
    marked = 0
    for tag, (vr, vm, _, retired, keyword) in DicomDictionary.items():
        if tag >> 16 in _GROUPS and vr in _TEXT and vm[0] == "1" and not retired and keyword:
            setattr(ds, keyword, _TEXT[vr])
            marked += 1
    item = Dataset()
    item.CodeMeaning = SENTINEL
    ds.RequestAttributesSequence = [item]
    ds.private_block(0x0029, "SENTINEL PRIVATE", create=True).add_new(1, "LO", SENTINEL)
    return marked


@pytest.fixture(scope="module")
def marked_series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sagittal-readable MR series, 36 mm cube, full of sentinels."""
    rng = np.random.default_rng(0)
    stored = rng.integers(100, 900, (12, 36, 36)).astype(np.uint16)
    slices = make_series(stored, step_mm=(0, 0, 3.0), pixel_spacing_mm=(1.0, 1.0))
    assert min(mark(ds) for ds in slices) > 250
    return save(tmp_path_factory.mktemp("study") / "exam", slices)


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "swinunet", "segment", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


def assert_clean(text: str, what: str) -> None:
    for sentinel in SENTINELS:
        assert sentinel not in text, f"{sentinel} in {what}"


def all_bytes(folder: Path) -> dict[Path, bytes]:
    """Every file below, unpacked where it is packed."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path: gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes() for path in files}


@pytest.mark.parametrize("broken", [False, True])
def test_no_patient_in_any_log_metric_name_or_message(
    tritonserver: object, repository: Path, marked_series: Path, tmp_path: Path, broken: bool
) -> None:
    """Plain jobs: the patient is in SEG and SR, as a PACS needs it, and nowhere else; failing ones say nothing."""
    log, extra = tmp_path / "triton.log", []
    if broken:  # a source whose header nothing can be made of
        series = save(tmp_path / "exam", [pydicom.dcmread(path) for path in sorted(marked_series.iterdir())])
        for path in series.iterdir():
            ds = pydicom.dcmread(path)
            ds.SeriesInstanceUID = "1.2.3"
            del ds.StudyInstanceUID
            ds.save_as(path)
        extra = ["--outputs", "seg,sr,json"]
    with TritonServer(repository, log_file=log) as server:
        done = run(series if broken else marked_series, "-o", tmp_path / "out", "--url", server.url, *extra)
        with urllib.request.urlopen(server.metrics_url) as answer:  # loopback
            metrics = answer.read().decode()
    assert (done.returncode != 0) == broken, done.stderr
    assert_clean(done.stdout, "standard output")
    assert_clean(done.stderr, "standard error")
    assert_clean(metrics, "the metrics")
    assert_clean(log.read_text(), "Triton's log")
    for path, content in all_bytes(tmp_path / "out").items():
        assert_clean(str(path.relative_to(tmp_path)), "a file name")
        if path.suffix != ".dcm":
            assert_clean(content.decode("latin-1"), path.name)


def test_deidentified_results_hold_no_trace(triton: TritonServer, marked_series: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    for out, outputs in (("one", "nifti,seg,sr,png,html,json"), ("two", "seg,sr")):
        options = ("--deidentify", key, "--outputs", outputs)
        done = run(marked_series, "-o", tmp_path / out, "--url", triton.url, *options)
        assert done.returncode == 0, done.stderr
        assert_clean(done.stdout + done.stderr, "the terminal")
    header = pydicom.dcmread(next(marked_series.iterdir()))
    originals = {str(pydicom.dcmread(path).SOPInstanceUID) for path in marked_series.iterdir()}
    originals |= {str(header.StudyInstanceUID), str(header.SeriesInstanceUID), str(header.FrameOfReferenceUID)}
    found, again = (all_bytes(tmp_path / out) for out in ("one", "two"))
    assert sorted(path.name for path in found) == [
        "index.html", "mask.nii.gz", "measurements.dcm", "overlay.png", "report.json", "segmentation.dcm",
    ]  # fmt: skip
    for path, content in found.items():
        text = content.decode("latin-1")
        assert_clean(text + str(path.relative_to(tmp_path)), path.name)
        assert "exam" not in str(path.relative_to(tmp_path))
        assert not [uid for uid in originals if uid in text]
        if path.suffix == ".dcm":
            assert content == again[tmp_path / "two" / path.relative_to(tmp_path / "one")]
    seg = pydicom.dcmread(next(path for path in found if path.name == "segmentation.dcm"))
    assert (seg.PatientIdentityRemoved, seg.DeidentificationMethodCodeSequence[0].CodeValue) == ("YES", "113100")
    report = read_report(next(path for path in found if path.name == "report.json"))
    assert report.settings.deidentified
    assert {item.ReferencedSOPInstanceUID for item in seg.SourceImageSequence} <= set(report.input.source_instances)

    (row, _) = csv.DictReader((tmp_path / "key.csv").read_text().splitlines())
    assert row["patient_id"] == header.PatientID
    assert row["series_uid"] == header.SeriesInstanceUID
    assert (row["result"], row["patient_pseudonym"]) == (report.input.name, seg.PatientID)
    assert (row["study_uid_in_results"], row["series_uid_in_results"]) == (
        seg.StudyInstanceUID, report.input.series_instance_uid,
    )  # fmt: skip
    for path in (key, tmp_path / "key.csv"):
        assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian's dicom3tools) is not installed")
def test_deidentified_objects_are_valid_dicom(tmp_path: Path) -> None:
    headers = classic_series("axial", (12, 10, 6), (0.7, 0.7, 2.5))
    for header in headers:
        mark(header)
    source = Pseudonyms.from_file(tmp_path / "key").source(SourceImages.of_slices(headers))
    write_seg(tmp_path / "seg.dcm", blobs((12, 10, 6), 1), SEGMENTS, source, identity_of(source), series_description="")
    verdict = subprocess.run(["dciodvfy", tmp_path / "seg.dcm"], capture_output=True, text=True, check=False).stderr
    assert "Segmentation" in verdict
    assert "Error" not in verdict


@pytest.mark.parametrize("multi_frame", [False, True])
def test_headers_keep_geometry_and_nothing_else_of_the_source(tmp_path: Path, multi_frame: bool) -> None:
    headers = classic_series("oblique", (6, 5, 4), (0.7, 0.7, 2.5))
    for header in headers:
        mark(header)
    source = enhanced(headers, [3, 1, 0, 2]) if multi_frame else SourceImages.of_slices(headers)
    hidden = Pseudonyms.from_file(tmp_path / "key").source(source)
    assert np.array_equal(hidden.positions_mm, source.positions_mm)
    assert hidden.orientation == source.orientation
    assert hidden.shape == source.shape
    assert_clean(str([str(header) for header in hidden.headers]), "a header")
    assert not {uid for uid, _ in hidden.references} & {uid for uid, _ in source.references}
    assert [frame for _, frame in hidden.references] == [frame for _, frame in source.references]


def test_headers_that_cannot_be_read_are_refused_without_quoting_them(tmp_path: Path) -> None:
    headers = classic_series("axial", (6, 5, 2), (1, 1, 1))
    headers[0]._dict[Tag("Rows")] = RawDataElement(Tag("Rows"), "US", 3, b"SEN", 0, False, True)
    source = SourceImages.of_slices(headers)
    with pytest.raises(OutputError, match="cannot be de-identified") as caught:
        Pseudonyms.from_file(tmp_path / "key").source(source)
    assert "SEN" not in str(caught.value)


def test_patients_without_an_id_are_not_one_patient(tmp_path: Path) -> None:
    pseudonyms = Pseudonyms.from_file(tmp_path / "key")
    one, two = Dataset(), Dataset()
    one.StudyInstanceUID, two.StudyInstanceUID = "1.2.3", "1.2.4"
    assert pseudonyms.patient(one) != pseudonyms.patient(two)
    one.PatientID = two.PatientID = "77"
    assert pseudonyms.patient(one) == pseudonyms.patient(two)


def test_keys_differ_and_are_read_again(tmp_path: Path) -> None:
    one, two = Pseudonyms.from_file(tmp_path / "a"), Pseudonyms.from_file(tmp_path / "b")
    assert one.uid("1.2.3") == Pseudonyms.from_file(tmp_path / "a").uid("1.2.3") != two.uid("1.2.3")
    assert len(one.uid("1.2.3")) <= 64


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [("12", 0o600, "no key of 32 bytes"), ("ab" * 32, 0o644, "others may read"), ("\u00e9" * 64, 0o600, "cannot read")],
)
def test_what_is_no_key(tmp_path: Path, content: str, mode: int, says: str) -> None:
    path = tmp_path / "key"
    path.write_text(content, encoding="utf-8")
    path.chmod(mode)
    with pytest.raises(InputError, match=says):
        Pseudonyms.from_file(path)


def test_a_key_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="cannot write") as caught:
        Pseudonyms.from_file(tmp_path / "missing" / "key")
    assert os.linesep not in str(caught.value)


MAKE_KEY = """
import sys, time
from pathlib import Path
from swinunet.client.results.deidentify import Pseudonyms
print("ready", flush=True)
sys.stdin.readline()
print(Pseudonyms.from_file(Path(sys.argv[1])).key.hex(), flush=True)
"""


def test_processes_that_start_at_the_same_moment_have_one_key(tmp_path: Path) -> None:
    """Six of them, in several rounds: the one that was first made it, whole, and all read that."""
    for attempt in range(3):
        path = tmp_path / f"key{attempt}"
        command = [sys.executable, "-c", MAKE_KEY, str(path)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        started = [subprocess.Popen(command, **pipes) for _ in range(6)]  # type: ignore[call-overload]
        for each in started:
            assert each.stdout.readline() == "ready\n"
        for each in started:
            each.stdin.write("\n")
            each.stdin.flush()
        keys = {each.communicate(timeout=600)[0].strip() for each in started}
        assert keys == {path.read_text().strip()}
        assert path.stat().st_mode & 0o777 == 0o600
    assert {each.name for each in tmp_path.iterdir()} == {"key0", "key1", "key2"}


def test_a_key_is_never_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process makes it between our look and our making it."""
    path = tmp_path / "key"
    theirs = "ab" * 32
    exists = Path.exists

    def then_made(looked_at: Path, **options: bool) -> bool:
        found = exists(looked_at, **options)
        if looked_at == path and not found:
            path.touch(0o600)
            path.write_text(theirs)
        return found

    monkeypatch.setattr(Path, "exists", then_made)
    assert Pseudonyms.from_file(path).key.hex() == theirs


@pytest.mark.parametrize("patient", ["=1+1", "@SUM(A1:A9)", "+49 123", "-5", "\t=1", "plain", "7-8"])
def test_a_spreadsheet_computes_nothing_of_the_table(tmp_path: Path, patient: str) -> None:
    pseudonyms = Pseudonyms.from_file(tmp_path / "key")
    header = Dataset()
    header.PatientID, header.StudyInstanceUID, header.SeriesInstanceUID = patient, "1.2.3", "1.2.3.4"
    pseudonyms.record("case-1", tmp_path / "input", header)
    pseudonyms.record("case-2", tmp_path / "input", header)
    rows = list(csv.DictReader(io.StringIO(pseudonyms.table.read_bytes().decode(), newline="")))
    assert [row["result"] for row in rows] == ["case-1", "case-2"]
    expected = patient if patient in ("plain", "7-8") else f"'{patient}"
    assert [row["patient_id"] for row in rows] == [expected] * 2


def test_an_input_whose_path_is_no_utf8_is_recorded(tmp_path: Path) -> None:
    pseudonyms = Pseudonyms.from_file(tmp_path / "key")
    pseudonyms.record("case-1", tmp_path / os.fsdecode(b"Mod\xe8le"), None)
    assert b"Mod\xe8le" in pseudonyms.table.read_bytes()
    assert pseudonyms.case(tmp_path / os.fsdecode(b"Mod\xe8le")).startswith("case-")
