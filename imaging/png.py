"""PNG images as Volumes of one axial slice.

A PNG does not say how large its pixels are: `pixel_mm` does, the side of one in mm.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from swinunet.foundation.errors import InputError
from swinunet.imaging.volume import Volume


def read_png_modalities(path: Path, pixel_mm: float = 1.0) -> tuple[Volume, ...]:
    """Read a PNG of 8 or 16 bits: a float32 Volume [columns, rows, 1] for grey, three of them for colour (R, G, B).

    An opaque alpha channel is dropped. Raises InputError if the file is missing, broken or has transparent pixels.
    """
    pixels, mode = _read(path)
    if mode in {"P", "PA"}:
        raise InputError(f"{path}: an image with a colour palette; save it as grey or RGB")
    if mode in {"LA", "RGBA"}:
        if (pixels[..., -1] != 255).any():
            raise InputError(f"{path}: has transparent pixels; save it without an alpha channel")
        pixels = pixels[..., :-1]
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    return tuple(_slice(pixels[..., channel].astype(np.float32), pixel_mm) for channel in range(pixels.shape[2]))


def read_png_labels(path: Path, pixel_mm: float = 1.0) -> Volume:
    """Read a label image, grey or with a palette (its indices count): uint8 Volume [columns, rows, 1].

    Black and white, that is a mask of 0 and 255 only, is read as 0 and 1. Raises InputError for anything else than
    one channel of whole numbers up to 255.
    """
    pixels, mode = _read(path)
    if pixels.ndim != 2:
        raise InputError(
            f"{path}: a label image of mode {mode}; expected one channel (grey or palette) of label values"
        )
    if pixels.max() > 255:
        raise InputError(f"{path}: labels must be whole numbers from 0 to 255")
    labels = pixels.astype(np.uint8)
    if mode == "L" and set(np.unique(labels)) <= {0, 255}:
        labels //= 255
    return _slice(labels, pixel_mm)


def _slice(pixels: np.ndarray, pixel_mm: float) -> Volume:
    """Rows run to the back (P), columns to the left (L), as an axial slice is shown."""
    return Volume(np.ascontiguousarray(pixels.T)[..., None], np.diag([pixel_mm, pixel_mm, 1.0, 1.0]))


def _read(path: Path) -> tuple[np.ndarray, str]:
    """Pixels [rows, columns] or [rows, columns, channels], and Pillow's name of the mode."""
    from PIL import Image

    try:
        with Image.open(path, formats=["PNG"]) as image:
            return np.asarray(image), image.mode
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except Exception as error:  # Pillow, zlib and struct each raise their own
        raise InputError(f"{path}: not a readable PNG file ({type(error).__name__}); is it complete?") from None
