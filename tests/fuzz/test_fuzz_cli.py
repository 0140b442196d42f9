"""The nastiest inputs through the command line: one line each, no traceback, nothing left, no patient."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import run_swinunet
from fuzz_mutations import mutated
from fuzz_reading import write_input
from fuzz_seeds import SENTINELS
from shipped_model import SHIPPED

from swinunet.serving import TritonServer


def _case(name: str) -> Callable[[Path], Path]:
    return lambda folder: write_input(*mutated(name), folder)


def _slip(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "slip.zip", "w") as archive:
        archive.writestr("../../SECRET.dcm", mutated("explicit/truncate/100")[1])
    return folder / "slip.zip"


def _bomb(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("IM0001.dcm", bytes(100 << 20))
    return folder / "bomb.zip"


def _link_to_itself(folder: Path) -> Path:
    (folder / "IM0001.dcm").symlink_to(folder / "IM0001.dcm")
    return folder


DICOM: dict[str, Callable[[Path], Path]] = {
    "cut header": _case("explicit/truncate/30"),
    "cut pixels": _case("rle/truncate/90"),
    "cut DICOMDIR": _case("dicomdir/truncate/80"),
    "cut archive": _case("zip/truncate/50"),
    "deep sequences": _case("explicit/nested/2"),
    "patient's name in bytes": _case("deflated/wrong-vr/191"),
    "another header's length": _case("rle/wrong-length/2"),
    "NaN geometry": _case("explicit/absurd-value/9"),
    "JPEG that kills GDCM": _case("jpeg-baseline/codestream/78"),
    "archive's nameless member": _case("zip/field/47"),
    "DICOMDIR to elsewhere": _case("dicomdir/name/0"),
    "zip slip": _slip,
    "zip bomb": _bomb,
    "link to itself": _link_to_itself,
}
NIFTI = {
    "cut": _case("nifti/truncate/50"),
    "cut gzip": _case("nifti-gz/truncate/70"),
    "NaN affine": _case("nifti-gz/field/13"),
}


def _silent_and_empty(results: Path, said: str, allowed_lines: int) -> None:
    """Nothing written, no patient, no traceback, and no more than so many lines."""
    assert list(results.iterdir()) == []
    assert not any(sentinel in said for sentinel in SENTINELS)
    assert "Traceback" not in said
    assert "unexpected" not in said
    assert said.count("\n") == allowed_lines, said


@pytest.mark.parametrize("name", DICOM)
def test_inspect_and_convert(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, results = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    results.mkdir()
    path = DICOM[name](folder)
    before = sorted(tmp_path.rglob("*"))
    status, out, err = run_swinunet(capfd, monkeypatch, "convert", path, results / "volume.nii.gz")
    assert (status, out) == (1, "")
    assert err.startswith("swinunet: ")
    _silent_and_empty(results, err, 1)
    status, out, err = run_swinunet(capfd, monkeypatch, "inspect", path)
    assert (bool(out), bool(err)) == ((True, False) if status == 0 else (False, True))
    _silent_and_empty(results, out + err, out.count("\n") + status)
    assert sorted(tmp_path.rglob("*")) == before


def test_segment(
    triton: TritonServer, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = []
    for number, write in enumerate((DICOM | NIFTI).values()):
        folder = tmp_path / "in" / str(number)
        folder.mkdir(parents=True)
        paths.append(write(folder))
    results = tmp_path / "out"
    capfd.readouterr()
    status, out, err = run_swinunet(
        capfd, monkeypatch, "segment", *paths, "-o", results, "--url", triton.url, "--model", SHIPPED
    )
    assert status == 1
    assert f"0 done, 0 skipped, {len(paths)} refused" in out
    assert f"{len(paths)} of {len(paths)} inputs were not wholly segmented" in err
    for name in ("summary.csv", "summary.json"):
        said = (results / name).read_text()
        assert not any(sentinel in said for sentinel in SENTINELS)
        (results / name).unlink()
    _silent_and_empty(results, err, len(paths) + 1)
