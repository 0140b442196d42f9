"""What `swinunet convert` writes lies where SimpleITK says the series lies, in every orientation; tilt is kept."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from dicom_series import lean, make_series, rotation, save, shuffled
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from swinunet.cli import app

_RAS_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def convert(folder: Path, *options: str) -> nib.Nifti1Image:
    """The NIfTI file that the command writes."""
    output = folder.parent / f"{folder.name}.nii"
    done = CliRunner().invoke(app, ["convert", str(folder), str(output), "--overwrite", *options])
    assert done.exit_code == 0, done.output
    return nib.load(output)


def assert_as_simpleitk(folder: Path, tolerance_mm: float) -> None:
    """Every corner voxel lies where SimpleITK has it, and holds the same value; so do all values between."""
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    oracle = reader.Execute()
    theirs = SimpleITK.GetArrayFromImage(oracle).transpose(2, 1, 0)
    image = convert(folder)
    to_lps, ours = _RAS_LPS @ image.affine, np.asarray(image.dataobj)
    assert sorted(ours.shape) == sorted(theirs.shape)
    for index in itertools.product(*[(0, n - 1) for n in ours.shape]):
        point = (to_lps @ [*index, 1])[:3]
        at = oracle.TransformPhysicalPointToContinuousIndex([float(mm) for mm in point])
        nearest = np.rint(at).astype(int)
        away_mm = np.array(oracle.TransformContinuousIndexToPhysicalPoint([float(n) for n in nearest])) - point
        assert np.abs(away_mm).max() < tolerance_mm
        assert ours[index] == theirs[tuple(nearest)]
    flips = [slice(None, None, -1 if flip else 1) for flip in _flips(to_lps, oracle)]
    np.testing.assert_array_equal(ours[tuple(flips)], theirs)


def _flips(affine: np.ndarray, oracle: SimpleITK.Image) -> np.ndarray:
    direction = np.reshape(oracle.GetDirection(), (3, 3))
    return np.einsum("ij,ij->j", affine[:3, :3], direction) < 0


SIGNED = list(itertools.product(itertools.permutations(range(3)), itertools.product((1.0, -1.0), repeat=3)))


@pytest.mark.parametrize(("order", "signs"), SIGNED)
def test_all_48_axis_orders_and_signs(order: tuple[int, ...], signs: tuple[float, ...], tmp_path: Path) -> None:
    axes = np.eye(3)[list(order)] * np.array(signs)[:, None]
    stored = np.random.default_rng(0).integers(0, 4000, (4, 3, 2), np.uint16)
    slices = make_series(stored, orientation=[*axes[0], *axes[1]], step_mm=axes[2] * 2.5)
    assert_as_simpleitk(save(tmp_path / "in", shuffled(slices, seed=3)), tolerance_mm=1e-3)


@settings(max_examples=15, deadline=None)
@given(
    quaternion=st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1),
    spacing_mm=st.tuples(*[st.floats(0.2, 5.0)] * 3),
    origin_mm=st.tuples(*[st.floats(-500, 500)] * 3),
    count=st.integers(2, 6),
    backwards=st.booleans(),
)
def test_oblique_stacks_of_either_hand(
    quaternion: tuple[float, ...],
    spacing_mm: tuple[float, ...],
    origin_mm: tuple[float, ...],
    count: int,
    backwards: bool,
) -> None:
    turn = rotation(quaternion)
    slices = make_series(
        np.random.default_rng(0).integers(0, 4000, (count, 3, 4), np.uint16),
        orientation=[*np.round(turn[:, 0], 9), *np.round(turn[:, 1], 9)],  # ITK does not parse 1e-160
        step_mm=turn[:, 2] * spacing_mm[2] * (-1 if backwards else 1),
        origin_mm=origin_mm,
        pixel_spacing_mm=spacing_mm[:2],
    )
    with tempfile.TemporaryDirectory() as folder:
        assert_as_simpleitk(save(Path(folder) / "in", shuffled(slices, seed=5)), tolerance_mm=1e-3)


def test_a_tilted_stack_keeps_every_slice_in_a_sheared_grid(tmp_path: Path) -> None:
    slices = make_series()
    lean(slices)
    image = convert(save(tmp_path / "in", slices), "--allow", "tilted")
    for k, ds in enumerate(slices):
        corner = (_RAS_LPS @ image.affine @ [0, 0, k, 1])[:3]
        np.testing.assert_allclose(corner, np.array(ds.ImagePositionPatient, float), atol=1e-4)
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 0)
    with pytest.raises(RuntimeError, match="orthonormal"):  # what cannot hold the shear says so
        SimpleITK.ReadImage(str(tmp_path / "in.nii"))


def test_convert_says_what_was_overruled(tmp_path: Path) -> None:
    slices = make_series()
    lean(slices)
    save(tmp_path / "in", slices)
    arguments = ["convert", str(tmp_path / "in"), str(tmp_path / "out.nii")]
    assert CliRunner().invoke(app, arguments).exit_code != 0
    done = CliRunner().invoke(app, [*arguments, "--allow", "tilted"])
    assert "tilted: the stack leans 12.0 degrees" in done.stdout
