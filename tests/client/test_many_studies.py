"""`swinunet segment` on many studies: all of them, whatever one of them is, and on from where it stopped."""

from __future__ import annotations

import io
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from breakable_triton import signal_server, slow_down, small_study
from command_line import run_swinunet
from dicom_series import PATIENT, make_series, save
from server_traces import eventually
from small_model import write_small_repository

from swinunet.client import (
    Outcome,
    ServerOptions,
    Timeouts,
    TritonModel,
    folders_called,
    segment_studies,
    studies_at,
    studies_below,
)
from swinunet.client.results.formats import SUMMARY_NAMES
from swinunet.client.results.report import read_report
from swinunet.client.study_list import read_list, read_paths
from swinunet.foundation.errors import InputError
from swinunet.imaging import read_nifti, write_nifti
from swinunet.serving import TritonServer

Run = Callable[..., tuple[int, str, str]]
LIGHT = ("--outputs", "nifti,json")
HASTY = ServerOptions(Timeouts(connect=1, request=2, outage=0.5))


@pytest.fixture
def run(small_triton: TritonServer, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """`swinunet segment ... --url` of that server."""
    return lambda *arguments: run_swinunet(capfd, monkeypatch, "segment", *arguments, "--url", small_triton.url)


def write_case(path: Path, slices: int = 4, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(small_study(slices, seed), path)
    return path


def result_folders(out: Path) -> list[str]:
    """What lies in a folder of results but for the summary, which is there whole."""
    names = {path.name for path in out.iterdir()}
    assert names >= set(SUMMARY_NAMES)
    return sorted(names - set(SUMMARY_NAMES))


def write_brain(folder: Path, modality: str = "MR", seed: int = 0) -> Path:
    """A DICOM series that the small model takes."""
    stored = np.random.default_rng(seed).integers(0, 1000, (5, 20, 20)).astype(np.uint16)
    return save(folder, make_series(stored, pixel_spacing_mm=(1.0, 1.0), Modality=modality))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two NIfTI files, a series in two folders, two series in one folder, a CT, a broken file beside it, and a text."""
    root = tmp_path / "tree"
    write_case(root / "niftis" / "a.nii.gz")
    write_case(root / "niftis" / "b.nii.gz", seed=1)
    split = write_brain(root / "split" / "one")
    (root / "split" / "two").mkdir()
    for path in sorted(split.iterdir())[3:]:
        path.rename(root / "split" / "two" / path.name)
    write_brain(root / "both", seed=2)
    for path in write_brain(tmp_path / "other", seed=3).iterdir():
        shutil.move(path, root / "both" / f"other_{path.name}")
    write_brain(root / "ct", modality="CT")
    (root / "cut").mkdir()
    whole = next(iter((root / "ct").iterdir())).read_bytes()
    (root / "cut" / "cut.dcm").write_bytes(whole[:300])
    (root / "notes.txt").write_text("hello")
    return root


def test_a_tree_is_segmented_and_what_is_not_is_named(tree: Path, tmp_path: Path, run: Run) -> None:
    out = tmp_path / "out"
    status, said, errors = run("--tree", tree, "-o", out, *LIGHT)
    assert status == 1
    assert "5 done, 1 skipped, 1 refused" in said
    assert "its modality is CT, the model reads MR" in " ".join(said.replace("│", " ").split())
    assert "1 of 7 inputs were not wholly segmented" in errors
    assert "cut.dcm" in errors
    names = result_folders(out)
    assert [name.partition("-")[0] for name in names] == ["both", "both", "niftis_a", "niftis_b", "split"]
    for name in names:
        report = read_report(out / name / "report.json")
        assert report.trace
        assert read_nifti(out / name / "mask.nii.gz").shape == tuple(report.input.shape)
    assert read_report(out / "split" / "report.json").input.shape == (20, 20, 5)
    assert not any(value in said + errors for value in PATIENT.values())


def test_it_goes_on_where_it_stopped(tree: Path, tmp_path: Path, run: Run) -> None:
    shutil.rmtree(tree / "cut")
    out = tmp_path / "out"
    assert run("--tree", tree, "-o", out, *LIGHT)[0] == 0
    inodes = {path: path.stat().st_ino for path in out.rglob("report.json")}
    shutil.rmtree(out / "niftis_b")
    status, said, _ = run("--tree", tree, "-o", out, "--resume", *LIGHT)
    assert (status, "1 done, 5 skipped, 0 refused" in said) == (0, True)
    redone = {path for path in out.rglob("report.json") if path.stat().st_ino != inodes[path]}
    assert redone <= {out / "niftis_b" / "report.json"}
    assert (out / "niftis_b" / "mask.nii.gz").is_file()
    status, _, errors = run("--tree", tree, "-o", out, *LIGHT)
    assert (status, "exists already" in errors) == (1, True)


def test_paths_come_from_a_list_and_from_standard_input(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        write_case(tmp_path / f"{name}.nii.gz")
    (tmp_path / "list.txt").write_text("# two of them\n\na.nii.gz\nb.nii.gz\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO("c.nii.gz\n"))
    status, said, errors = run("-", "--list", "list.txt", "-o", "out")
    assert (status, errors) == (0, "")
    assert "3 done, 0 skipped, 0 refused" in said
    assert result_folders(tmp_path / "out") == ["a", "b", "c"]


def test_one_bad_study_stops_no_other(tmp_path: Path, run: Run) -> None:
    cases = [write_case(tmp_path / f"{n}.nii.gz", seed=n) for n in range(4)]
    cases[1].write_bytes(cases[1].read_bytes()[:200])
    write_nifti(small_study(4), cases[2])
    status, said, errors = run(*cases, tmp_path / "missing", "-o", tmp_path / "out")
    assert (status, "3 done, 0 skipped, 2 refused" in said) == (1, True)
    assert "1.nii.gz: not a readable NIfTI" in errors
    assert "missing: no such file or folder" in errors
    assert result_folders(tmp_path / "out") == ["0", "2", "3"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "nothing to segment"),
        (["--tree", "nowhere"], "nowhere: no such folder"),
        (["--tree", "empty"], "no DICOM series and no NIfTI file below it"),
        (["--list", "nowhere.txt"], "cannot read the list"),
        (["--list", "empty.txt"], "nothing to segment"),
        (["--overwrite", "--resume", "x"], "give one of the two"),
        (["--tree", "empty", "--series", "1.2"], "--tree takes every series"),
    ],
)
def test_nothing_to_do(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").touch()
    monkeypatch.chdir(tmp_path)
    status, _, errors = run(*arguments, "-o", "out")
    assert (status, says in errors, len(errors.strip().splitlines())) == (1, True, 1), errors
    assert not (tmp_path / "out").exists()


def test_a_server_that_is_lost_is_not_waited_for_by_every_study(tmp_path: Path) -> None:
    studies = studies_at([write_case(tmp_path / f"{n}.nii.gz", 20, n) for n in range(8)])
    folders = folders_called([study.name for study in studies], tmp_path / "out", False)
    repository = slow_down(write_small_repository(tmp_path / "repository"), 0.1)
    with (
        TritonServer(repository) as server,
        TritonModel(server.url, options=HASTY) as model,
        closing(segment_studies(studies, folders, model)) as ended,
    ):
        first = next(ended)
        signal_server(server, signal.SIGKILL)
        rest = list(ended)
    assert first.status == "done"
    assert sum("no Triton answers at" in outcome.reason for outcome in rest) >= 4
    assert sum("not begun" in outcome.reason for outcome in rest) >= 3
    done = {outcome.folder for outcome in [first, *rest] if outcome.status == "done"}
    assert set((tmp_path / "out").iterdir()) == done


def test_stopping_leaves_whole_results_only(small_triton: TritonServer, tmp_path: Path) -> None:
    studies = studies_at([write_case(tmp_path / f"{n}.nii.gz", 60) for n in range(6)])
    folders = folders_called([study.name for study in studies], tmp_path / "out", False)
    with TritonModel(small_triton.url) as model, closing(segment_studies(studies, folders, model)) as ended:
        next(ended)
    results = list((tmp_path / "out").iterdir())
    assert 1 <= len(results) < 6
    assert all((folder / "report.json").is_file() for folder in results)


def thrown_into(ended: Generator[Outcome, None, None]) -> Iterator[Outcome]:
    """What `segment_studies` yields after Ctrl-C, which it raises again at the end."""
    yield ended.throw(KeyboardInterrupt)
    yield from ended


def test_what_ended_well_is_told_after_an_interrupt_too(small_triton: TritonServer, tmp_path: Path) -> None:
    studies = studies_at([write_case(tmp_path / f"{n}.nii.gz", 60) for n in range(6)])
    folders = folders_called([study.name for study in studies], tmp_path / "out", False)
    with TritonModel(small_triton.url) as model, closing(segment_studies(studies, folders, model)) as ended:
        told = [next(ended)]
        with pytest.raises(KeyboardInterrupt):
            told.extend(thrown_into(ended))
    assert {outcome.folder for outcome in told} == set((tmp_path / "out").iterdir())
    assert 1 <= len(told) < 6
    assert {outcome.status for outcome in told} == {"done"}


def test_ctrl_c_says_what_is_left(small_triton: TritonServer, tmp_path: Path) -> None:
    cases = [write_case(tmp_path / f"{n}.nii.gz", 60) for n in range(20)]
    command = [sys.executable, "-m", "swinunet", "segment", *cases, "-o", tmp_path / "out", "--url", small_triton.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert eventually(lambda: (tmp_path / "out" / "0").exists() or (tmp_path / "out" / "1").exists(), 60)
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate(timeout=600)
    assert process.returncode == 130
    assert re.fullmatch(r"swinunet: interrupted with \d+ of 20 inputs to do; go on with --resume\n", errors), errors
    assert "Traceback" not in said
    results = result_folders(tmp_path / "out")
    assert 1 <= len(results) < 20
    assert all((tmp_path / "out" / name / "report.json").is_file() for name in results)


def test_a_progress_is_told_of_every_slice(small_triton: TritonServer, tmp_path: Path) -> None:
    studies = studies_at([write_case(tmp_path / f"{n}.nii.gz", 20) for n in range(3)])
    folders = folders_called([study.name for study in studies], tmp_path / "out", False)
    told: list[tuple[str, int, int]] = []
    with TritonModel(small_triton.url) as model:
        list(segment_studies(studies, folders, model, progress=lambda *step: told.append((step[0].name, *step[1:]))))
    assert {step for step in told if step[1] in (0, 20)} == {(name, done, 20) for name in "012" for done in (0, 20)}


def test_a_tree_that_holds_its_own_results_and_archives(tree: Path, run: Run) -> None:
    shutil.rmtree(tree / "cut")
    for archive, folder in {"one.zip": "ct", "two.ZIP": "both"}.items():
        with zipfile.ZipFile(tree / archive, "w") as packed:
            for path in (tree / folder).iterdir():
                packed.write(path, f"in/{path.name}")
        shutil.rmtree(tree / folder)
    with zipfile.ZipFile(tree / "texts.zip", "w") as packed:
        packed.writestr("notes.txt", "hello")
    (tree / "broken.zip").write_bytes(b"PK\x03\x04 and no more")
    (tree / ".aside").mkdir()
    write_case(tree / ".aside" / "mask.nii.gz")
    for again in (), ("--resume",):
        status, said, errors = run("--tree", tree, "-o", tree / "results", *LIGHT, *again)
        assert ("0 done, 6 skipped, 1 refused" if again else "5 done, 1 skipped, 1 refused") in said
        assert status == 1
        assert f"{tree / 'broken.zip'}: the archive cannot be read" in errors
    names = sorted(path.parent.name.partition("-")[0] for path in tree.rglob("report.json"))
    assert names == ["niftis_a", "niftis_b", "split", "two.ZIP", "two.ZIP"]


def test_results_that_could_not_be_told_from_images_do_not_go_into_the_tree(tree: Path, run: Run) -> None:
    status, _, errors = run("--tree", tree, "-o", tree / "out", "--outputs", "nifti")
    assert (status, "lies in the tree" in errors, (tree / "out").exists()) == (1, True, False)
    write_case(tree / "report" / "mask.nii.gz")
    (tree / "report" / "report.json").write_text("{}")
    assert "report_mask" in [study.name for study in studies_below(tree)]


@pytest.mark.parametrize("option", ["--overwrite", "--resume"])
def test_results_never_take_the_place_of_an_input(tmp_path: Path, run: Run, option: str) -> None:
    brain = write_brain(tmp_path / "brain")
    before = sorted(path.name for path in brain.iterdir())
    status, _, errors = run(brain, "-o", tmp_path, option)
    assert (status, errors.count("\n"), "an input lies there" in errors) == (1, 1, True)
    write_case(tmp_path / "deep" / "brain.nii.gz")
    status, _, errors = run("--tree", tmp_path / "deep", brain, "-o", tmp_path, option, *LIGHT)
    assert (status, errors.count("an input lies there")) == (1, 1)
    assert sorted(path.name for path in brain.iterdir()) == before


def test_no_two_inputs_share_a_folder(tmp_path: Path) -> None:
    folders = folders_called(["a", "a", "a-2", "b", "a"], tmp_path, False)
    assert [folder.name for folder in folders] == ["a", "a-2", "a-2-2", "b", "a-3"]


def test_names_may_be_in_capitals_and_hold_brackets(tmp_path: Path, run: Run) -> None:
    case = write_case(tmp_path / "a.nii.gz").rename(tmp_path / "[red]A.NII.GZ")
    status, said, errors = run(case, "-o", tmp_path / "out", *LIGHT)
    assert (status, errors) == (0, "")
    assert "[red]A.NII.GZ" in said
    assert "1 done" in run("--tree", tmp_path, case, "-o", tmp_path / "out", *LIGHT, "--resume")[1]


def test_lists_say_what_they_say(tmp_path: Path) -> None:
    assert read_paths(["a b/c\n", "  \n", "# no\n", "d"]) == [Path("a b/c"), Path("d")]
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not a list of paths"):
        read_list(tmp_path / "bytes")


def test_a_broken_file_beside_a_series_refuses_that_series_alone(tree: Path) -> None:
    shutil.copy(tree / "cut" / "cut.dcm", tree / "split" / "two" / "cut.dcm")
    studies = {study.name.partition("-")[0]: study for study in studies_below(tree)}
    assert studies["split"].scan is not None
    assert [file.path.name for file in studies["split"].scan.unreadable] == ["cut.dcm"]
    assert studies["ct"].scan is not None
    assert studies["ct"].scan.unreadable == ()
