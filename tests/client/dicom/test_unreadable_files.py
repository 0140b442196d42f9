"""Which series a file that cannot be read may belong to: those where it lies, and no others of the tree."""

from __future__ import annotations

from pathlib import Path

import pytest
from dicom_series import make_series, save

from swinunet.client.dicom import choose, scan_folder, select_series
from swinunet.foundation.errors import InputError


def break_file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"<html>502 Bad Gateway</html>")


def test_series_in_other_folders_are_taken(tmp_path: Path) -> None:
    whole, beside = make_series(), make_series()
    save(tmp_path / "a", whole)
    save(tmp_path / "b", beside)
    break_file(tmp_path / "b" / "IM9.dcm")
    break_file(tmp_path / "c" / "IM9.dcm")
    scan = scan_folder(tmp_path)
    reasons = dict(zip((one.uid for one in scan.series), choose(scan).reasons, strict=True))
    assert reasons == {
        whole[0].SeriesInstanceUID: "taken: the only one that fits",
        beside[0].SeriesInstanceUID: "not taken: an unreadable file may belong to it",
    }
    assert select_series(scan).uid == whole[0].SeriesInstanceUID
    with pytest.raises(InputError, match=r"IM9\.dcm: it is named \.dcm.*unknown to which series it belongs; fetch"):
        select_series(scan, beside[0].SeriesInstanceUID)


def test_a_series_of_several_folders_may_have_a_slice_anywhere_below_what_holds_them(tmp_path: Path) -> None:
    slices = make_series()
    save(tmp_path / "disc" / "00", slices[:2])
    save(tmp_path / "disc" / "01", slices[2:])
    break_file(tmp_path / "disc" / "02" / "IM9.dcm")
    break_file(tmp_path / "disc" / "03" / "IM9.dcm")
    with pytest.raises(InputError, match=r"IM9\.dcm: .*\(2 such files\)"):
        select_series(scan_folder(tmp_path))


def test_a_file_above_or_beside_those_folders_is_no_slice(tmp_path: Path) -> None:
    slices = make_series()
    save(tmp_path / "disc" / "00", slices[:2])
    save(tmp_path / "disc" / "01", slices[2:])
    break_file(tmp_path / "other" / "IM9.dcm")
    break_file(tmp_path / "IM9.dcm")
    assert select_series(scan_folder(tmp_path)).uid == slices[0].SeriesInstanceUID


def test_where_all_is_unreadable_that_is_said(tmp_path: Path) -> None:
    break_file(tmp_path / "one" / "IM9.dcm")
    with pytest.raises(InputError, match=r"IM9\.dcm: it is named \.dcm"):
        select_series(scan_folder(tmp_path))


def test_a_refusal_of_another_kind_is_not_hidden_by_files_elsewhere(tmp_path: Path) -> None:
    save(tmp_path / "a", make_series(Modality="CT"))
    break_file(tmp_path / "b" / "IM9.dcm")
    with pytest.raises(InputError, match="the modality is CT, the model reads MR"):
        select_series(scan_folder(tmp_path), modality="MR")
