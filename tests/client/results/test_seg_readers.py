"""The voxels of a DICOM SEG as other readers see them: highdicom, and dcmjs, which OHIF reads a SEG with."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from floors import ROOT
from pydicom.dataset import Dataset
from result_samples import SEGMENTS, blobs, classic_series, identity_of

from swinunet.client.dicom.source_images import SourceImages
from swinunet.client.results.dicom_seg_writer import write_seg
from swinunet.client.results.options import SegType

SHAPE = (12, 10, 6)
SEG_TYPES = ("binary", "labelmap")
SERIES = ("oblique", "tilted")


def series(name: str) -> list[Dataset]:
    """A series of SHAPE; tilted: slices 1.2 mm apart, each 0.4 mm further along its columns, as of a tilted gantry."""
    headers = classic_series("axial" if name == "tilted" else name, SHAPE, (0.9, 0.8, 1.2))
    for k, header in enumerate(headers if name == "tilted" else []):
        along = np.array(header.ImageOrientationPatient[3:], float)
        position = np.array(header.ImagePositionPatient, float) + 0.4 * k * along
        header.ImagePositionPatient = [f"{value:.10g}" for value in position]
    return headers


def written(folder: Path, name: str, seg_type: SegType) -> tuple[Path, np.ndarray, list[Dataset]]:
    """A SEG, its mask uint8 [I, J, K], and the headers of its source in the order of K."""
    headers, mask = series(name), blobs(SHAPE, 11)
    source = SourceImages.of_slices(headers)
    seg = folder / "seg.dcm"
    write_seg(seg, mask, SEGMENTS, source, identity_of(source), series_description="test", seg_type=seg_type)
    return seg, mask, headers


@pytest.mark.parametrize("seg_type", SEG_TYPES)
@pytest.mark.parametrize("name", SERIES)
def test_highdicom_finds_every_voxel(name: str, seg_type: SegType, tmp_path: Path) -> None:
    path, mask, headers = written(tmp_path, name, seg_type)
    found = hd.seg.segread(path).get_pixels_by_source_instance(
        [header.SOPInstanceUID for header in headers], combine_segments=True, assert_missing_frames_are_empty=True
    )
    assert np.array_equal(found.transpose(2, 1, 0), mask)


@pytest.fixture(scope="module")
def node_modules() -> Path:
    """The folder that dcmjs lies in."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed; on Debian: make debian")
    asked = subprocess.run(["npm", "root", "--global"], capture_output=True, text=True, timeout=600, check=True)
    folder = Path(os.environ.get("NODE_PATH") or asked.stdout.strip())
    if not (folder / "dcmjs").is_dir():
        pytest.skip("dcmjs is not installed (npm install --global --ignore-scripts dcmjs, or NODE_PATH)")
    return folder


def read_by_dcmjs(path: Path, node_modules: Path) -> dict[str, Any]:
    command = ["node", str(ROOT / "tests" / "support" / "read_seg.mjs"), str(path)]
    environment = {**os.environ, "NODE_PATH": str(node_modules)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    read: dict[str, Any] = json.loads(done.stdout)
    return read


@pytest.mark.parametrize("seg_type", SEG_TYPES)
@pytest.mark.parametrize("name", SERIES)
def test_dcmjs_finds_every_voxel_and_code(name: str, seg_type: SegType, node_modules: Path, tmp_path: Path) -> None:
    path, mask, headers = written(tmp_path, name, seg_type)
    read = read_by_dcmjs(path, node_modules)
    assert read["type"] == seg_type.upper()
    named = {each["number"]: each for each in read["segments"]}
    for number, segment in enumerate(SEGMENTS, start=1):
        assert named[number]["code"] == segment.label.type.value
    place = {header.SOPInstanceUID: k for k, header in enumerate(headers)}
    found = np.zeros(SHAPE, np.uint8)
    for frame in read["frames"]:
        k = place[frame["instance"]]
        assert frame["position"] == pytest.approx([float(mm) for mm in headers[k].ImagePositionPatient], abs=1e-4)
        for value, at in frame["voxels"].items():
            rows, columns = np.divmod(np.array(at), read["columns"])
            found[columns, rows, k] = frame["segment"] if seg_type == "binary" else int(value)
    assert np.array_equal(found, mask)
