"""Any layout in: the same cases come out, channels in their order; 2D trains; what is no data set is refused."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from labelled_folders import LABELS, Made, make_cases, put, write_index, write_msd, write_nnunet, write_plain, write_png
from PIL import Image

from swinunet.client import load_input
from swinunet.foundation.errors import GeometryError, InputError
from swinunet.imaging import ModelSpec, PlaneSlices, Volume, read_labels, read_study
from swinunet.training.data.cases import load_case
from swinunet.training.data.derive_spec import derive_spec
from swinunet.training.data.fingerprint import examine_folder
from swinunet.training.data.folders import DataFolder
from swinunet.training.loop.trainer import TrainSettings, train
from swinunet.training.network.checkpoint import load_checkpoint

ONE_EPOCH = TrainSettings(recipe="tiny", epochs=1, batch_size=4, precision="fp32")

THREE_D: dict[str, Callable[[Path, dict[str, Made]], Path]] = {
    "msd": write_msd,
    "plain": write_plain,
    "plain-nii": lambda root, cases: write_plain(root, cases, ".nii"),
    "plain-numbered": lambda root, cases: write_plain(root, cases, numbered=True),
    "nnunet-1": lambda root, cases: write_nnunet(root, cases, first_version=True),
    "nnunet-2": write_nnunet,
}


def spec_of(root: Path, size: tuple[int, int] = (32, 32)) -> ModelSpec:
    return derive_spec(examine_folder(DataFolder.open(root)), size).spec


@pytest.mark.parametrize("modalities", [1, 2])
@pytest.mark.parametrize("layout", THREE_D)
def test_every_layout_holds_the_same_cases(layout: str, modalities: int, tmp_path: Path) -> None:
    made = make_cases(modalities=modalities)
    root = THREE_D[layout](tmp_path / "data", made)
    if (root / "dataset.json").exists() and modalities == 2 and layout == "msd":
        write_index(root, modality={"0": "T1", "1": "T2"})
    folder = DataFolder.open(root)
    assert [case.name for case in folder.cases] == list(made)
    expected = tuple(LABELS.values())[1:] if (root / "dataset.json").exists() else ("label_1", "label_2")
    assert folder.label_names == expected
    for paths in folder.cases:
        case = made[paths.name]
        study, labels = read_study(paths.images), read_labels(paths.labels)
        assert len(study) == modalities
        for volume, voxels in zip(study, case.modalities, strict=True):
            np.testing.assert_array_equal(volume.voxels, voxels)
            np.testing.assert_allclose(volume.affine, case.affine, atol=1e-6)
        np.testing.assert_array_equal(labels.voxels, case.labels)


@pytest.mark.parametrize("suffix", [".png", ".nii.gz"])
def test_slices_hold_the_same_cases(suffix: str, tmp_path: Path) -> None:
    made = make_cases(shape=(30, 26, 1))
    root = write_png(tmp_path, made) if suffix == ".png" else write_plain(tmp_path, made)
    for paths in DataFolder.open(root).cases:
        (volume,) = read_study(paths.images)
        np.testing.assert_array_equal(volume.voxels, made[paths.name].modalities[0])
        np.testing.assert_array_equal(read_labels(paths.labels).voxels, made[paths.name].labels)


def test_a_nifti_of_two_axes_is_one_slice(tmp_path: Path) -> None:
    pixels = np.arange(12, dtype=np.float32).reshape(3, 4)
    nib.save(nib.Nifti1Image(pixels, np.eye(4)), tmp_path / "two.nii")
    (volume,) = read_study([tmp_path / "two.nii"])
    np.testing.assert_array_equal(volume.voxels[..., 0], pixels)


def test_a_png_is_seen_as_it_is_shown(tmp_path: Path) -> None:
    """Rows of the file are rows of the network's input, neither flipped nor turned."""
    made = make_cases(shape=(32, 32, 1))
    spec = spec_of(write_png(tmp_path, made))
    paths = DataFolder.open(tmp_path).cases[0]
    shown = np.asarray(Image.open(paths.image)).astype(np.float32)
    image = load_case(paths, spec).images[0, 0].astype(np.float32)
    assert np.corrcoef(image.ravel(), shown.ravel())[0, 1] > 0.99


