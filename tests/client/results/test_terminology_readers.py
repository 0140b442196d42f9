"""What other readers find in a DICOM SEG: highdicom, and dcmqi (which 3D Slicer uses) with SimpleITK on its images.

What they should find is the text of the spec, and the codes of the sides in SNOMED CT.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
import SimpleITK
from floors import ROOT
from result_samples import affine_of, blobs, classic_series, identity_of

from swinunet.client.dicom.source_images import SourceImages
from swinunet.client.results.dicom_seg_writer import write_seg
from swinunet.client.results.options import SegType
from swinunet.client.segments import make_segments
from swinunet.imaging import ModelSpec

SHAPE = (12, 10, 6)
SIDES: dict[str, tuple[str, ...]] = {"hippocampus": ("left", "right"), "head_locator": (), "cardiac": ()}
SIDE_CODES = {"left": "7771000", "right": "24028007"}
Codes = tuple[str, str, str, list[str]]  # category, type and its meaning, modifiers


def expected_codes(name: str) -> list[Codes]:
    """Of each segment, in the order of its numbers: side by side, in each the labels of the spec."""
    labels = json.loads((ROOT / "training" / "specs" / f"{name}.json").read_text())["labels"]
    found = []
    for side in SIDES[name] or (None,):
        for label in labels:
            modifiers = [SIDE_CODES[side]] if side else []
            modifiers += [label["modifier"]["value"]] if "modifier" in label else []
            found.append(("91723000", label["type"]["value"], label["type"]["meaning"], modifiers))
    return found


def written(folder: Path, name: str, seg_type: SegType) -> tuple[Path, np.ndarray, np.ndarray]:
    """A SEG of what a shipped spec names, its mask [I, J, K], and its grid's 4x4 from voxels to LPS mm."""
    path = ROOT / "training" / "specs" / f"{name}.json"
    segments = make_segments(ModelSpec.from_json(path.read_text(), str(path)).labels, SIDES[name] or (None,))
    headers, mask = classic_series("oblique", SHAPE, (0.9, 0.8, 1.2)), blobs(SHAPE, 7, values=len(segments))
    source = SourceImages.of_slices(headers)
    seg = folder / "seg.dcm"
    write_seg(seg, mask, segments, source, identity_of(source), series_description="test", seg_type=seg_type)
    return seg, mask, affine_of(headers)


@pytest.mark.parametrize("seg_type", ["binary", "labelmap"])
@pytest.mark.parametrize("name", SIDES)
def test_highdicom_finds_the_codes_of_the_spec(name: str, seg_type: SegType, tmp_path: Path) -> None:
    seg = hd.seg.segread(written(tmp_path, name, seg_type)[0])
    found = []
    for number in seg.segment_numbers:
        segment = seg.get_segment_description(number)
        kind = segment.segmented_property_type
        modifiers = [code.CodeValue for code in kind.get("SegmentedPropertyTypeModifierCodeSequence", [])]
        found.append((segment.segmented_property_category.value, kind.value, kind.meaning, modifiers))
    assert found == expected_codes(name)


@pytest.fixture(scope="module")
def dcmqi_reader() -> Path:
    """dcmqi's segimage2itkimage."""
    package = importlib.util.find_spec("dcmqi")
    if package is None or package.origin is None:
        pytest.skip("dcmqi is not installed (pip install dcmqi)")
    return Path(package.origin).parent / "bin" / "segimage2itkimage"


@pytest.mark.parametrize("seg_type", ["binary", "labelmap"])
@pytest.mark.parametrize("name", SIDES)
def test_dcmqi_finds_the_codes_and_simpleitk_the_voxels(
    name: str, seg_type: SegType, dcmqi_reader: Path, tmp_path: Path
) -> None:
    seg, mask, affine = written(tmp_path, name, seg_type)
    out = tmp_path / "read"
    out.mkdir()
    command = [dcmqi_reader, "--inputDICOM", seg, "--outputDirectory", out, "-t", "nrrd"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    groups = json.loads((out / "meta.json").read_text())["segmentAttributes"]
    segments = {each["labelID"]: (file, each) for file, group in enumerate(groups, start=1) for each in group}
    # dcmqi reports one modifier, the first
    assert [codes_of(segments[number][1]) for number in sorted(segments)] == [
        (category, kind, meaning, modifiers[:1]) for category, kind, meaning, modifiers in expected_codes(name)
    ]
    read = np.zeros(SHAPE, np.uint8)
    for number, (file, _) in segments.items():
        image = SimpleITK.ReadImage(str(out / f"{file}.nrrd"))
        for k, j, i in np.argwhere(SimpleITK.GetArrayFromImage(image) == number).tolist():
            at = np.linalg.solve(affine, [*image.TransformIndexToPhysicalPoint((i, j, k)), 1])[:3]
            assert np.abs(at - np.rint(at)).max() < 1e-3
            read[tuple(np.rint(at).astype(int))] = number
    assert np.array_equal(read, mask)


def codes_of(segment: dict[str, Any]) -> Codes:
    """In dcmqi's words."""
    kind = segment["SegmentedPropertyTypeCodeSequence"]
    modifier = segment.get("SegmentedPropertyTypeModifierCodeSequence")
    category = segment["SegmentedPropertyCategoryCodeSequence"]["CodeValue"]
    return category, kind["CodeValue"], kind["CodeMeaning"], [modifier["CodeValue"]] if modifier else []
