"""Writing the results of a large mask takes less than twice its volume and a fixed sum, however many classes it has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[3]
_FIXED_MIB = 150  # besides imports; 108 of them while highdicom reads its tables of the DICOM standard

_WRITE = """
import sys
from pathlib import Path
import numpy as np
from result_samples import HIPPOCAMPUS, SPEC, affine_of, classic_series, identity_of
from swinunet.benchmarks.measure.machine import peak_mib
from swinunet.client.results.quality import judge_quality
from swinunet.client.results.dicom_seg_writer import write_seg
from swinunet.client.dicom.source_images import SourceImages
from swinunet.client.segments import make_segments, measure
from swinunet.client.results.overlay_writer import write_overlay
from swinunet.imaging import Label, Volume

classes, folder, shape = int(sys.argv[1]), Path(sys.argv[2]), (512, 512, 24)
before = peak_mib()
labels = [Label(n, f"part {n}", (n, 90, 160), HIPPOCAMPUS) for n in range(1, classes + 1)]
segments, headers = make_segments(labels), classic_series("axial", shape, (0.5, 0.5, 1.0))
mask = np.empty(shape, np.uint8, order="F")
for k in range(shape[2]):  # every class on every slice, in squares of 4 x 4 pixels
    grains = np.random.default_rng(k).integers(0, classes + 1, (128, 128), dtype=np.uint8)
    mask[:, :, k] = grains.repeat(4, axis=0).repeat(4, axis=1)
volume = Volume(np.full(shape, 7, np.uint16, order="F"), affine_of(headers))
source = SourceImages.of_slices(headers)
measurements = measure(mask, segments, 1e-3, volume.voxels)
judge_quality(mask, measurements, [])
write_seg(folder / "seg.dcm", mask, segments, source, identity_of(source), series_description="")
write_overlay(folder / "overlay.png", volume, mask, measurements, title="")
print(peak_mib() - before, volume.voxels.nbytes / 2**20)
"""


def test_peak_memory_of_the_results(tmp_path: Path) -> None:
    """Sixty classes, each on every slice: 60 frames a slice in the SEG, 60 outlines in each panel of the overlay."""
    path = os.pathsep.join([str(_ROOT), str(_ROOT / "tests" / "support")])
    done = subprocess.run(
        [sys.executable, "-c", _WRITE, "60", str(tmp_path)],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    taken_mib, volume_mib = map(float, done.stdout.split())
    assert taken_mib < 2 * volume_mib + _FIXED_MIB
