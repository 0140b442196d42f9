"""Series in time: phases told apart, whole or with a slice missing, chosen, inspected, converted."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from command_line import run_swinunet
from dicom_series import decimal, make_cine, make_enhanced, save
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from swinunet.client.dicom import VerdictKind, read_phases, scan_folder, select_series, select_volumes
from swinunet.client.dicom.phases import phase_numbers
from swinunet.client.study_list import studies_below
from swinunet.foundation.errors import GeometryError, InputError

SHARED = Path(os.environ.get("SWINUNET_DATA", Path(__file__).parents[4] / "shared" / "data")) / "cardiac_dicom"


def phase_and_slice(ds: Dataset) -> tuple[int, int]:
    """Both from 0, as `make_cine` numbers them."""
    value = int(ds.pixel_array.flat[0])
    return value // 100, value % 100


def mixed(slices: list[Dataset]) -> list[Dataset]:
    return random.Random(0).sample(slices, len(slices))


@pytest.mark.parametrize("jitter", [0.0, 0.002, 0.06])
@pytest.mark.parametrize("phases", [2, 5, 20])
def test_a_cine_is_split_into_phases_in_the_order_of_time(jitter: float, phases: int, tmp_path: Path) -> None:
    scan = scan_folder(save(tmp_path, mixed(make_cine(phases, jitter=jitter))))
    assert len(scan.series) == phases
    found = select_volumes(scan)
    assert [one.phase.number for one in found if one.phase] == list(range(1, phases + 1))
    for number, dicom in enumerate(read_phases(found)):
        expected = 100 * number + np.arange(4)
        assert (dicom.volume.voxels == expected).all()
        assert dicom.volume.spacing_mm[2] == pytest.approx(8)


def test_times_that_drift_by_more_than_half_a_phase_are_matched_by_their_order(tmp_path: Path) -> None:
    """A beat of 760 ms on one slice and of 800 ms on the next: the 20th phase of one is at the 19th of the other."""
    steps = [37.5, 40.0, 38.5]
    places = [(0, k) for k in range(3) for _ in range(20)]
    times = [(phase + 0.5) * step for step in steps for phase in range(20)]
    assert phase_numbers(places, times) == [*range(20)] * 3


def delay_at_top_level(ds: Dataset) -> None:
    ds.NominalCardiacTriggerDelayTime = float(ds.TriggerTime)
    del ds.TriggerTime


def temporal_position(ds: Dataset) -> None:
    ds.TemporalPositionIdentifier = phase_and_slice(ds)[0] + 1
    del ds.TriggerTime


def time_offset(ds: Dataset) -> None:
    item = Dataset()
    item.TemporalPositionTimeOffset = float(ds.TriggerTime) / 1000
    group = Dataset()
    group.TemporalPositionSequence = [item]
    ds.PerFrameFunctionalGroupsSequence = [group]
    del ds.TriggerTime


def stray_groups(ds: Dataset) -> None:
    """As OsiriX writes into classic images of the Sunnybrook data."""
    ds.PerFrameFunctionalGroupsSequence = [Dataset()]


def place_in_the_group(ds: Dataset) -> None:
    group, place = Dataset(), Dataset()
    place.ImagePositionPatient = ds.ImagePositionPatient
    group.PlanePositionSequence = [place]
    ds.PerFrameFunctionalGroupsSequence = [group]
    del ds.ImagePositionPatient


def frames_of_reference(ds: Dataset) -> None:
    ds.FrameOfReferenceUID = generate_uid()


def leading_zeros(ds: Dataset) -> None:
    ds.SOPInstanceUID = f"1.2.826.0.1.0{random.Random(ds.SOPInstanceUID).randrange(10**9)}"
    ds.SeriesInstanceUID = "1.2.826.0.1.08975550"


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
@pytest.mark.parametrize(
    "change",
    [delay_at_top_level, temporal_position, time_offset, stray_groups, place_in_the_group, frames_of_reference,
     leading_zeros],
    ids=lambda change: change.__name__,
)  # fmt: skip
def test_headers_as_archives_write_them(change: Callable[[Dataset], None], tmp_path: Path) -> None:
    slices = make_cine()
    for ds in slices:
        change(ds)
    found = select_volumes(scan_folder(save(tmp_path, mixed(slices))))
    assert [one.verdict.kind for one in found] == [VerdictKind.OK] * 5
    for number, dicom in enumerate(read_phases(found)):
        assert (dicom.volume.voxels == 100 * number + np.arange(4)).all()
        assert dicom.source.positions_mm[:, 2].tolist() == [30, 38, 46, 54]


def test_enhanced_frames_by_their_trigger_delay(tmp_path: Path) -> None:
    ds = make_enhanced([0, 1, 2] * 3)
    for n, group in enumerate(ds.PerFrameFunctionalGroupsSequence):
        cardiac = Dataset()
        cardiac.NominalCardiacTriggerDelayTime = 40.0 * (n // 3) + 0.3 * (n % 3)
        group.CardiacSynchronizationSequence = [cardiac]
    found = select_volumes(scan_folder(save(tmp_path, [ds])))
    assert [one.phase.text for one in found if one.phase][1] == "phase 2 of 3, trigger time 40.3 ms"
    assert [[frame.number for frame in one.frames] for one in found] == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]


@pytest.mark.parametrize("jitter", [0.0, 0.06])
@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ([(2, 1)], "phase 3 of 5.* lacks slice 2 of 4"),
        ([(2, 3)], "phase 3 of 5.* lacks slice 4 of 4"),
        ([(0, 0)], "phase 1 of 5.* lacks slice 1 of 4"),
        ([(4, 2)], "phase 5 of 5.* lacks slice 3 of 4"),
        ([(3, 1), (3, 2)], "phase 4 of 5.* lacks slices 2, 3 of 4"),
    ],
)
def test_a_slice_that_one_phase_lacks_is_named(
    gone: list[tuple[int, int]], said: str, jitter: float, tmp_path: Path
) -> None:
    slices = [ds for ds in make_cine(jitter=jitter) if phase_and_slice(ds) not in gone]
    scan = scan_folder(save(tmp_path, mixed(slices)))
    assert [one.verdict.kind for one in scan.series].count(VerdictKind.GAP) == 1
    for allow in ((), ("gap",)):
        with pytest.raises(GeometryError, match=said):
            select_volumes(scan, allow=allow)
    whole = next(one for one in scan.series if one.verdict.usable)
    assert select_volumes(scan, uid=whole.selector) == (whole,)


def test_what_is_no_series_in_time_stays_several_volumes(tmp_path: Path) -> None:
    """A part of the stack at one time, the rest at another, one slice at both: no phases."""
    slices = [ds for ds in make_cine(2, 8) if (phase_and_slice(ds)[1] < 2) == (phase_and_slice(ds)[0] == 0)]
    again = next(ds for ds in make_cine(2, 8) if phase_and_slice(ds) == (0, 5))
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        setattr(again, keyword, slices[0][keyword].value)
    scan = scan_folder(save(tmp_path, [*slices, again]))
    assert all(one.phase is None for one in scan.series)


def test_magnitude_and_phase_images_are_two_series_in_time(tmp_path: Path) -> None:
    slices = make_cine(ImageType=["ORIGINAL", "PRIMARY", "M"])
    for ds in make_cine(ImageType=["ORIGINAL", "PRIMARY", "P"]):
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
            setattr(ds, keyword, slices[0][keyword].value)
        slices.append(ds)
    uid = slices[0].SeriesInstanceUID
    scan = scan_folder(save(tmp_path, mixed(slices)))
    assert len(scan.series) == 10
    with pytest.raises(InputError, match="10 volumes could be meant"):
        select_volumes(scan)
    found = select_volumes(scan, uid=f"{uid}#image type ORIGINAL/PRIMARY/P")
    assert [one.phase.number for one in found if one.phase] == [1, 2, 3, 4, 5]
    assert {one.files[0].image_type[2] for one in found} == {"P"}


def test_one_volume_is_wanted_and_there_are_phases(tmp_path: Path) -> None:
    scan = scan_folder(save(tmp_path, make_cine()))
    with pytest.raises(InputError, match="5 volumes could be meant, choose one with --series UID#NUMBER"):
        select_series(scan)
    assert select_series(scan, uid=scan.series[2].selector) is scan.series[2]


def test_a_cine_is_one_study_of_a_tree(tmp_path: Path) -> None:
    save(tmp_path / "tree" / "heart", make_cine())
    (study,) = studies_below(tmp_path / "tree")
    assert study.scan is not None
    assert len(select_volumes(study.scan, uid=study.series_uid)) == 5


def test_inspect_shows_a_cine_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save(tmp_path, make_cine())
    status, out, _ = run_swinunet(capfd, monkeypatch, "inspect", str(folder))
    assert status == 0
    assert "5 phases, trigger time 20" in out
    assert out.count("3 x 4 x 4 voxels") == 1
    status, out, _ = run_swinunet(capfd, monkeypatch, "inspect", str(folder), "--json")
    assert [one["phase"] for one in json.loads(out)["series"]] == [1, 2, 3, 4, 5]


def test_convert_writes_a_cine_as_four_axes(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    slices = make_cine()
    folder, whole, one = save(tmp_path / "in", mixed(slices)), tmp_path / "4d.nii.gz", tmp_path / "one.nii.gz"
    status, _, err = run_swinunet(capfd, monkeypatch, "convert", str(folder), str(whole))
    assert status == 0, err
    uid = slices[0].SeriesInstanceUID
    assert run_swinunet(capfd, monkeypatch, "convert", str(folder), str(one), "--series", f"{uid}#3")[0] == 0
    image = nibabel.load(whole)
    assert image.shape == (3, 4, 4, 5)
    assert image.header.get_xyzt_units() == ("mm", "msec")
    assert image.header["pixdim"][4] == pytest.approx(40, rel=0.06)
    assert (np.asarray(image.dataobj) == np.arange(4)[:, None] + 100 * np.arange(5)).all()
    single = nibabel.load(one)
    assert np.array_equal(np.asarray(single.dataobj), np.asarray(image.dataobj)[..., 2])
    np.testing.assert_allclose(image.affine, single.affine, atol=1e-5)


def test_phases_of_different_grids_are_refused(tmp_path: Path) -> None:
    slices = make_cine(jitter=0.0)
    for ds in slices:
        if phase_and_slice(ds)[0] == 3:
            ds.ImagePositionPatient = decimal(np.add(ds.ImagePositionPatient, (1.5, 0, 0)))
    found = select_volumes(scan_folder(save(tmp_path, slices)))
    with pytest.raises(GeometryError, match=r"phase 4 of 5.*or they lie apart"):
        list(read_phases(found))


@pytest.mark.skipif(not SHARED.is_dir(), reason="no real cines at hand (shared/data/cardiac_dicom)")
@pytest.mark.parametrize(("patient", "slices"), [("SC-HF-I-1", 12), ("SC-HF-I-2", 13)])
def test_real_cines(patient: str, slices: int) -> None:
    """Against the file names: Instance Numbers count the phases of one slice after another."""
    found = select_volumes(scan_folder(SHARED / patient / "cine.zip"))
    assert len(found) == 20
    for number, series in enumerate(found):
        assert series.verdict.kind is VerdictKind.OK
        assert len(series.frames) == slices
        assert {(int(frame.file.path.stem) - 1) % 20 for frame in series.frames} == {number}
    first = next(iter(read_phases(found)))
    itk = SimpleITK.GetImageFromArray(first.volume.voxels.transpose(2, 1, 0))
    assert itk.GetSize() == (256, 256, slices)
