"""Nothing half-written stays: kills at random moments, full disks, leftovers, and names that file systems refuse."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from breakable_triton import small_study
from command_line import run_swinunet
from dicom_series import make_series, save

from swinunet.client.job import folders_called
from swinunet.client.results import nifti_writer, report_writer
from swinunet.client.results.formats import FILE_NAMES, SUMMARY_NAMES
from swinunet.client.results.report import read_report
from swinunet.client.study_list import studies_below
from swinunet.foundation.leftovers import PREFIX, remove_leftovers, replace_folder, work_folder
from swinunet.imaging import write_nifti
from swinunet.serving import TritonServer

KILLS = int(os.environ.get("SWINUNET_KILLS", "8"))
Run = Callable[..., tuple[int, str, str]]
LIGHT = ("--outputs", "nifti,json")


@pytest.fixture
def run(small_triton: TritonServer, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """`swinunet segment ... --url` of the small model's server."""
    return lambda *arguments: run_swinunet(capfd, monkeypatch, "segment", *arguments, "--url", small_triton.url)


def write_tree(root: Path) -> Path:
    """Two NIfTI files and two series that the small model takes."""
    for seed in range(2):
        root.mkdir(exist_ok=True)
        write_nifti(small_study(24, seed), root / f"case{seed}.nii.gz")
        stored = np.random.default_rng(seed).integers(0, 1000, (12, 20, 20)).astype(np.uint16)
        save(root / f"brain{seed}", make_series(stored, pixel_spacing_mm=(1.0, 1.0)))
    return root


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.startswith(".")]


def test_kills_at_random_moments_leave_nothing_that_the_next_run_does_not_heal(
    small_triton: TritonServer, tmp_path: Path, run: Run
) -> None:
    """SWINUNET_KILLS=100 kills as many. The results lie in the tree, where half-written ones would be studies."""
    tree, moments = write_tree(tmp_path / "tree"), random.Random(20)
    command = [sys.executable, "-m", "swinunet", "segment", "--tree", tree, "-o", tree / "out", "--resume"]
    command += ["--url", small_triton.url]
    killed = 0
    for _ in range(KILLS):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline and not leftovers(tree / "out"):
            time.sleep(0.005)  # until it writes: imports take most of its time
        time.sleep(moments.uniform(0, 0.6))
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        if len(list((tree / "out").glob("*/report.json"))) == 4:
            shutil.rmtree(tree / "out")
    assert killed, "not one was killed before its end"
    status, said, errors = run("--tree", tree, "-o", tree / "out", "--resume")
    assert (status, errors) == (0, ""), said
    assert "0 refused" in said
    assert not leftovers(tree)
    folders = {path.name for path in (tree / "out").iterdir()}
    assert folders == {"brain0", "brain1", "case0", "case1", *SUMMARY_NAMES}
    for name in folders - set(SUMMARY_NAMES):
        report = read_report(tree / "out" / name / "report.json")
        assert not report.failed
        assert {path.name for path in (tree / "out" / name).iterdir()} == set(report.outputs.values())
    status, said, _ = run("--tree", tree, "-o", tree / "out", "--resume")
    assert (status, "0 done, 4 skipped, 0 refused" in said) == (0, True)


def test_leftovers_go_and_what_somebody_owns_stays(tmp_path: Path) -> None:
    dead = tmp_path / f"{PREFIX}dead"
    (dead / "new").mkdir(parents=True)
    (dead / "lock").touch()
    (dead / "new" / "mask.nii.gz").touch()
    (tmp_path / f"{PREFIX}without_lock").mkdir()
    (tmp_path / ".other").mkdir()
    with work_folder(tmp_path) as alive:
        (alive / "new").mkdir()
        remove_leftovers(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {alive.name, ".other"}
        assert (alive / "new").is_dir()
    assert [path.name for path in tmp_path.iterdir()] == [".other"]


def test_a_leftover_that_another_process_owns_stays(tmp_path: Path) -> None:
    folder = tmp_path / f"{PREFIX}x"
    folder.mkdir()
    script = "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.flock(f, 2); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script, folder / "lock"], stdout=subprocess.PIPE) as owner:
        assert owner.stdout
        owner.stdout.readline()
        remove_leftovers(tmp_path)
        assert folder.is_dir()
        owner.kill()
    remove_leftovers(tmp_path)
    assert not folder.exists()


def test_what_was_being_replaced_comes_back(tmp_path: Path) -> None:
    dead = tmp_path / f"{PREFIX}dead"
    (dead / "old" / "case").mkdir(parents=True)
    (dead / "old" / "case" / "report.json").write_text("whole")
    (dead / "old" / "done").mkdir()
    (tmp_path / "done").mkdir()
    (tmp_path / "done" / "new").touch()
    remove_leftovers(tmp_path)
    assert (tmp_path / "case" / "report.json").read_text() == "whole"
    assert (tmp_path / "done" / "new").exists()
    assert not leftovers(tmp_path)


def test_a_replacement_that_fails_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "case").mkdir()
    (tmp_path / "case" / "whole").touch()
    with work_folder(tmp_path) as work, pytest.raises(OSError, match="No such file"):
        replace_folder(tmp_path / "case", work / "missing", work)
    assert (tmp_path / "case" / "whole").exists()


