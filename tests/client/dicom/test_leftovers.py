"""What operating systems leave beside images: no part of a study, and never a reason to refuse one."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from dicom_series import make_series, read, save

from swinunet.client.dicom import read_volume, scan_folder, select_series
from swinunet.foundation.errors import InputError

NAMES = [f"IM{k:04d}.dcm" for k in range(5)]
APPLE_DOUBLE = bytes.fromhex("0005160700020000") + b"Mac OS X        " + bytes(150)
EXPECTED = np.arange(60, dtype=np.uint16).reshape(5, 4, 3).transpose(2, 1, 0)

LEFTOVERS = {
    "of macOS on a stick": {f"._{name}": APPLE_DOUBLE for name in NAMES},
    "empty ones": {f"._{name}": b"" for name in NAMES},
    "a folder of macOS": {f"__MACOSX/study/{name}": APPLE_DOUBLE for name in [*NAMES, "._study"]},
    "of Synology": {f"@eaDir/{name}": b"thumbnail" for name in NAMES},
    "of Finder and Explorer": {".DS_Store": b"\0\0\0\1Bud1" + bytes(100), "Thumbs.db": b"\xd0\xcf\x11\xe0" + bytes(99),
                               "desktop.ini": b"[.ShellClassInfo]"},
    "other capitals": {"._im0001.DCM": APPLE_DOUBLE, "._IM0002.IMA": APPLE_DOUBLE, "._a.dicom": APPLE_DOUBLE},
}  # fmt: skip


@pytest.mark.parametrize("leftovers", LEFTOVERS.values(), ids=list(LEFTOVERS))
@pytest.mark.parametrize("packed", [False, True])
def test_a_study_with_what_a_system_left_in_it_is_read(
    leftovers: dict[str, bytes], packed: bool, tmp_path: Path
) -> None:
    folder = save(tmp_path / "study", make_series(), NAMES)
    for name, content in leftovers.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    where = folder
    if packed:
        where = tmp_path / "study.zip"
        with zipfile.ZipFile(where, "w") as archive:
            for path in sorted(folder.rglob("*")):
                archive.write(path, path.relative_to(tmp_path))
    scan = scan_folder(where)
    assert (scan.not_dicom, scan.unreadable) == (len(leftovers), ())
    np.testing.assert_array_equal(read_volume(select_series(scan)).volume.voxels, EXPECTED)


def test_an_image_is_read_whatever_its_name_begins_with(tmp_path: Path) -> None:
    save(tmp_path / "__MACOSX", make_series(), [f"._{name}" for name in NAMES])
    np.testing.assert_array_equal(read(tmp_path).volume.voxels, EXPECTED)


@pytest.mark.parametrize("content", [APPLE_DOUBLE, b"", b"<html>not found</html>"])
def test_a_name_that_promises_an_image_is_still_believed(content: bytes, tmp_path: Path) -> None:
    (save(tmp_path, make_series(), NAMES) / "IM0005.dcm").write_bytes(content)
    with pytest.raises(InputError, match=r"IM0005\.dcm: it is named \.dcm, but does not begin as a DICOM file does"):
        read(tmp_path)
