"""swinunet.imaging.study: which files are images, what they are called, and which belong together."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from swinunet.imaging.study import channel_of, group_channels, image_name, is_image, read_labels, read_study


@pytest.mark.parametrize(
    ("name", "image", "stem"),
    [
        ("a.nii.gz", True, "a"),
        ("a.b.NII.GZ", True, "a.b"),
        ("a.nii", True, "a"),
        ("a.png", True, "a"),
        ("a.PNG", True, "a"),
        (".a.nii.gz", False, ".a"),
        ("a.gz", False, "a.gz"),
        ("a.txt", False, "a.txt"),
        ("png", False, "png"),
    ],
)
def test_names(name: str, image: bool, stem: str) -> None:
    assert is_image(Path("folder") / name) == image
    assert image_name(Path("folder") / name) == stem


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("brain_0002", ("brain", 2)),
        ("brain_001_0013", ("brain_001", 13)),
        ("brain_002", None),
        ("brain_00002", None),
        ("_0001", None),
        ("brain", None),
    ],
)
def test_channels_are_numbered_as_nnu_net_does(name: str, found: tuple[str, int] | None) -> None:
    assert channel_of(name) == found


def test_files_of_one_study_come_together_in_the_order_of_their_channels() -> None:
    names = ["b_0001.nii.gz", "a_0001.png", "c.nii", "a_0000.png", "b_0000.nii.gz", "a_0010.png"]
    grouped = group_channels(Path("x") / name for name in names)
    assert {name: [path.name for path in paths] for name, paths in grouped.items()} == {
        "b": ["b_0000.nii.gz", "b_0001.nii.gz"],
        "a": ["a_0000.png", "a_0001.png", "a_0010.png"],
        "c": ["c.nii"],
    }


def test_a_file_without_a_number_is_channel_0() -> None:
    grouped = group_channels(Path(name) for name in ("a_0001.nii", "a_0000.nii", "a.nii"))
    assert [path.name for path in grouped["a"]] == ["a.nii", "a_0000.nii", "a_0001.nii"]


def test_a_study_is_read_file_after_file(tmp_path: Path) -> None:
    two = np.random.default_rng(0).random((4, 5, 6, 2)).astype(np.float32)
    nib.save(nib.Nifti1Image(two, np.eye(4)), tmp_path / "two.nii.gz")
    grey = np.arange(20, dtype=np.uint8).reshape(4, 5)
    Image.fromarray(grey).save(tmp_path / "grey.PNG", format="PNG")
    first, second, third = read_study([tmp_path / "two.nii.gz", tmp_path / "grey.PNG"])
    np.testing.assert_array_equal(first.voxels, two[..., 0])
    np.testing.assert_array_equal(second.voxels, two[..., 1])
    np.testing.assert_array_equal(third.voxels[..., 0], grey.T)


def test_labels_of_either_format(tmp_path: Path) -> None:
    labels = np.array([[[0, 1], [2, 255]]], np.int16)
    nib.save(nib.Nifti1Image(labels, np.eye(4)), tmp_path / "l.nii")
    found = read_labels(tmp_path / "l.nii").voxels
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, labels)
    Image.fromarray(np.array([[3, 9]], np.uint8)).save(tmp_path / "l.PNG", format="PNG")
    assert read_labels(tmp_path / "l.PNG").voxels.ravel().tolist() == [3, 9]
