"""Images whose headers lack the UIDs of their study, series or instance: read as volumes; a DICOM result is refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from dicom_series import make_series, read, verdict_of
from pydicom.dataset import Dataset
from result_samples import LABELS, SPEC

from swinunet.client.dicom import VerdictKind, read_volume, scan_folder, select_series
from swinunet.client.inputs import LoadedInput, digest_of_series
from swinunet.client.results.options import OutputOptions
from swinunet.client.results.outputs import write_outputs
from swinunet.client.results.result import Result
from swinunet.client.segmentation import Segmentation
from swinunet.client.segments import make_segments, measure
from swinunet.client.triton import Exchange
from swinunet.foundation.errors import InputError

STORED = np.random.default_rng(0).integers(0, 4000, (5, 6, 7), np.uint16)
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


def without(folder: Path, keywords: Sequence[str], empty: bool, which: slice = slice(None)) -> Path:
    """A series whose slices lack these UIDs, or have empty ones; in the meta information as well."""
    slices = make_series(STORED, SeriesNumber=3)
    folder.mkdir(parents=True, exist_ok=True)
    for index, ds in enumerate(slices):
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        for keyword in keywords if index in range(len(slices))[which] else ():
            setattr(ds, keyword, "") if empty else delattr(ds, keyword)
            if keyword == "SOPInstanceUID":
                del ds.file_meta.MediaStorageSOPInstanceUID
        ds.preamble = bytes(128)
        ds.save_as(folder / f"IM{index}", enforce_file_format=False)
    return folder


@pytest.mark.parametrize("keywords", [(each,) for each in UIDS] + [UIDS])
@pytest.mark.parametrize("empty", [False, True])
def test_the_volume_is_read_and_only_dicom_results_are_refused(
    keywords: tuple[str, ...], empty: bool, tmp_path: Path
) -> None:
    dicom = read(without(tmp_path / "in", keywords, empty))
    kind, sentence = verdict_of(tmp_path / "in")
    assert kind is VerdictKind.OK
    assert sentence.endswith(f"; no {' and no '.join(keywords)}: no DICOM SEG or SR of it")
    np.testing.assert_array_equal(dicom.volume.voxels, STORED.transpose(2, 1, 0))
    mask = np.random.default_rng(1).integers(0, 3, dicom.volume.shape, np.uint8)
    segments = make_segments(LABELS)
    measurements = measure(mask, segments, dicom.volume.voxel_ml, dicom.volume.voxels)
    found = Segmentation(dicom.volume, SPEC, (), mask, segments, measurements, None, {}, Exchange(), "")
    loaded = LoadedInput(Path("exam"), (dicom.volume,), dicom, 0.0)
    out = tmp_path / "out"
    out.mkdir()
    report = write_outputs(out, Result(loaded, found, OutputOptions(("nifti", "seg", "sr", "json")), "exam"))
    assert report.failed == {
        "seg": f"the source images have no {' and no '.join(keywords)}, to which a DICOM object must refer; "
        "fetch the series again",
        "sr": "the segmentation it refers to was not written",
    }
    assert sorted(path.name for path in out.iterdir()) == ["mask.nii.gz", "report.json"]
    assert (report.input.series_instance_uid is None) == ("SeriesInstanceUID" in keywords)
    assert (report.input.source_instances == ()) == ("SOPInstanceUID" in keywords)


def test_what_a_volume_is_called_follows_from_its_content_not_its_place(tmp_path: Path) -> None:
    """A digest that a result is resumed by: the same for a copy, another one once a pixel changes."""
    one = without(tmp_path / "one", ("SOPInstanceUID",), empty=False)
    other = tmp_path / "other"
    other.mkdir()
    for path in one.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    digests = [digest_of_series(select_series(scan_folder(folder))) for folder in (one, other)]
    assert digests[0] == digests[1]
    content = bytearray((other / "IM2").read_bytes())
    content[-1] ^= 1
    (other / "IM2").write_bytes(content)
    assert digest_of_series(select_series(scan_folder(other))) != digests[0]


def test_series_without_a_uid_are_told_apart_by_their_folder_and_number(tmp_path: Path) -> None:
    for name in ("a", "b"):
        without(tmp_path / name, ("SeriesInstanceUID",), empty=True)
    scan = scan_folder(tmp_path)
    assert [len(one.frames) for one in scan.series] == [5, 5]
    with pytest.raises(InputError, match="2 series could be meant"):
        select_series(scan)
    assert read_volume(select_series(scan, scan.series[1].selector)).volume.shape == (7, 6, 5)


@pytest.mark.parametrize("which", [slice(2, 3), slice(0, 4)])
def test_slices_without_a_uid_beside_slices_with_one_are_not_left_out_in_silence(which: slice, tmp_path: Path) -> None:
    without(tmp_path, ("SeriesInstanceUID",), empty=False, which=which)
    with pytest.raises(InputError, match=r"lacks the SeriesInstanceUID, so it is unknown to which series it belongs"):
        select_series(scan_folder(tmp_path))


def test_a_slice_without_a_uid_of_its_own_is_still_a_slice(tmp_path: Path) -> None:
    without(tmp_path, ("SOPInstanceUID",), empty=False, which=slice(1, 2))
    assert verdict_of(tmp_path)[0] is VerdictKind.OK
    assert read(tmp_path).source.lacks == ("SOPInstanceUID",)


def test_headers_without_preamble_need_no_series_uid_to_be_images(tmp_path: Path) -> None:
    from pydicom.filebase import DicomBytesIO

    slices: list[Dataset] = make_series(STORED)
    for k, ds in enumerate(slices):
        del ds.file_meta
        del ds.SeriesInstanceUID
        buffer = DicomBytesIO()
        ds.save_as(buffer, implicit_vr=True, little_endian=True)
        (tmp_path / f"{k}").write_bytes(buffer.getvalue())
    np.testing.assert_array_equal(read(tmp_path).volume.voxels, STORED.transpose(2, 1, 0))
