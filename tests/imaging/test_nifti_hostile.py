"""NIfTI files that lie: refused in a sentence with their name, before memory is taken, and in silence."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from swinunet.foundation.errors import GeometryError, InputError
from swinunet.imaging import read_nifti


def _header(**fields: object) -> Callable[[nib.Nifti1Image], bytes]:
    """The image's bytes with these fields, as nobody checks them."""

    def change(image: nib.Nifti1Image) -> bytes:
        content = bytearray(image.to_bytes())
        for name, value in fields.items():
            dtype, offset = nib.Nifti1Header.template_dtype.fields[name][:2]
            content[offset : offset + dtype.itemsize] = np.array(value, dtype.base).tobytes()
        return bytes(content)

    return change


def _bomb(image: nib.Nifti1Image) -> bytes:
    return gzip.compress(_header(dim=[3, 32767, 32767, 32767, 1, 1, 1, 1])(image))


HOSTILE: dict[str, tuple[Callable[[nib.Nifti1Image], bytes], type, str]] = {
    "more voxels than bytes": (_header(dim=[3, 32767, 32767, 32767, 1, 1, 1, 1]), InputError, "the file is too short"),
    "bomb": (_bomb, InputError, "the file is too short"),
    "complex": (_header(datatype=32, bitpix=64), InputError, "complex64, expected one real number"),
    "colours": (_header(datatype=128, bitpix=24), InputError, "expected one real number"),
    "no voxels": (_header(dim=[3, 4, 0, 4, 1, 1, 1, 1]), GeometryError, r"found shape \(4, 0, 4\)"),
    "NaN": (_header(srow_x=[np.nan, 0, 0, 0]), GeometryError, "matrix of finite numbers"),
    "infinite": (_header(srow_y=[0, 0, 0, np.inf]), GeometryError, "matrix of finite numbers"),
    "giant voxels": (_header(srow_z=[0, 0, 1e9, 0]), GeometryError, r"a voxel of 1e\+09 mm, expected 0.001 to 1000"),
    "flat voxels": (_header(srow_z=[0, 0, 1e-5, 0]), GeometryError, "a voxel of 1e-05 mm"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_lie_is_refused_by_name(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    change, kind, said = HOSTILE[name]
    image = nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4))
    content = change(image)
    path = tmp_path / ("v.nii.gz" if content.startswith(b"\x1f\x8b") else "v.nii")
    path.write_bytes(content)
    with pytest.raises(InputError, match=said) as caught:
        read_nifti(path)
    assert type(caught.value) is kind
    assert str(caught.value).startswith(f"{path}: ")
    assert capfd.readouterr() == ("", "")


def test_more_than_the_machine_holds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)), tmp_path / "v.nii")
    read_nifti(tmp_path / "v.nii")
    monkeypatch.setattr("os.sysconf", lambda name: 16)
    with pytest.raises(InputError, match=r"v\.nii: .* do not fit into memory"):
        read_nifti(tmp_path / "v.nii")


def test_what_is_mended_is_mended_in_silence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    image = nib.Nifti1Image(np.ones((4, 4, 4), np.int16), np.eye(4))
    (tmp_path / "v.nii").write_bytes(_header(qform_code=32767)(image))
    assert (read_nifti(tmp_path / "v.nii").voxels == 1).all()
    assert capfd.readouterr() == ("", "")