def test_colours_are_modalities(tmp_path: Path) -> None:
    made = make_cases(modalities=3, shape=(24, 26, 1))
    root = write_png(tmp_path, made)
    (paths, *_) = DataFolder.open(root).cases
    assert [volume.voxels.shape for volume in read_study(paths.images)] == [(24, 26, 1)] * 3
    assert spec_of(root).in_channels == 3


def test_black_and_white_is_one_class(tmp_path: Path) -> None:
    root = write_png(tmp_path, make_cases(shape=(24, 26, 1)), lambda labels: (labels > 0).astype(np.uint8) * 255)
    assert DataFolder.open(root).label_names == ("label_1",)


def test_a_palette_means_its_indices(tmp_path: Path) -> None:
    labels = np.array([[0, 1], [2, 1]], np.uint8)
    image = Image.fromarray(labels, mode="P")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    image.save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "p.png").voxels[..., 0], labels.T)


@pytest.mark.parametrize("context", [1, 3])
def test_modalities_reach_the_network_in_their_order(context: int, tmp_path: Path) -> None:
    """Modality-major: all slices of the first, then all of the second; each normalised on its own."""
    random = np.random.default_rng(0)
    first, second = (Volume(random.normal(size=(8, 9, 10)), np.eye(4)) for _ in range(2))
    base = spec_of(write_plain(tmp_path, make_cases(modalities=2), numbered=True))
    spec = dataclasses.replace(base, context_slices=context, context_step_mm=1.0)
    alone = dataclasses.replace(spec, modalities=())
    both = PlaneSlices((first, Volume(second.voxels * 1e3 + 5, np.eye(4))), spec).image(4)
    assert both.shape[0] == spec.in_channels == 2 * context
    np.testing.assert_allclose(both[:context], PlaneSlices(first, alone).image(4), atol=1e-4)
    np.testing.assert_allclose(both[context:], PlaneSlices(second, alone).image(4), atol=1e-4)


def test_studies_that_do_not_fit_the_spec_are_refused(tmp_path: Path) -> None:
    spec = spec_of(write_msd(tmp_path, make_cases(modalities=2), {"0": "T1", "1": "T2"}))
    volume = Volume(np.random.default_rng(0).normal(size=(8, 9, 10)), np.eye(4))
    with pytest.raises(InputError, match=r"1 modality found, the model expects 2 modalities \(T1, T2\)"):
        PlaneSlices(volume, spec)
    with pytest.raises(GeometryError, match="T2 has the grid"):
        PlaneSlices((volume, Volume(volume.voxels[1:], np.eye(4))), spec)


def test_a_spec_of_one_modality_says_nothing_of_it(tmp_path: Path) -> None:
    """Byte for byte what readers of before modalities know; with two, it goes there and back."""
    one = spec_of(write_plain(tmp_path / "one", make_cases()))
    assert "modalities" not in json.loads(one.to_json())
    two = spec_of(write_msd(tmp_path / "two", make_cases(modalities=2), {"0": "T1", "1": "T2"}))
    assert two.modalities == ("T1", "T2")
    assert ModelSpec.from_json(two.to_json(), "here") == two
    assert ModelSpec.from_json(one.to_json(), "here") == one


def test_the_client_reads_four_axes_and_no_dicom(tmp_path: Path) -> None:
    root = write_msd(tmp_path, make_cases(modalities=2), {"0": "T1", "1": "T2"})
    spec = spec_of(root)
    loaded = load_input(root / "imagesTr" / "case_0.nii.gz", spec)
    assert len(loaded.study) == 2
    assert loaded.volume is loaded.study[0]
    with pytest.raises(InputError, match=r"along the fourth axis: 1 found, the model expects 2 \(T1, T2\)"):
        load_input(root / "labelsTr" / "case_0.nii.gz", spec)
    with pytest.raises(InputError, match="DICOM is read one series at a time"):
        load_input(root, spec)


