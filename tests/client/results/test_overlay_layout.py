"""What an overlay draws and where, in mm and words worked out by hand; asked of matplotlib's objects, not of pixels."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from result_samples import LABELS

from swinunet.client.results.overlay_writer import write_overlay
from swinunet.client.segments import make_segments, measure
from swinunet.imaging import Code, Label, Volume

SHAPE, SPACING, ORIGIN = (100, 120, 80), (1.5, 1.25, 2.0), (-70.0, -60.0, -100.0)  # along L, P, S
EXTENT = np.multiply(SHAPE, SPACING)
LEFT, RIGHT = (slice(70, 80), slice(40, 60), slice(30, 36)), (slice(20, 26), slice(44, 50), slice(50, 60))
ROWS = {"axial": (2, 1, 0), "coronal": (1, 2, 0), "sagittal": (0, 2, 1)}  # LPS axes of stack, rows, columns
STORED = {
    "LPS": np.eye(3),
    "RAS": np.diag([-1.0, -1.0, 1.0]),
    "SLP": np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0.0]]),
    "PIR": np.array([[0, 0, -1], [1, 0, 0], [0, -1, 0.0]]),
}


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are written, which are not drawn."""
    found: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **said: (found.append(self), path.write_bytes(b""))[1])
    return found


def stored(lps: np.ndarray, axes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Voxels [L, P, S] in another order of memory, and their affine: columns of `axes` are the array axes in LPS."""
    order = np.abs(axes).argmax(axis=0)
    voxels, affine = lps.transpose(order), np.eye(4)
    affine[:3, 3] = ORIGIN
    for array_axis, lps_axis in enumerate(order):
        sign = axes[lps_axis, array_axis]
        affine[:3, array_axis] = 0
        affine[lps_axis, array_axis] = sign * SPACING[lps_axis]
        if sign < 0:
            voxels = np.flip(voxels, array_axis)
            affine[lps_axis, 3] += (SHAPE[lps_axis] - 1) * SPACING[lps_axis]
    return voxels, affine


def two_sides() -> np.ndarray:
    """mask [L, P, S]: the anterior hippocampus of either side, as boxes."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[LEFT], mask[RIGHT] = 1, 3
    return mask


def draw(figures: list[Figure], path: Path, mask: np.ndarray, sides=("left", "right"), axes="LPS", **said: object):
    """The panels [rows][4] of an overlay of this mask [L, P, S]."""
    voxels, affine = stored(np.random.default_rng(0).random(SHAPE).astype(np.float32), STORED[axes])
    turned, _ = stored(mask, STORED[axes])
    measurements = measure(turned, make_segments(LABELS, sides), float(np.prod(SPACING)) / 1000)
    write_overlay(path / "o.png", Volume(voxels, affine), turned, measurements, **{"title": "A title"} | said)
    return grid(figures[-1])


def grid(figure: Figure) -> list[list[Axes]]:
    return [figure.axes[at : at + 4] for at in range(0, len(figure.axes), 4)]


def words(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def box_mm(box: tuple[slice, ...]) -> np.ndarray:
    """Lowest and highest edge along L, P, S in mm from the volume's corner: [2, 3]."""
    return np.array([[each.start for each in box], [each.stop for each in box]]) * SPACING


def drawn_box(collection: PathCollection) -> np.ndarray:
    """[2 (low, high), 2 (x, y)] of a drawn outline, mm."""
    points = np.concatenate([path.vertices for path in collection.get_paths()])
    return np.array([points.min(axis=0), points.max(axis=0)])


@pytest.mark.parametrize("axes", STORED)
def test_rows_are_the_whole_volume_then_each_side(figures: list[Figure], tmp_path: Path, axes: str) -> None:
    rows = draw(figures, tmp_path, two_sides(), axes=axes)
    assert [words(row[3])[0] for row in rows] == ["Whole volume", "Left hippocampus", "Right hippocampus"]
    assert [words(panel)[-1].split()[0] for panel in rows[0][:3]] == ["Axial", "Coronal", "Sagittal"]


@pytest.mark.parametrize("axes", STORED)
@pytest.mark.parametrize(("row", "box"), [(1, LEFT), (2, RIGHT)], ids=["left", "right"])
def test_a_close_up_is_a_cube_around_its_structure(
    figures: list[Figure], tmp_path: Path, axes: str, row: int, box: tuple[slice, ...]
) -> None:
    """12 mm of margin around the longest side, 50 mm at least; image and outlines lie in the same mm."""
    panels = draw(figures, tmp_path, two_sides(), axes=axes)[row]
    edges = box_mm(box)
    half = max((edges[1] - edges[0]).max() / 2 + 12, 25)
    middle = edges.mean(axis=0)
    for panel, (stack, across, along) in zip(panels, ROWS.values(), strict=False):
        np.testing.assert_allclose(sorted(panel.get_xlim()), [middle[along] - half, middle[along] + half])
        np.testing.assert_allclose(sorted(panel.get_ylim()), [middle[across] - half, middle[across] + half])
        left, right, bottom, top = panel.images[0].get_extent()
        np.testing.assert_allclose((left, right), (0, EXTENT[along]))
        np.testing.assert_allclose(sorted((bottom, top)), (0, EXTENT[across]))
        at = int(middle[stack] / SPACING[stack])
        met = [each for each in (LEFT, RIGHT) if each[stack].start <= at < each[stack].stop]
        assert len(panel.collections) == 2 * len(met)  # fill and outline of each structure in the plane
        for number, collection in enumerate(panel.collections):
            expected = box_mm(met[number // 2])[:, [along, across]]
            np.testing.assert_allclose(drawn_box(collection), expected, atol=1e-6)


def test_the_head_is_up_the_nose_is_up_and_the_patients_right_is_on_the_left(
    figures: list[Figure], tmp_path: Path
) -> None:
    axial, coronal, sagittal, _ = draw(figures, tmp_path, two_sides())[1]
    for panel in (axial, coronal, sagittal):
        assert panel.get_xlim()[0] < panel.get_xlim()[1]  # L, or P in sagittal, to the right
    assert axial.get_ylim()[0] > axial.get_ylim()[1]  # P down
    assert coronal.get_ylim()[0] < coronal.get_ylim()[1]  # S up
    assert sagittal.get_ylim()[0] < sagittal.get_ylim()[1]
    for panel, letters in ((axial, "RLAP"), (coronal, "RLHF"), (sagittal, "APHF")):
        places = {text.get_text(): text for text in panel.texts if len(text.get_text()) == 1}
        left, right, top, bottom = (places[letter] for letter in letters)
        assert 0 < left.get_position()[0] < 0.1
        assert 0.9 < right.get_position()[0] < 1
        assert 0.9 < top.get_position()[1] < 1
        assert 0 < bottom.get_position()[1] < 0.1
        assert left.get_position()[1] == right.get_position()[1] == 0.5
        assert top.get_position()[0] == bottom.get_position()[0] == 0.5
        assert (left.get_ha(), right.get_ha(), top.get_va(), bottom.get_va()) == ("left", "right", "top", "bottom")
        assert all(text.get_transform() == panel.transAxes for text in places.values())


@pytest.mark.parametrize("axes", STORED)
def test_the_image_shows_the_plane_through_the_structure(figures: list[Figure], tmp_path: Path, axes: str) -> None:
    """Each panel's pixels are those of the volume [L, P, S] at the structure's middle, laid out by hand."""
    lps = np.random.default_rng(0).random(SHAPE).astype(np.float32)
    axial, coronal, sagittal, _ = draw(figures, tmp_path, two_sides(), axes=axes)[1]
    # Centres of mass: L 70..79, P 40..59, S 30..35; halves round to even.
    i, j, k = 74, 50, 32
    for panel, expected in ((axial, lps[:, :, k].T), (coronal, lps[:, j].T[::-1]), (sagittal, lps[i].T[::-1])):
        np.testing.assert_array_equal(np.asarray(panel.images[0].get_array()), expected)
    at = np.array([i, j, k]) * SPACING + ORIGIN
    for panel, axis, letters in ((axial, 2, "FH"), (coronal, 1, "AP"), (sagittal, 0, "RL")):
        said = words(panel)[-1].split("  ")[1]
        assert said == f"{letters[1] if at[axis] >= 0 else letters[0]} {abs(at[axis]):.1f} mm"


def test_planes_are_named_by_the_side_of_the_origin_they_lie_on(figures: list[Figure], tmp_path: Path) -> None:
    """The right structure: L 22.5 -> 22 * 1.5 - 70 = -37 (R); P 46.5 -> 46 * 1.25 - 60 = -2.5 (A); S 54.5 -> 54 (H)."""
    axial, coronal, sagittal, _ = draw(figures, tmp_path, two_sides())[2]
    assert words(axial)[-1] == "Axial  H 8.0 mm"
    assert words(coronal)[-1] == "Coronal  A 2.5 mm"
    assert words(sagittal)[-1] == "Sagittal  R 37.0 mm"
    x, y = axial.texts[-1].get_position()
    assert 0 < x < 0.1
    assert 0.9 < y < 1
    assert axial.texts[-1].get_va() == "top"


@pytest.mark.parametrize("row", [0, 1, 2])
def test_the_bar_is_as_long_as_it_says(figures: list[Figure], tmp_path: Path, row: int) -> None:
    """The field of the whole volume is 160 mm, that of a close-up 50 mm. The bar is at the lower right."""
    for panel in draw(figures, tmp_path, two_sides())[row][:3]:
        (bar,) = panel.lines
        (start, end), heights = bar.get_xdata(), bar.get_ydata()
        field_mm = np.ptp(panel.get_xlim())
        said = [text for text in panel.texts if text.get_text() in ("10 mm", "50 mm")]
        assert len(said) == 1
        bar_mm = 50 if row == 0 else 10
        assert said[0].get_text() == f"{bar_mm} mm"
        assert (end - start) * field_mm == pytest.approx(bar_mm)
        assert 0.5 < start < end < 1
        assert 0 < heights[0] == heights[1] < 0.1
        assert said[0].get_position()[0] == pytest.approx((start + end) / 2)
        assert heights[0] < said[0].get_position()[1] < 0.1
        assert (said[0].get_ha(), said[0].get_va()) == ("center", "bottom")
        assert bar.get_transform() == panel.transAxes


@pytest.mark.parametrize(("field_mm", "bar"), [(150.0, "10 mm"), (150.1, "50 mm")])
def test_the_bar_is_fifty_mm_where_the_field_is_large(
    figures: list[Figure], tmp_path: Path, field_mm: float, bar: str
) -> None:
    volume = Volume(np.random.default_rng(0).random((10, 10, 10)), np.diag([field_mm / 10] * 3 + [1.0]))
    mask = np.zeros((10, 10, 10), np.uint8)
    write_overlay(tmp_path / "o.png", volume, mask, measure(mask, make_segments(LABELS), 1.0), title="")
    assert bar in words(figures[-1].axes[0])


def test_the_whole_volume_is_centred_and_shows_where_the_close_ups_are(figures: list[Figure], tmp_path: Path) -> None:
    rows = draw(figures, tmp_path, two_sides())
    largest = EXTENT.max()
    for number, (panel, (_, across, along)) in enumerate(zip(rows[0], ROWS.values(), strict=False)):
        np.testing.assert_allclose(np.mean(panel.get_xlim()), EXTENT[along] / 2)
        np.testing.assert_allclose(np.mean(panel.get_ylim()), EXTENT[across] / 2)
        np.testing.assert_allclose([np.ptp(panel.get_xlim()), np.ptp(panel.get_ylim())], abs(largest))
        boxes = [patch for patch in panel.patches if isinstance(patch, Rectangle)]
        assert len(boxes) == 2
        for box, row in zip(boxes, rows[1:], strict=True):
            close_up = row[number]
            np.testing.assert_allclose(
                (box.get_x(), box.get_x() + box.get_width(), box.get_y(), box.get_y() + box.get_height()),
                (*sorted(close_up.get_xlim()), *sorted(close_up.get_ylim())),
            )
            assert not box.get_fill()
        assert not any(isinstance(patch, Rectangle) for patch in rows[1][number].patches)
    # Sagittal through the left structure (L 74), axial and coronal between both: P (50 + 46) / 2, S (32 + 54) / 2.
    assert words(rows[0][2])[-1] == "Sagittal  L 41.0 mm"
    assert words(rows[0][1])[-1] == "Coronal  A 0.0 mm" or words(rows[0][1])[-1] == "Coronal  P 0.0 mm"
    assert words(rows[0][0])[-1] == "Axial  F 14.0 mm"


def test_outlines_are_thinner_where_they_are_small(figures: list[Figure], tmp_path: Path) -> None:
    mask = two_sides()
    mask[40:60, 40:60, 30:60] = 1  # so that the planes of the overview meet it
    rows = draw(figures, tmp_path, mask)
    widths = [[collection.get_linewidths()[0] for collection in row[0].collections] for row in rows[:2]]
    assert [max(each) for each in widths] == [0.9, 1.6]
    fill, outline = rows[1][0].collections
    assert fill.get_linewidths()[0] == 0
    np.testing.assert_allclose(fill.get_facecolor()[0], [*np.array(LABELS[0].color) / 255, 0.30])
    np.testing.assert_allclose(outline.get_edgecolor()[0][:3], np.array(LABELS[0].color) / 255)
    assert len(outline.get_facecolor()) == 0
    assert rows[1][0].images[0].get_zorder() < fill.get_zorder() < outline.get_zorder()


@pytest.mark.parametrize(("fraction", "rows"), [(0.59, 2), (0.61, 1)])
def test_no_overview_where_a_close_up_shows_nearly_all(
    figures: list[Figure], tmp_path: Path, fraction: float, rows: int
) -> None:
    """The close-up's field is the structure and 24 mm; above 0.6 of the volume's longest side it is enough."""
    volume = Volume(np.random.default_rng(0).random((100, 100, 100)).astype(np.float32), np.diag([2.0, 2, 2, 1]))
    length = round((fraction * 200 - 24) / 2)
    mask = np.zeros((100, 100, 100), np.uint8)
    mask[20 : 20 + length, 50, 50] = 1
    write_overlay(tmp_path / "o.png", volume, mask, measure(mask, make_segments(LABELS), 1.0), title="")
    assert len(grid(figures[-1])) == rows


def test_thick_slices_are_outlined_at_their_edges(figures: list[Figure], tmp_path: Path) -> None:
    """Voxels of 1 x 1 x 5 mm: corners are cut by half a millimetre at most, not by half a slice."""
    volume = Volume(np.random.default_rng(0).random((60, 60, 12)).astype(np.float32), np.diag([1.0, 1, 5, 1]))
    mask = np.zeros((60, 60, 12), np.uint8)
    mask[20:40, 20:40, 4:8] = 1
    write_overlay(tmp_path / "o.png", volume, mask, measure(mask, make_segments(LABELS), 1.0), title="")
    for panel, high in zip(grid(figures[-1])[0][1:3], (20, 40), strict=False):
        points = np.concatenate([path.vertices for path in panel.collections[1].get_paths()])
        corners = np.array([[20, 20], [20, 40], [40, 20], [40, 40]], float)
        apart = np.abs(points[:, None] - corners).sum(axis=-1).min(axis=0)
        assert (apart <= 0.5 + 1e-6).all(), high


def test_nothing_found_shows_the_middle(figures: list[Figure], tmp_path: Path) -> None:
    (row,) = draw(figures, tmp_path, np.zeros(SHAPE, np.uint8))
    assert words(row[3])[0] == "Nothing found"
    assert words(row[3])[-1] == "Total 0.00 ml"
    assert words(row[0])[-1] == f"Axial  F {abs(40 * 2.0 - 100):.1f} mm"
    assert words(row[1])[-1] == f"Coronal  P {60 * 1.25 - 60:.1f} mm"
    assert words(row[2])[-1] == f"Sagittal  L {50 * 1.5 - 70:.1f} mm"
    for panel in row[:3]:
        assert not panel.collections
        np.testing.assert_allclose(np.ptp(panel.get_xlim()), EXTENT.max())


def test_the_legend_names_colours_and_volumes(figures: list[Figure], tmp_path: Path) -> None:
    mask = two_sides()
    mask[70:80, 40:60, 33:36] = 2
    overview, left, right = (row[3] for row in draw(figures, tmp_path, mask))
    voxel_ml = float(np.prod(SPACING)) / 1000
    half, other = 10 * 20 * 3 * voxel_ml, 6 * 6 * 10 * voxel_ml
    assert words(left) == [
        "Left hippocampus", "Left anterior hippocampus", f"{half:.2f} ml", "Left posterior hippocampus",
        f"{half:.2f} ml", f"Total {2 * half:.2f} ml",
    ]  # fmt: skip
    assert words(overview)[1:] == [
        "Left hippocampus", f"{2 * half:.2f} ml", "Right hippocampus", f"{other:.2f} ml",
        f"Total {2 * half + other:.2f} ml",
    ]  # fmt: skip
    assert words(right)[-1] == f"Total {other:.2f} ml"
    assert not overview.patches
    assert [patch.get_facecolor()[:3] for patch in left.patches] == [
        to_rgba(np.array(label.color) / 255)[:3] for label in LABELS
    ]


@pytest.mark.parametrize("count", [1, 2, 5, 6, 12])
def test_legend_lines_do_not_collide(figures: list[Figure], tmp_path: Path, count: int) -> None:
    """Top to bottom in their order, all inside, each colour beside its name; volumes under names, or beside many."""
    labels = [Label(n + 1, f"part {n}", (n, 2 * n, 3 * n), Code("1", "SCT", "Thing")) for n in range(count)]
    volume = Volume(np.random.default_rng(0).random((40, 40, 40)).astype(np.float32), np.eye(4))
    mask = np.zeros((40, 40, 40), np.uint8)
    mask[5:30, 5:30, 5 : 5 + count] = np.arange(1, count + 1)
    write_overlay(tmp_path / "o.png", volume, mask, measure(mask, make_segments(labels), 1.0), title="")
    legend = grid(figures[-1])[0][3]
    assert (legend.get_xlim(), legend.get_ylim()) == ((0, 1), (0, 1))
    assert not legend.axison
    title, *rest, total = legend.texts
    names, volumes = rest[0::2], rest[1::2]
    assert [text.get_text() for text in names] == [f"Part {n}" for n in range(count)]
    for text in legend.texts:
        assert 0 < text.get_position()[0] < 1
        assert 0 < text.get_position()[1] < 1
        assert text.get_va() == "top"
    ys = [text.get_position()[1] for text in (title, *names, total)]
    gaps = -np.diff(ys)
    assert (gaps > 0.05).all()
    np.testing.assert_allclose(gaps[1:-1], gaps[1] if count > 1 else 0)
    assert gaps.max() < 0.2
    for name, ml, patch in zip(names, volumes, legend.patches, strict=True):
        x, y = name.get_position()
        assert 0 < patch.get_x() < patch.get_x() + patch.get_width() < x
        assert y - 0.06 < patch.get_y() < patch.get_y() + patch.get_height() < y + 0.03
        if count <= 5:
            assert ml.get_position()[0] == x
            assert 0.04 < y - ml.get_position()[1] < min(gaps[1:]) - 0.03
        else:
            assert ml.get_position() == (x + 0.75, y)


@pytest.mark.parametrize(
    ("sides", "types", "name"),
    [
        (("left",), ("Hippocampus", "Hippocampus"), "Left hippocampus"),
        ((None,), ("Hippocampus", "Hippocampus"), "Hippocampus"),
        (("right",), ("Hippocampus", "Amygdala"), "Right"),
        ((None,), ("Hippocampus", "Amygdala"), "Structures"),
    ],
)
def test_a_row_is_named_by_what_its_structures_are(
    figures: list[Figure], tmp_path: Path, sides: tuple, types: tuple[str, str], name: str
) -> None:
    labels = [
        dataclasses.replace(label, type=Code(meaning, "SCT", meaning))
        for label, meaning in zip(LABELS, types, strict=True)
    ]
    volume = Volume(np.random.default_rng(0).random((20, 20, 20)).astype(np.float32), np.eye(4))
    mask = np.zeros((20, 20, 20), np.uint8)
    mask[5, 5, 5] = 1
    write_overlay(tmp_path / "o.png", volume, mask, measure(mask, make_segments(labels, sides), 1.0), title="")
    (row,) = grid(figures[-1])
    assert words(row[3])[0] == name
    for panel in row[:3]:  # one voxel: the smallest field, 50 mm
        np.testing.assert_allclose(np.ptp(panel.get_xlim()), 50)


def test_title_and_caption_are_on_the_page_and_panels_do_not_overlap_them(
    figures: list[Figure], tmp_path: Path
) -> None:
    rows = draw(figures, tmp_path, two_sides(), caption="one\ntwo", window=(-160.0, 240.0))
    figure = figures[-1]
    title, caption = figure.texts
    assert title.get_text() == "A title"
    assert caption.get_text() == "W 400  L 40\none\ntwo"
    assert (title.get_va(), caption.get_va()) == ("top", "bottom")
    width, height = figure.get_size_inches()
    top = title.get_position()[1]
    assert 0 < (1 - top) * height < 0.3
    assert 0 < caption.get_position()[1] * height < 0.15
    assert 0 < title.get_position()[0] < 0.05
    assert 0 < caption.get_position()[0] < 0.05
    boxes = [axes.get_position() for row in rows for axes in row]
    assert min(box.y0 for box in boxes) * height == pytest.approx(0.15 + 3 * 0.16)
    assert (1 - max(box.y1 for box in boxes)) * height == pytest.approx(0.5)
    assert min(box.x0 for box in boxes) == pytest.approx(0.01)
    assert max(box.x1 for box in boxes) == pytest.approx(0.99)
    for row in rows:
        for left, right in itertools.pairwise(row):
            assert 0 < (right.get_position().x0 - left.get_position().x1) * width < 0.3
        assert row[0].get_position().width == pytest.approx(row[3].get_position().width * 3.6 / 3.0)
    for upper, lower in itertools.pairwise(rows):
        assert 0 < (upper[0].get_position().y0 - lower[0].get_position().y1) * height < 0.3
    assert rows[1][0].get_position().height * height == pytest.approx(3.6, rel=0.06)
    assert rows[1][0].get_position().width * width == pytest.approx(3.6, rel=0.06)
    for panel in rows[0][:3]:
        assert panel.images[0].get_clim() == (-160.0, 240.0)
        assert len(panel.get_xticks()) == len(panel.get_yticks()) == 0


def test_the_window_is_that_of_what_is_not_background(figures: list[Figure], tmp_path: Path) -> None:
    """Half the voxels are the lowest value; of the others the 1st and 99.5th percentile, by numpy on all of them."""
    rng = np.random.default_rng(0)
    voxels = np.where(rng.random((30, 30, 30)) < 0.5, -5.0, rng.normal(1000, 100, (30, 30, 30))).astype(np.float32)
    voxels[3, 4, 5] = np.nan
    mask = np.zeros(voxels.shape, np.uint8)
    write_overlay(
        tmp_path / "o.png", Volume(voxels, np.eye(4)), mask, measure(mask, make_segments(LABELS), 1.0), title=""
    )
    low, high = np.percentile(voxels[voxels > -5], [1, 99.5])
    found = figures[-1].axes[0].images[0].get_clim()
    np.testing.assert_allclose(found, (low, high))
    assert figures[-1].texts[1].get_text() == f"W {high - low:.4g}  L {(high + low) / 2:.4g}"


@pytest.mark.parametrize(
    ("voxels", "window"),
    [(np.zeros((9, 9, 9)), (0.0, 1.0)), (np.full((9, 9, 9), np.nan), (0.0, 1.0))],
    ids=["constant", "not a number"],
)
def test_an_image_without_contrast_still_has_a_window(
    figures: list[Figure], tmp_path: Path, voxels: np.ndarray, window: tuple[float, float]
) -> None:
    mask = np.zeros((9, 9, 9), np.uint8)
    volume = Volume(voxels.astype(np.float32), np.eye(4))
    write_overlay(tmp_path / "o.png", volume, mask, measure(mask, make_segments(LABELS), 1.0), title="")
    assert figures[-1].axes[0].images[0].get_clim() == window
    two = np.zeros((9, 9, 9), np.float32)
    two[0] = 7
    write_overlay(tmp_path / "o.png", Volume(two, np.eye(4)), mask, measure(mask, make_segments(LABELS), 1.0), title="")
    low, high = figures[-1].axes[0].images[0].get_clim()
    assert low == 7.0
    assert low < high < 7.001


def test_a_large_volume_is_sampled(figures: list[Figure], tmp_path: Path) -> None:
    """Above a million voxels every second along each axis: what is only on odd indices has no say."""
    voxels = np.random.default_rng(0).normal(100, 10, (200, 200, 200)).astype(np.float32)
    voxels[1::2] = 1e6
    mask = np.zeros(voxels.shape, np.uint8)
    write_overlay(
        tmp_path / "o.png", Volume(voxels, np.eye(4)), mask, measure(mask, make_segments(LABELS), 1.0), title=""
    )
    assert figures[-1].axes[0].images[0].get_clim()[1] < 200


@pytest.mark.parametrize(("degrees", "oblique"), [(0, False), (4, False), (6, True), (30, True)])
def test_an_oblique_volume_is_said_to_be_one(
    figures: list[Figure], tmp_path: Path, degrees: float, oblique: bool
) -> None:
    angle = np.deg2rad(degrees)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine[:3, :3] *= (1.0, 2.0, 3.0)
    mask = np.zeros((9, 9, 9), np.uint8)
    volume = Volume(np.random.default_rng(0).random((9, 9, 9)).astype(np.float32), affine)
    write_overlay(tmp_path / "o.png", volume, mask, measure(mask, make_segments(LABELS), 1.0), title="", caption="more")
    first, second = figures[-1].texts[1].get_text().splitlines()
    assert ("oblique: shown along its own axes" in first) == oblique
    assert second == "more"
