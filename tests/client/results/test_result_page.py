"""index.html of a result: what it says, what it does not say, and how an image is made small enough for it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from pathlib import Path

import nibabel
import numpy as np
import pytest
from dicom_series import PATIENT, make_series, save
from made_up_results import made_up_result

from swinunet.client.dicom import read_volume, scan_folder, select_series
from swinunet.client.inputs import load_input
from swinunet.client.results import page_writer
from swinunet.client.results.page.preview import MOST_VOXELS, previews, reduced_image, reduced_mask, reducing_factors
from swinunet.client.rois import Roi
from swinunet.imaging import Volume

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def page_of(tmp_path: Path, **options: object) -> str:
    """The page of a made-up result."""
    page_writer.write(made_up_result(**options), tmp_path / "index.html")  # type: ignore[arg-type]
    return (tmp_path / "index.html").read_text()


def block(page: str, identifier: str) -> bytes:
    """A block of data of the page, decoded."""
    (found,) = re.findall(rf'<script type="application/octet-stream" id="{identifier}">([^<]*)</script>', page)
    return gzip.decompress(base64.b64decode(found))


def test_image_and_mask_travel_with_their_place(tmp_path: Path) -> None:
    affine = np.array([[0, 0.9, 0.1, 5], [1.1, 0, 0, -7], [0, -0.1, 2, 30], [0, 0, 0, 1.0]])
    voxels = np.arange(12 * 10 * 8, dtype=np.int16).reshape(12, 10, 8)
    mask = np.zeros(voxels.shape, np.uint8)
    mask[3:5, 4:7, 2:6] = 2
    page = page_of(tmp_path, volume=Volume(voxels, affine), mask=mask)
    image, shown = (nibabel.Nifti1Image.from_bytes(block(page, f"{name}-0")) for name in ("image", "mask"))
    for each in (image, shown):
        np.testing.assert_allclose(each.affine, LPS_TO_RAS @ affine, atol=1e-5)
    np.testing.assert_array_equal(np.asanyarray(shown.dataobj), mask)
    np.testing.assert_allclose(image.get_fdata(), voxels, atol=voxels.max() / 255 / 2 + 1)


def test_nothing_runs_but_what_the_page_came_with(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    directives = dict(part.split(" ", 1) for part in policy.replace("&#x27;", "'").split("; "))
    assert directives.pop("default-src") == "'none'"
    texts = [*re.findall(r"<script>(.*?)</script>", page, re.DOTALL), block(page, "niivue").decode()]
    hashes = {f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts}
    assert set(directives.pop("script-src").split()) == hashes
    assert directives.pop("style-src").startswith("'sha256-")
    assert directives == {"base-uri": "'none'", "form-action": "'none'", "img-src": "data: blob:"}
    assert not re.search(r"<[^>]+\s(style|on\w+|src|href)=", page)


def test_the_patient_is_named_only_where_the_user_asks_for_it(tmp_path: Path) -> None:
    folder = save(tmp_path / "Mustermann", make_series(np.full((5, 8, 8), 7, np.uint16)))
    dicom = read_volume(select_series(scan_folder(folder)))
    for identified in (False, True):
        page = page_of(tmp_path, volume=dicom.volume, dicom=dicom, identified=identified)
        shown = re.sub(r'<script type="application/octet-stream".*?</script>', "", page, flags=re.DOTALL)
        named = [value for value in map(str, PATIENT.values()) if len(value) > 3 and value in shown]
        assert bool(named) is identified
        assert "Mustermann" not in shown


def test_flags_are_explained_and_what_was_left_out_has_its_reason(tmp_path: Path) -> None:
    mask = np.zeros((24, 20, 16), np.uint8)
    mask[0:4, 5:9, 5:9], mask[10:12, 10:12, 10:12] = 1, 2
    roi = Roi((0.0, 20.0, 0.0, 15.0, 0.0, 15.0), "left")
    page = page_of(tmp_path, mask=mask, rois=(roi,), passed_over=("Volume 2 of 2 (MR, 1 frames): a single slice.",))
    assert "touches 1 of 6 faces of the box" in page
    assert "its volume may be too small" in page
    assert "Everything outside the left box x 0 to 20, y 0 to 15, z 0 to 15 mm (LPS)" in page
    assert "Volume 2 of 2 (MR, 1 frames): a single slice." in page


def test_names_from_outside_are_text(tmp_path: Path) -> None:
    page = page_of(tmp_path, names=("<img src=x>", "</script><b>\x1b[2J"))
    assert "<img" not in page
    assert "<b>" not in page
    assert "\x1b" not in page
    (study,) = re.findall(r'id="study">(.*?)</script>', page)
    assert [each["name"] for each in json.loads(study)["structures"]] == ["<img src=x>", "</script><b>\x1b[2J"]


@pytest.mark.parametrize(
    ("shape", "spacing_mm", "expected"),
    [
        ((512, 512, 400), (0.75, 0.75, 1.0), (3, 3, 3)),
        ((256, 256, 60), (1.0, 1.0, 3.0), (1, 1, 1)),
        ((512, 512, 60), (0.5, 0.5, 5.0), (2, 2, 1)),
        ((4000, 4000, 1), (0.1, 0.1, 1.0), (2, 2, 1)),
    ],
)
def test_the_finest_axis_is_reduced_first(
    shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], expected: tuple[int, int, int]
) -> None:
    volume = Volume(np.broadcast_to(np.uint8(0), shape), np.diag([*spacing_mm, 1.0]))
    assert reducing_factors(volume, MOST_VOXELS) == expected


def test_a_reduced_voxel_is_the_mean_of_its_block() -> None:
    voxels = np.random.default_rng(0).normal(0, 100, (7, 6, 5))
    found = reduced_image(voxels, (3, 2, 2))
    assert found.shape == (3, 3, 3)
    for i, j, k in np.ndindex(found.shape):
        blocks = voxels[3 * i : 3 * i + 3, 2 * j : 2 * j + 2, 2 * k : 2 * k + 2]
        assert found[i, j, k] == pytest.approx(blocks.mean(), abs=1e-3)


def test_a_reduced_mask_keeps_sizes_and_loses_no_structure() -> None:
    mask = np.zeros((40, 40, 40), np.uint8)
    mask[10:25, 10:25, 10:25] = 1
    mask[10:25, 10:25, 25:31] = 2
    mask[3, 3, 3] = 3  # would vanish
    small = reduced_mask(mask, (2, 2, 2))
    assert small.shape == (20, 20, 20)
    assert set(np.unique(small)) == {0, 1, 2, 3}
    for value in (1, 2):
        assert 8 * (small == value).sum() == pytest.approx((mask == value).sum(), rel=0.25)
    assert small[1, 1, 1] == 3


def test_the_close_up_shows_the_surroundings_in_full() -> None:
    voxels = np.random.default_rng(0).integers(0, 255, (60, 60, 60)).astype(np.uint8)
    mask = np.zeros(voxels.shape, np.uint8)
    mask[20:24, 30:34, 40:44] = 1
    volume = Volume(voxels, np.diag([1.0, 1.0, 2.0, 1.0]))
    whole, closer = previews(volume, mask, "MR", most_voxels=30_000)
    assert (whole.factors, closer.factors) == ((3, 3, 1), (1, 1, 1))
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(closer.image))
    np.testing.assert_allclose(image.affine[:3, 3], (-5, -15, 2 * 32))  # 15 mm before the first voxel, LPS to RAS
    np.testing.assert_allclose(image.get_fdata(), voxels[5:39, 15:49, 32:52], atol=1)


def test_series_that_were_not_taken_are_named(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    from small_model import SMALL_SPEC

    folder = tmp_path / "study"
    save(folder / "a", make_series(np.full((6, 8, 8), 7, np.uint16)))
    save(folder / "b", make_series(np.full((6, 8, 8), 7, np.uint16), Modality="PT"))
    (said,) = load_input(folder, SMALL_SPEC).passed_over
    assert "(PT, 6 frames" in said
    assert "not taken: its modality is PT, the model reads MR" in said