@pytest.mark.parametrize(
    ("kind", "channels"), [("png", 1), ("rgb", 3), ("nifti", 1), ("two modalities", 2 * 7), ("many classes", 7)]
)
def test_an_epoch_of_each_kind(kind: str, channels: int, tmp_path: Path) -> None:
    made = make_cases(modalities={"rgb": 3, "two modalities": 2}.get(kind, 1), shape=(24, 26, 6 if "m" in kind else 1))
    if kind == "many classes":
        for case in made.values():
            case.labels[:, :, 0] = np.arange(24)[:, None] % 12
    write = {"png": write_png, "rgb": write_png}.get(kind, write_plain)
    checkpoint = train(write(tmp_path / "data", made), tmp_path / "run", None, ONE_EPOCH)
    network, spec = load_checkpoint(checkpoint)
    assert spec is not None
    assert (network.config.in_channels, spec.in_channels) == (channels, channels)
    assert spec.num_classes == (12 if kind == "many classes" else 3)
    assert json.loads((tmp_path / "run" / "fingerprint.json").read_text())["skipped"] == []
    said = (tmp_path / "run" / "spec.json").read_text()
    assert ModelSpec.from_json(said, "here").labels == tuple(
        dataclasses.replace(label, volume_ml=None) for label in spec.labels
    )
    if "m" in kind:
        assert all(label.volume_ml and 0 < label.volume_ml[0] <= label.volume_ml[1] for label in spec.labels)
    else:  # of single slices nothing follows for the volume of a series
        assert all(label.volume_ml is None for label in spec.labels)


def no_labels(root: Path) -> None:
    for path in (root / "labels").iterdir():
        path.unlink()


def other_names(root: Path) -> None:
    for path in (root / "labels").iterdir():
        path.rename(path.with_name(f"other_{path.name}"))


def twice(root: Path) -> None:
    case = make_cases(1)["case_0"]
    put(case.modalities[0], case.affine, root / "images" / "case_0.nii")


def numbered_too(root: Path) -> None:
    case = make_cases(1)["case_0"]
    put(case.modalities[0], case.affine, root / "images" / "case_0_0000.nii.gz")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (no_labels, "no labels: labels/ is not there or holds no file of .nii.gz, .nii, .png"),
        (other_names, "no image has labels; name the files of images/ and labels/ alike"),
        (twice, "case_0.nii and case_0.nii.gz bear one name"),
        (numbered_too, "case_0 is there both with and without a channel number"),
        (lambda root: (root / "labels" / "case_1.nii.gz").unlink(), "case_1: no labels: labels/ holds no file"),
        (lambda root: (root / "images" / "case_1.nii.gz").unlink(), "case_1: no image: images/ holds no file"),
        (lambda root: (root / "dataset.json").write_text("[]"), "dataset.json: broken"),
        (lambda root: write_index(root, labels=LABELS), "dataset.json: broken"),
    ],
)
def test_what_is_no_data_set_is_refused(damage: Callable[[Path], object], says: str, tmp_path: Path) -> None:
    root = write_plain(tmp_path, make_cases())
    damage(root)
    with pytest.raises(InputError, match=says):
        DataFolder.open(root)


def test_other_folders_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        DataFolder.open(tmp_path / "none")
    with pytest.raises(InputError, match=r"no images/ with labels/, nor imagesTr/ with labelsTr/"):
        DataFolder.open(tmp_path)
    root = write_plain(tmp_path / "gap", make_cases(modalities=3), numbered=True)
    (root / "images" / "case_2_0001.nii.gz").unlink()
    with pytest.raises(InputError, match="case_2: channel files 0000, 0002 found"):
        DataFolder.open(root)
    root = write_msd(tmp_path / "copies", make_cases())
    listed = json.loads((root / "dataset.json").read_text())["training"]
    write_index(root, training=[*listed, listed[0]])
    with pytest.raises(InputError, match="names that several cases bear: case_0; rename"):
        DataFolder.open(root)


@pytest.mark.parametrize(
    ("name", "pixels", "says"),
    [
        ("rgba", np.full((4, 4, 4), 100, np.uint8), "transparent pixels"),
        ("cut", None, "not a readable PNG"),
    ],
)
def test_pngs_that_are_no_images(name: str, pixels: np.ndarray | None, says: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.png"
    Image.fromarray(np.zeros((40, 40), np.uint8) if pixels is None else pixels).save(path)
    if pixels is None:
        path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(InputError, match=says):
        read_study([path])


@pytest.mark.parametrize(
    ("pixels", "says"),
    [
        (np.zeros((4, 4, 3), np.uint8), "mode RGB; expected one channel"),
        (np.full((4, 4), 300, np.uint16), "whole numbers from 0 to 255"),
    ],
)
def test_pngs_that_are_no_labels(pixels: np.ndarray, says: str, tmp_path: Path) -> None:
    Image.fromarray(pixels).save(tmp_path / "l.png")
    with pytest.raises(InputError, match=says):
        read_labels(tmp_path / "l.png")