def test_leftovers_are_no_studies_and_are_not_removed_on_a_file_system_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = write_tree(tmp_path / "tree")
    before = [study.name for study in studies_below(tree)]
    shutil.copytree(tree / "brain0", tree / "out" / f"{PREFIX}dead" / "new")
    (tree / "out" / f"{PREFIX}dead" / "new" / "segmentation.dcm").write_bytes(b"\0" * 128 + b"DICM half")
    assert [study.name for study in studies_below(tree)] == before

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    remove_leftovers(tree / "out")
    assert (tree / "out" / f"{PREFIX}dead").is_dir()
    folders_called(["a"], tree / "out", False)


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("writer", [nifti_writer, report_writer])
def test_a_full_disk_leaves_nothing_and_resume_goes_on(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, writer: object
) -> None:
    write_nifti(small_study(4), tmp_path / "case.nii.gz")
    with monkeypatch.context() as patch:
        if writer is nifti_writer:
            patch.setattr("nibabel.save", full_disk)
        else:
            patch.setattr(Path, "write_text", full_disk)
        status, _, errors = run(tmp_path / "case.nii.gz", "-o", tmp_path / "out", *LIGHT)
    assert (status, errors.count("\n"), "No space left on device" in errors) == (1, 1, True), errors
    assert "unexpected" not in errors
    assert not (tmp_path / "out").exists()
    assert run(tmp_path / "case.nii.gz", "-o", tmp_path / "out", *LIGHT, "--resume")[0] == 0


def test_outputs_without_a_report_are_made_anew(tmp_path: Path, run: Run) -> None:
    """As earlier versions left them on a full disk."""
    write_nifti(small_study(4), tmp_path / "case.nii.gz")
    folder = tmp_path / "out" / "case"
    folder.mkdir(parents=True)
    (folder / FILE_NAMES["nifti"]).write_bytes(b"half")
    assert run(tmp_path / "case.nii.gz", "-o", tmp_path / "out", *LIGHT, "--resume")[0] == 0
    assert not read_report(folder / "report.json").failed
    (folder / "report.json").unlink()
    (folder / "notes.txt").touch()
    status, _, errors = run(tmp_path / "case.nii.gz", "-o", tmp_path / "out", *LIGHT, "--resume")
    assert (status, "holds no whole result" in errors) == (1, True)
    assert (folder / "notes.txt").exists()


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o700), (0o022, 0o755), (0o002, 0o775)])
def test_result_folders_follow_the_umask(tmp_path: Path, run: Run, umask: int, mode: int) -> None:
    write_nifti(small_study(4), tmp_path / "case.nii.gz")
    before = os.umask(umask)
    try:
        assert run(tmp_path / "case.nii.gz", "-o", tmp_path / "out", *LIGHT)[0] == 0
    finally:
        os.umask(before)
    assert (tmp_path / "out" / "case").stat().st_mode & 0o777 == mode
    assert (tmp_path / "out" / "case" / "report.json").stat().st_mode & 0o777 == mode & 0o666


ODD_NAMES = {
    "latin1": "étude_é".encode("latin-1"), "gbk": "头部".encode("gbk"), "long": b"n" * 250,
    "long umlauts": "ü".encode() * 125, "newline": b"a\nb", "escape": b"a\x1b[31mb",
}  # fmt: skip


@pytest.mark.parametrize("kind", ODD_NAMES)
def test_odd_names_have_results_and_resume_knows_them(tmp_path: Path, run: Run, kind: str) -> None:
    folder = tmp_path / os.fsdecode(ODD_NAMES[kind])
    stored = np.random.default_rng(0).integers(0, 1000, (5, 20, 20)).astype(np.uint16)
    save(folder, make_series(stored, pixel_spacing_mm=(1.0, 1.0)))
    status, said, errors = run(folder, "-o", tmp_path / "out")
    assert (status, errors) == (0, ""), said
    (result,) = (tmp_path / "out").iterdir()
    result.name.encode()  # is text
    assert {path.name for path in result.iterdir()} == set(FILE_NAMES.values())
    status, said, errors = run("--tree", folder, "-o", tmp_path / "more", *LIGHT)
    assert (status, errors) == (0, "")
    status, said, errors = run(folder, "-o", tmp_path / "out", "--resume")
    assert (status, errors, "segmented already" in " ".join(said.split())) == (0, "", True)


def test_standard_output_that_is_full_is_one_line(small_triton: TritonServer, tmp_path: Path) -> None:
    write_nifti(small_study(4), tmp_path / "case.nii.gz")
    command = [sys.executable, "-m", "swinunet", "segment", tmp_path / "case.nii.gz", "-o", tmp_path / "out", *LIGHT]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*command, "--url", small_triton.url], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    said = "cannot write to standard output (No space left on device)"
    assert (done.returncode, done.stderr.count("\n"), said in done.stderr) == (1, 1, True), done.stderr
    assert (tmp_path / "out" / "case" / "report.json").is_file()
