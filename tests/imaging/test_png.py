"""swinunet.imaging.png: pictures as slices; Pillow writes what is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from swinunet.foundation.errors import InputError
from swinunet.imaging.png import read_png_labels, read_png_modalities

GREY = np.array([[0, 50, 100], [150, 200, 250]], np.uint8)  # 2 rows, 3 columns


def save(path: Path, pixels: np.ndarray, mode: str | None = None) -> Path:
    """A PNG of these pixels. mode: of Pillow, where the array does not say it."""
    image = Image.fromarray(pixels)
    if mode:
        image = Image.frombytes(mode, image.size, pixels.tobytes())
    if mode in ("P", "PA"):
        image.putpalette([value for index in range(256) for value in (index, 0, 255 - index)])
    image.save(path)
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_is_one_modality(tmp_path: Path, dtype: type) -> None:
    pixels = GREY.astype(dtype) * (1 if dtype is np.uint8 else 200)
    (volume,) = read_png_modalities(save(tmp_path / "grey.png", pixels))
    assert volume.voxels.dtype == np.float32
    assert volume.shape == (3, 2, 1)
    np.testing.assert_array_equal(volume.voxels[..., 0], pixels.T)
    np.testing.assert_array_equal(volume.affine, np.eye(4))


def test_colour_is_three_modalities_red_first(tmp_path: Path) -> None:
    colour = np.stack([GREY, GREY + 1, GREY + 2], axis=-1)
    volumes = read_png_modalities(save(tmp_path / "colour.png", colour))
    assert len(volumes) == 3
    for channel, volume in enumerate(volumes):
        np.testing.assert_array_equal(volume.voxels[..., 0], GREY.T + channel)


@pytest.mark.parametrize("channels", [1, 3])
def test_an_opaque_alpha_channel_is_dropped(tmp_path: Path, channels: int) -> None:
    pixels = np.stack([GREY] * channels + [np.full_like(GREY, 255)], axis=-1)
    volumes = read_png_modalities(save(tmp_path / "alpha.png", pixels, {1: "LA", 3: "RGBA"}[channels]))
    assert len(volumes) == channels
    for volume in volumes:
        np.testing.assert_array_equal(volume.voxels[..., 0], GREY.T)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_transparent_pixel_is_refused_and_a_white_one_is_not(tmp_path: Path, channels: int) -> None:
    white = [np.full_like(GREY, 255)] * channels
    save(tmp_path / "white.png", np.stack([*white, white[0]], axis=-1), {1: "LA", 3: "RGBA"}[channels])
    assert len(read_png_modalities(tmp_path / "white.png")) == channels
    alpha = np.full_like(GREY, 255)
    alpha[1, 2] = 254
    path = save(tmp_path / "hole.png", np.stack([*white, alpha], axis=-1), {1: "LA", 3: "RGBA"}[channels])
    with pytest.raises(InputError, match=r"hole\.png: has transparent pixels"):
        read_png_modalities(path)


def test_a_palette_is_for_labels_only(tmp_path: Path) -> None:
    indices = np.array([[0, 1, 2], [3, 254, 255]], np.uint8)
    path = save(tmp_path / "palette.png", indices, "P")
    with pytest.raises(InputError, match=r"palette\.png: an image with a colour palette"):
        read_png_modalities(path)
    labels = read_png_labels(path)
    assert labels.voxels.dtype == np.uint8
    np.testing.assert_array_equal(labels.voxels[..., 0], indices.T)


@pytest.mark.parametrize(
    ("values", "read"),
    [
        ((0, 255), (0, 1)),  # black and white
        ((255, 255), (1, 1)),
        ((0, 0), (0, 0)),
        ((0, 254), (0, 254)),
        ((1, 255), (1, 255)),
        ((0, 1), (0, 1)),
        ((0, 128, 255), (0, 128, 255)),
    ],
)
def test_black_and_white_is_a_mask_of_0_and_1(tmp_path: Path, values: tuple[int, ...], read: tuple[int, ...]) -> None:
    labels = read_png_labels(save(tmp_path / "labels.png", np.array([values], np.uint8)))
    assert labels.voxels.ravel().tolist() == list(read)


def test_a_palette_of_0_and_255_means_its_indices(tmp_path: Path) -> None:
    labels = read_png_labels(save(tmp_path / "labels.png", np.array([[0, 255]], np.uint8), "P"))
    assert labels.voxels.ravel().tolist() == [0, 255]


@pytest.mark.parametrize(("highest", "refused"), [(255, False), (256, True)])
def test_labels_of_16_bits_must_fit_8(tmp_path: Path, highest: int, refused: bool) -> None:
    path = save(tmp_path / "labels.png", np.array([[0, 7, highest]], np.uint16))
    if refused:
        with pytest.raises(InputError, match=r"labels\.png: labels must be whole numbers from 0 to 255"):
            read_png_labels(path)
    else:
        assert read_png_labels(path).voxels.ravel().tolist() == [0, 7, 255]


def test_labels_in_colour_and_files_that_are_no_png_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "colour.png", np.stack([GREY] * 3, axis=-1))
    with pytest.raises(InputError, match=r"colour\.png: a label image of mode RGB"):
        read_png_labels(path)
    with pytest.raises(InputError, match=r"none\.png: no such file"):
        read_png_labels(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(InputError, match=r"text\.png: not a readable PNG file \(\w+\)"):
        read_png_modalities(tmp_path / "text.png")
    Image.fromarray(GREY).save(tmp_path / "jpeg.png", format="JPEG")
    with pytest.raises(InputError, match="not a readable PNG file"):
        read_png_modalities(tmp_path / "jpeg.png")
