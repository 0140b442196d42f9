"""client/ and `swinunet segment` against a real Triton: DICOM and NIfTI in, results out, and every refusal."""

from __future__ import annotations

import dataclasses
import errno
import json
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest
from breakable_triton import signal_server, slow_down, small_study
from command_line import run_here
from shipped_model import SHIPPED
from small_model import SMALL_SPEC, write_small_repository

from swinunet.client import (
    Roi,
    Segmentation,
    ServerOptions,
    Timeouts,
    TritonModel,
    load_input,
    parse_roi,
    run_job,
    segment_volume,
)
from swinunet.client.results.report import read_report
from swinunet.foundation.errors import GeometryError, InputError, OutputError, ServerError, SpecError
from swinunet.imaging import Volume, read_nifti, write_nifti
from swinunet.samples.mni152 import HIPPOCAMPUS_BOXES, read_mni152, write_mni152_series
from swinunet.serving import TritonServer

BOXES = [f"--roi={side}={','.join(map(str, box))}" for side, box in HIPPOCAMPUS_BOXES.items()]


def swinunet(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command as a user runs it."""
    command = [sys.executable, "-m", "swinunet", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


def refused(done: subprocess.CompletedProcess[str], says: str) -> None:
    """One clear line, a non-zero exit, no traceback."""
    assert done.returncode != 0
    assert says in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


@pytest.fixture(scope="session")
def brain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The MNI152 brain as a DICOM series."""
    return write_mni152_series(tmp_path_factory.mktemp("mni") / "brain")


@pytest.fixture(scope="session")
def segmented(triton: TritonServer, brain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the demo's job."""
    out = tmp_path_factory.mktemp("results")
    done = swinunet("segment", brain, "-o", out, "--url", triton.url, *BOXES)
    assert done.returncode == 0, done.stderr
    assert "Left anterior hippocampus" in done.stdout
    return out / "brain"


@pytest.fixture(scope="session")
def crop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The left box of the brain as a NIfTI file, as the network's training crops are."""
    x0, x1, y0, y1, z0, z1 = HIPPOCAMPUS_BOXES["left"]
    volume = read_mni152()
    part = volume.crop(volume.box_slices(np.array([x0, y0, z0]), np.array([x1, y1, z1])))
    path = tmp_path_factory.mktemp("crop") / "left.nii.gz"
    write_nifti(part, path)
    return path


@pytest.fixture(scope="module")
def found(triton: TritonServer, crop: Path) -> Segmentation:
    """What the shipped model finds in the crop, by labels."""
    with TritonModel(triton.url, SHIPPED) as model:
        return segment_volume(read_nifti(crop), model)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A NIfTI file for the small model."""
    path = tmp_path / "left.nii.gz"
    write_nifti(small_study(4), path)
    return path


def test_the_demo_finds_two_plausible_hippocampi(segmented: Path) -> None:
    report = read_report(segmented / "report.json")
    ml = {side: sum(s.volume_ml for s in report.structures if s.laterality == side) for side in ("left", "right")}
    assert 1.5 < ml["left"] < 6
    assert 1.5 < ml["right"] < 6
    assert 0.7 < ml["left"] / ml["right"] < 1.4
    assert report.model.name == report.model.spec.name
    assert {"read", "preprocess", "inference", "restore", "measure", "judge", "nifti", "seg"} <= set(report.timings_s)
    assert {path.name for path in segmented.iterdir()} == set(report.outputs.values())


def test_the_mask_lies_on_the_series_own_grid(segmented: Path, brain: Path) -> None:
    mask, image = read_nifti(segmented / "mask.nii.gz"), load_input(brain, SMALL_SPEC).volume
    assert mask.shape == image.shape
    np.testing.assert_allclose(mask.affine, image.affine, atol=1e-4)
    left = np.isin(mask.voxels, (1, 2))
    x = (image.affine[:3, :3] @ np.argwhere(left).mean(axis=0) + image.affine[:3, 3])[0]
    assert x > 10  # the patient's left is +x in LPS


def test_the_seg_says_what_the_mask_says(segmented: Path, brain: Path) -> None:
    seg = hd.seg.segread(segmented / "segmentation.dcm")
    mask = read_nifti(segmented / "mask.nii.gz").voxels
    sources = sorted(
        (pydicom.dcmread(path, stop_before_pixels=True) for path in brain.iterdir()), key=lambda d: d.InstanceNumber
    )
    assert {s.SOPInstanceUID for s in sources} >= {i.ReferencedSOPInstanceUID for i in seg.SourceImageSequence}
    assert seg.StudyInstanceUID == sources[0].StudyInstanceUID
    assert seg.FrameOfReferenceUID == sources[0].FrameOfReferenceUID
    assert seg.SeriesInstanceUID != sources[0].SeriesInstanceUID
    pixels = seg.get_pixels_by_source_instance(
        [s.SOPInstanceUID for s in sources], combine_segments=True, assert_missing_frames_are_empty=True
    )
    by_k = {float(s.ImagePositionPatient[2]): frame for s, frame in zip(sources, pixels, strict=True)}
    np.testing.assert_array_equal(np.stack([by_k[z] for z in sorted(by_k)]), mask.transpose(2, 1, 0))


def test_nifti_in_nifti_out(triton: TritonServer, crop: Path, tmp_path: Path) -> None:
    done = run_here("segment", crop, "-o", tmp_path / "out", "--url", triton.url, "--model", SHIPPED)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "out" / "left"
    assert {path.name for path in folder.iterdir()} == {"mask.nii.gz", "report.json", "overlay.png", "index.html"}
    image, mask = nib.load(crop), nib.load(folder / "mask.nii.gz")
    assert mask.shape == image.shape
    np.testing.assert_allclose(mask.affine, image.affine, atol=1e-5)
    assert set(np.unique(mask.dataobj)) == {0, 1, 2}


def test_a_stored_orientation_changes_nothing(triton: TritonServer, found: Segmentation) -> None:
    """The same crop with axes swapped and flipped: the same labels at the same places."""
    volume = found.volume
    turned = Volume(volume.voxels.transpose(2, 0, 1)[::-1], volume.affine[:, [2, 0, 1, 3]].copy())
    turned.affine[:3, 3] += turned.affine[:3, 0] * (turned.shape[0] - 1)
    turned.affine[:3, 0] *= -1
    with TritonModel(triton.url, SHIPPED) as model:
        other = segment_volume(turned, model).mask
    np.testing.assert_array_equal(other[::-1].transpose(1, 2, 0), found.mask)


def test_probabilities_restore_to_the_same_structures(triton: TritonServer, found: Segmentation) -> None:
    """A model of several readings averages probabilities either way, and says how sure it is."""
    with TritonModel(triton.url, SHIPPED) as model:
        assert len(model.spec.readings) > 1
        by_probability = segment_volume(found.volume, model, restore="probabilities")
    np.testing.assert_array_equal(found.mask, by_probability.mask)
    assert by_probability.mask.any()
    for each in (found, by_probability):
        assert each.confidence is not None
        assert all(m.mean_intensity and m.confidence and 0.5 < m.confidence <= 1 for m in each.measurements)


def test_one_reading_says_how_sure_it_is_only_with_probabilities(small_triton: TritonServer) -> None:
    volume = Volume(np.random.default_rng(0).random((20, 20, 6)), np.eye(4))
    with TritonModel(small_triton.url) as model:
        by_label = segment_volume(volume, model)
        by_probability = segment_volume(volume, model, restore="probabilities")
    assert by_label.confidence is None
    assert all(m.confidence is None for m in by_label.measurements)
    assert by_probability.confidence is not None
    assert (by_label.mask == by_probability.mask).mean() > 0.99


def test_boxes_leave_the_rest_empty(triton: TritonServer) -> None:
    volume = read_mni152()
    roi = Roi(HIPPOCAMPUS_BOXES["right"], "right")
    with TritonModel(triton.url, SHIPPED) as model:
        found = segment_volume(volume, model, (roi,))
    outside = found.mask.copy()
    outside[volume.box_slices(roi.low_mm, roi.high_mm)] = 0
    assert found.mask.any()
    assert not outside.any()


def test_several_inputs_and_one_bad(small_triton: TritonServer, small: Path, tmp_path: Path) -> None:
    """The good ones are done, the bad one is named, names that clash get numbers, the exit says so."""
    twin = tmp_path / "twin" / small.name
    twin.parent.mkdir()
    shutil.copyfile(small, twin)
    cut = tmp_path / "cut.nii.gz"
    cut.write_bytes(small.read_bytes()[:2000])
    done = run_here("segment", small, cut, twin, "-o", tmp_path / "out", "--url", small_triton.url)
    assert done.returncode == 1
    assert "cut.nii.gz: not a readable NIfTI" in done.stderr
    assert "1 of 3 inputs were not wholly segmented" in done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"left", "left-2", "summary.csv", "summary.json"}


def test_results_are_not_replaced_unless_told(small_triton: TritonServer, small: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "left").mkdir(parents=True)
    (out / "left" / "mine").touch()
    refused(run_here("segment", small, "-o", out, "--url", small_triton.url), "exists already")
    assert (out / "left" / "mine").exists()
    assert run_here("segment", small, "-o", out, "--url", small_triton.url, "--overwrite").returncode == 0
    assert not (out / "left" / "mine").exists()
    assert [path.name for path in out.iterdir()] == ["left"]


def test_without_a_url_it_starts_a_server(crop: Path, tmp_path: Path, nothing_left: None) -> None:
    done = swinunet("segment", crop, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "left" / "mask.nii.gz").is_file()


@pytest.mark.parametrize(
    ("roi", "says"),
    [
        ("left=500,520,0,50,0,40", "reaches outside the volume"),
        ("1,2,3", "expected [left=|right=]"),
        ("up=7,42,-2,48,-33,8", "the side is 'up'"),
        ("7,nan,-2,48,-33,8", "finite"),
        ("42,7,-2,48,-33,8", "lower bound must lie below"),
        ("left=-43,-7,-2,47,-31,8", "lies wholly in the right half of the head"),
        ("right=7,43,-2,47,-31,8", "lies wholly in the left half of the head"),
    ],
)
def test_bad_boxes(triton: TritonServer, brain: Path, tmp_path: Path, roi: str, says: str) -> None:
    refused(run_here("segment", brain, "-o", tmp_path / "out", "--url", triton.url, "--roi", roi), says)
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True


def test_boxes_that_overlap(triton: TritonServer, brain: Path, tmp_path: Path) -> None:
    done = run_here("segment", brain, "-o", tmp_path, "--url", triton.url, BOXES[0], BOXES[0])
    refused(done, "overlap; make them separate")


def test_a_volume_that_is_more_than_the_model_sees(small_triton: TritonServer, brain: Path, tmp_path: Path) -> None:
    """A model whose spec does not say how its boxes are found."""
    refused(
        run_here("segment", brain, "-o", tmp_path, "--url", small_triton.url), "choose a box around the organ (--roi)"
    )
    assert not list(tmp_path.iterdir())


def test_bad_inputs(triton: TritonServer, brain: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("hello")
    (tmp_path / "ct").mkdir()
    header = pydicom.dcmread(next(iter(brain.iterdir())))
    header.Modality = "CT"
    header.save_as(tmp_path / "ct" / "a.dcm")
    out = tmp_path / "out"
    for path, says in (
        (tmp_path / "empty", "the folder is empty"),
        (tmp_path / "text", "none of them DICOM"),
        (tmp_path / "nowhere", "no such file or folder"),
        (tmp_path / "ct", "the modality is CT, the model reads MR"),
    ):
        refused(run_here("segment", path, "-o", out, "--url", triton.url, "--model", SHIPPED), says)
        assert not out.exists()


def test_nobody_at_the_address(crop: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        done = run_here("segment", crop, "-o", tmp_path / "out", "--url", f"127.0.0.1:{port}")
    refused(done, f"no Triton answers at 127.0.0.1:{port}")


@pytest.mark.parametrize("url", ["", "localhost", "http://localhost:8001", "localhost:99999", "a b:1", ":8001"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ServerError, match="expected HOST:PORT"):
        TritonModel(url)


def test_no_such_model(triton: TritonServer, crop: Path, tmp_path: Path) -> None:
    done = run_here("segment", crop, "-o", tmp_path / "out", "--url", triton.url, "--model", "liver")
    refused(done, "has no model liver that is ready; it serves: ")


def test_no_place_to_write(triton: TritonServer, crop: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused(run_here("segment", crop, "-o", tmp_path / "file", "--url", triton.url, "--model", SHIPPED), "cannot write")


def with_spec(repository: Path, spec_json: str) -> Path:
    """The small repository with other words where its spec was."""
    config = repository / "small" / "configs" / "cpu.pbtxt"
    text = config.read_text()
    quote = SMALL_SPEC.to_json().replace("\\", "\\\\").replace('"', '\\"')
    assert quote in text
    config.write_text(text.replace(quote, spec_json.replace('"', '\\"')))
    return repository


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (
            json.dumps(json.loads(SMALL_SPEC.to_json()) | {"schema_version": 2}),
            "schema version 2, this software reads up",
        ),
        (dataclasses.replace(SMALL_SPEC, version=7).to_json(), "its spec is of version 7, the server has 1"),
        ("nonsense", "this is no model spec"),
    ],
)
def test_specs_the_client_cannot_take(tritonserver: object, tmp_path: Path, spec: str, says: str) -> None:
    repository = with_spec(write_small_repository(tmp_path / "repository"), spec)
    with TritonServer(repository) as server, pytest.raises((SpecError, ServerError), match=says):
        TritonModel(server.url)


def test_a_job_that_fails_leaves_nothing(tritonserver: object, small_repository: Path, tmp_path: Path) -> None:
    """The server is killed under the job: one line, no result, and the one that was to be replaced is as before."""
    case, out = tmp_path / "case.nii.gz", tmp_path / "out"
    write_nifti(small_study(48), case)
    out.mkdir()
    hasty = ServerOptions(timeouts=Timeouts(connect=2, request=10, outage=1), in_flight=1)
    with TritonServer(slow_down(small_repository, 0.1)) as server, TritonModel(server.url, options=hasty) as model:
        loaded = load_input(case, model.spec)
        run_job(loaded, out / "old", model)
        before = {path: path.read_bytes() for path in (out / "old").iterdir()}
        assert {path.name for path in before} == {"mask.nii.gz", "report.json", "overlay.png", "index.html"}
        for name in ("new", "old"):
            with pytest.raises(ServerError, match="no Triton answers at"):
                run_job(loaded, out / name, model, tick=lambda slices: signal_server(server, signal.SIGKILL))
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert [path.name for path in out.iterdir()] == ["old"]


def test_a_request_that_is_refused_leaves_nothing(triton: TritonServer, crop: Path, tmp_path: Path) -> None:
    """A version that the server has not: one line, no result."""
    with TritonModel(triton.url, SHIPPED) as model:
        loaded = load_input(crop, model.spec)
        model.version = "99"
        with pytest.raises(ServerError, match="refused the request"):
            run_job(loaded, tmp_path / "left", model)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("interrupted", [False, True])
def test_old_results_are_put_back_if_new_ones_cannot_take_their_place(
    small_triton: TritonServer, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupted: bool
) -> None:
    """The disk refuses the second of the two renamings, or Ctrl-C comes between them."""
    folder, rename = tmp_path / "out", Path.rename
    folder.mkdir()
    (folder / "mine").write_text("a result")
    refused: list[Path] = []

    def rename_but_once(self: Path, target: Path) -> Path:
        if target == folder and not refused:
            refused.append(self)
            assert not folder.exists()
            raise KeyboardInterrupt if interrupted else OSError(errno.EIO, "I/O error")
        return rename(self, target)

    with TritonModel(small_triton.url) as model:
        loaded = load_input(small, model.spec)
        monkeypatch.setattr(Path, "rename", rename_but_once)
        with pytest.raises(KeyboardInterrupt if interrupted else OutputError):
            run_job(loaded, folder, model, overwrite=True)
    assert refused
    assert {path.name for path in tmp_path.iterdir()} == {"out", small.name}
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"mine": "a result"}


@pytest.mark.parametrize("text", ["", "1,2,3,4,5", "a,b,c,d,e,f", "front=1,2,3,4,5,6", "1,2,3,4,5,inf"])
def test_what_is_no_box(text: str) -> None:
    with pytest.raises(InputError):
        parse_roi(text)


def test_a_file_that_does_not_say_what_is_left_is_segmented_only_if_told(
    triton: TritonServer, crop: Path, tmp_path: Path
) -> None:
    image = nib.load(crop)
    image.header["qform_code"] = image.header["sform_code"] = 0
    blind = tmp_path / "blind.nii"
    blind.write_bytes(nib.Nifti1Image(np.asarray(image.dataobj), None, image.header).to_bytes())
    arguments = ("segment", blind, "-o", tmp_path / "out", "--url", triton.url, "--model", SHIPPED)
    refused(run_here(*arguments), "neither qform nor sform, so that left and right are unknown")
    assert run_here(*arguments, "--assume-ras").returncode == 0
    header = nib.load(tmp_path / "out" / "blind" / "mask.nii.gz").header
    assert (int(header["qform_code"]), int(header["sform_code"])) == (0, 0)


def test_touching_boxes_overlap() -> None:
    from swinunet.client.rois import require_apart

    require_apart((Roi((0, 1, 0, 1, 0, 1)), Roi((2, 3, 0, 1, 0, 1))))
    with pytest.raises(GeometryError):
        require_apart((Roi((0, 2, 0, 1, 0, 1)), Roi((2, 3, 0, 1, 0, 1))))
