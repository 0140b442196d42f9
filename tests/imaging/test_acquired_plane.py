"""Slices as acquired, and pixels whose size the file does not say."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from rich.console import Console

from swinunet.foundation.errors import GeometryError
from swinunet.imaging import Code, Label, ModelSpec, PlaneSlices, Volume, ZScore, plane_view, read_labels, read_study
from swinunet.imaging.slices import require_in_view
from swinunet.training.data.prepare_data import prepare
from swinunet.training.data.spec_overrides import SpecOverrides

ROOT = Path(__file__).parents[2]
SPEC = ModelSpec(
    name="heart",
    version=1,
    modality="MR",
    body_part="HEART",
    plane="acquired",
    context_slices=1,
    context_step_mm=8.0,
    input_size=(32, 32),
    spacing_mm=(1.5, 1.5),
    intensity=ZScore(),
    labels=(Label(1, "Cavity", (1, 2, 3), Code("87878005", "SCT", "Left cardiac ventricle")),),
)


def oblique(seed: int) -> Volume:
    """4 slices of 30 rows and 20 columns, 1.5 mm and 8 mm apart, turned anyhow."""
    draw = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(draw.normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = turn * [1.5, 1.5, 8.0]
    return Volume(draw.normal(size=(20, 30, 4)).astype(np.float32), affine)


@pytest.mark.parametrize("seed", range(8))
def test_slices_as_acquired_are_the_same_however_they_lie(seed: int) -> None:
    volume = oblique(seed)
    sampler = PlaneSlices(volume, SPEC)
    straight = PlaneSlices(Volume(volume.voxels, np.diag([1.5, 1.5, 8.0, 1.0])), SPEC)
    assert len(sampler) == 4
    for index in range(4):
        assert np.array_equal(sampler.image(index), straight.image(index))
        inner = sampler.image(index)[0, 1:31, 6:26]
        assert np.corrcoef(inner.ravel(), volume.voxels[:, :, index].T.ravel())[0, 1] > 0.99
    labels = np.zeros(volume.shape, np.uint8)
    for index in range(4):
        sampler.restore(labels, index, np.full((32, 32), index, np.uint8))
    assert [set(np.unique(labels[:, :, index])) for index in range(4)] == [{0}, {1}, {2}, {3}]
    assert np.shares_memory(plane_view(volume.voxels, volume.affine, "acquired"), volume.voxels)


def test_which_slices_hold_a_label() -> None:
    volume, labels = oblique(0), np.zeros((20, 30, 4), np.uint8)
    labels[3, 4, 2], labels[0, 0, 1] = 1, 2
    sampler = PlaneSlices(volume, SPEC)
    assert sampler.holding(labels, np.array([1])).tolist() == [2]
    assert sampler.holding(labels, np.array([1, 2])).tolist() == [1, 2]


def test_a_mirror_needs_an_anatomical_plane() -> None:
    with pytest.raises(ValidationError, match="do not say where left is"):
        dataclasses.replace(SPEC, mirrored=True)


def test_a_header_is_refused_for_larger_slices_unless_the_middle_is_read() -> None:
    with pytest.raises(GeometryError, match="do not fit"):
        require_in_view((90, 30, 3), np.diag([1.5, 1.5, 8.0, 1.0]), SPEC)
    require_in_view((90, 30, 3), np.diag([1.5, 1.5, 8.0, 1.0]), dataclasses.replace(SPEC, larger_slices="middle"))


def test_the_spec_of_a_served_model_is_written_as_it_was() -> None:
    """To the byte: what was added to specs is left out where it says nothing."""
    for config in (ROOT / "model_repository").glob("*/config.pbtxt"):
        [quoted] = re.findall(r'key: "swinunet_spec", value \{ string_value: (".*") \}', config.read_text())
        text = json.loads(quoted)
        assert ModelSpec.from_json(text, config.name).to_json() == text


def test_pixel_size_travels_only_where_it_is_said() -> None:
    said = dataclasses.replace(SPEC, pixel_mm=1.3672)
    assert ModelSpec.from_json(said.to_json(), "test") == said
    assert "pixel_mm" not in SPEC.to_json()


def written(root: Path, size: int) -> Path:
    draw = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (root / kind).mkdir(parents=True)
    for name in ("a_1", "b_1", "c_1"):
        pixels = draw.integers(0, 255, (size, size), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{name}.png")
        Image.fromarray((pixels > 128).astype(np.uint8)).save(root / "labels" / f"{name}.png")
    return root


def test_pngs_are_read_at_the_size_that_the_user_says(tmp_path: Path) -> None:
    root = written(tmp_path / "data", 32)
    prepared = prepare(root, (32, 32), overrides=SpecOverrides.parse(plane="acquired", pixel_mm=1.5, spacing="1.5"))
    assert (prepared.spec.pixel_mm, prepared.spec.plane) == (1.5, "acquired")
    assert prepared.fingerprint.spacing_mm()[:2] == (1.5, 1.5)
    assert any("1.5 mm, as the user says" in remark for remark in prepared.fingerprint.remarks)
    image = root / "images" / "a_1.png"
    assert read_study([image], 1.5)[0].same_grid(read_labels(image, 1.5))
    assert read_study([image])[0].spacing_mm == (1.0, 1.0, 1.0)
    assert SpecOverrides(pixel_mm=1.5).as_options() == ["--pixel-mm 1.5"]


def test_single_slices_are_normalised_each_on_its_own_and_so_is_what_is_served(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = written(tmp_path / "data", 32)
    prepared = prepare(root, (32, 32))
    assert prepared.spec.intensity == ZScore(per="slice")
    assert prepare(root, (32, 32), overrides=SpecOverrides.parse(window="zscore")).spec.intensity == ZScore(per="slice")
    console = Console(width=400)
    prepare(root, (32, 32), spec=prepared.spec, console=console)
    assert "read otherwise than in training" not in capsys.readouterr().out
    of_volumes = dataclasses.replace(prepared.spec, intensity=ZScore())
    prepare(root, (32, 32), spec=of_volumes, console=console)
    assert "read otherwise than in training" in capsys.readouterr().out


def test_unsaid_pixels_are_1_mm_and_said_to_be(tmp_path: Path) -> None:
    prepared = prepare(written(tmp_path / "data", 32), (32, 32))
    assert prepared.spec.pixel_mm is None
    assert any("taken as 1 mm; --pixel-mm" in remark for remark in prepared.fingerprint.remarks)


@pytest.mark.parametrize("step", [1.0, 1.3])
def test_of_a_larger_slice_the_middle_is_read_and_the_rest_is_background(step: float) -> None:
    spec = dataclasses.replace(SPEC, larger_slices="middle", spacing_mm=(1.5 * step, 1.5 * step))
    assert ModelSpec.from_json(spec.to_json(), "test") == spec
    voxels = np.random.default_rng(0).normal(size=(90, 30, 3)).astype(np.float32)  # wide, and not tall
    volume = Volume(voxels, np.diag([1.5, 1.5, 8.0, 1.0]))
    sampler = PlaneSlices(volume, spec)
    if step == 1:
        normalised = sampler.image(1)[0]
        assert np.corrcoef(normalised[1:31].ravel(), voxels[29:61, :, 1].T.ravel())[0, 1] > 0.99
    labels = np.zeros(volume.shape, np.uint8)
    sampler.restore(labels, 1, np.full((32, 32), 7, np.uint8))
    wide = labels[:, 15, 1] > 0
    assert wide.sum() == pytest.approx(32 * step, abs=1)
    assert (labels[wide][:, :, 1] == 7).all()
    assert abs(np.flatnonzero(wide).mean() - 44.5) <= 1
    probabilities = sampler.restore_probabilities(np.stack([np.zeros((32, 32)), np.ones((32, 32))]))
    assert np.array_equal(probabilities[1] > 0.5, labels[:, :, 1].T > 0)
    assert np.allclose(probabilities.sum(axis=0), 1, atol=1e-5)


def test_larger_slices_are_refused_unless_the_spec_reads_their_middle() -> None:
    volume = Volume(np.random.default_rng(0).normal(size=(90, 30, 3)).astype(np.float32), np.diag([1.5, 1.5, 8.0, 1.0]))
    with pytest.raises(GeometryError, match="do not fit"):
        PlaneSlices(volume, SPEC)
