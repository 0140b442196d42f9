"""A volume that is larger than the model's field of view is refused from its header, before Triton starts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import run_swinunet
from dicom_series import make_series, save
from small_model import SMALL_SPEC, write_small_repository

from swinunet.client.early_refusal import refuse_too_large
from swinunet.client.study_list import studies_at
from swinunet.foundation.errors import GeometryError, InputError
from swinunet.imaging import PlaneSlices, Volume, write_nifti
from swinunet.imaging.slices import require_in_view

SPANS = r"choose a box around the organ \(--roi\) in the volume, which spans L -50 to -11, P 20 to 59, S 0 to 9 mm"


def large_volume() -> Volume:
    affine = np.eye(4)
    affine[:3, 3] = (-50, 20, 0)
    return Volume(np.random.default_rng(0).normal(size=(40, 40, 10)).astype(np.float32), affine)


def test_the_header_says_what_the_voxels_would() -> None:
    volume = large_volume()
    messages = []
    for refuse in (
        lambda: PlaneSlices(volume, SMALL_SPEC),
        lambda: require_in_view(volume.shape, volume.affine, SMALL_SPEC),
    ):
        with pytest.raises(GeometryError, match=f"sagittal slices of 10 x 40 mm do not fit .*; {SPANS}") as refused:
            refuse()
        messages.append(str(refused.value))
    assert messages[0] == messages[1]
    require_in_view((40, 32, 10), volume.affine, SMALL_SPEC)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_nifti_file_is_refused(tmp_path: Path, suffix: str) -> None:
    write_nifti(large_volume(), tmp_path / f"large{suffix}")
    [study] = studies_at([tmp_path / f"large{suffix}"])
    with pytest.raises(GeometryError, match=rf"large{suffix}: sagittal slices of .*; {SPANS}"):
        refuse_too_large(study, SMALL_SPEC)


def test_a_series_is_refused_and_one_that_fits_is_not_scanned_again(tmp_path: Path) -> None:
    save(tmp_path / "study", make_series())
    [study] = studies_at([tmp_path / "study"])
    found = refuse_too_large(study, SMALL_SPEC)
    assert found.scan is not None
    assert refuse_too_large(found, SMALL_SPEC).scan is found.scan
    save(tmp_path / "large", make_series(pixel_spacing_mm=(9.0, 90.0)))
    [large] = studies_at([tmp_path / "large"])
    with pytest.raises(GeometryError, match=r"large: .* do not fit the model's field of view of 32 x 32 mm"):
        refuse_too_large(large, SMALL_SPEC)


def test_what_cannot_be_read_is_refused_early_too(tmp_path: Path) -> None:
    (tmp_path / "broken.nii").write_bytes(b"no header")
    [study] = studies_at([tmp_path / "broken.nii"])
    with pytest.raises(InputError, match=r"broken\.nii: not a readable NIfTI file"):
        refuse_too_large(study, SMALL_SPEC)


def test_segment_says_so_without_a_server(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_nifti(large_volume(), tmp_path / "large.nii.gz")
    repository = write_small_repository(tmp_path / "repository")

    def started(*_: object, **__: object) -> None:
        raise AssertionError("Triton is started for a volume that is refused")

    monkeypatch.setattr("swinunet.serving.TritonServer.start", started)
    arguments = ("segment", tmp_path / "large.nii.gz", "-o", tmp_path / "out", "--repository", repository)
    status, out, err = run_swinunet(capfd, monkeypatch, *arguments)
    assert (status, out) == (1, "")
    assert err.startswith(f"swinunet: {tmp_path / 'large.nii.gz'}: sagittal slices of 10 x 40 mm do not fit")
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_inspect_says_what_segment_will(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "large", make_series(pixel_spacing_mm=(9.0, 90.0)))
    (tmp_path / "spec.json").write_text(SMALL_SPEC.to_json())
    [study] = studies_at([tmp_path / "large"])
    with pytest.raises(GeometryError) as refused:
        refuse_too_large(study, SMALL_SPEC)
    fault = str(refused.value).removeprefix(f"{study.path}: ")
    options = ("inspect", tmp_path / "large", "--spec", tmp_path / "spec.json")
    status, out, _ = run_swinunet(capfd, monkeypatch, *options)
    assert (status, f"as a whole, segment refuses what is taken: {fault}" in out) == (0, True)
    _, out, _ = run_swinunet(capfd, monkeypatch, *options, "--json")
    assert json.loads(out)["too_large"] == fault


@pytest.mark.parametrize("verb", [("segment", "volume.nii"), ("batch", "--tree", ".")], ids=["segment", "batch"])
def test_results_in_the_model_repository_are_refused(
    verb: tuple[str, ...], tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Triton would take the folder for a model without a config, and not start."""
    repository = write_small_repository(tmp_path / "repository")
    write_nifti(large_volume(), tmp_path / "volume.nii")
    monkeypatch.chdir(tmp_path)
    status, _, said = run_swinunet(capfd, monkeypatch, *verb, "-o", "repository/out", "--repository", "repository")
    assert (status, said.count("\n")) == (1, 1)
    assert "repository/out: lies in the model repository repository" in said
    assert [path.name for path in repository.iterdir()] == ["small"]
