"""A tree of made-up results, as `swinunet segment` leaves one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from made_up_results import made_up_result

from swinunet.client.results.outputs import write_outputs
from swinunet.imaging import Volume


def write_tree(root: Path, names: tuple[str, ...] = ("anna", "<b>bert", "ward 3/carl"), outputs: str = "html") -> Path:
    """A result in each folder; those whose name begins with "ward" have quality flags."""
    for number, name in enumerate(names):
        folder = root / name
        folder.mkdir(parents=True)
        shape = (20, 18, 12)
        mask = np.zeros(shape, np.uint8)
        mask[5 : 8 + number, 5:9, 4:8], mask[10:12, 10:12, 4:6] = 1, 2
        if name.startswith("ward"):
            mask[:3, 5:9, 4:8] = 1  # touches a face
        voxels = np.random.default_rng(number).integers(0, 99, shape).astype(np.int16)
        formats = ("html", "png", "json") if outputs == "html" else ("json",)
        result = made_up_result(Volume(voxels, np.eye(4)), mask, formats=formats)
        write_outputs(folder, result)
    return root
