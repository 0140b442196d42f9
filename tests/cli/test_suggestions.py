"""A name or a path that is not there: the error says which one is, on the terminal and nowhere else."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from command_line import run_here

from swinunet.cli.suggestions import suggested_paths
from swinunet.client.study_list import studies_below
from swinunet.foundation.errors import InputError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a study, a volume, a spec, boxes, data, results and a configuration."""
    for name in ("study", "archive", "data", "results", "checkpoints"):
        (tmp_path / name).mkdir()
    for name in ("case.nii.gz", "boxes.csv", "spec.json", "gateway.toml", "checkpoints/best.safetensors"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("inspect stduy", "study"),
        ("convert stduy out.nii.gz", "study"),
        ("segment case.nii -o out", "case.nii.gz"),
        ("segment study -o out --rois boxs.csv", "boxes.csv"),
        ("segment --tree archve -o out", "archive"),
        ("batch --tree archve -o out", "archive"),
        ("view reslts", "results"),
        ("train dta -o run", "data"),
        ("train data -o run --spec spce.json", "spec.json"),
        ("import checkpoints/bset.safetensors -o ours.safetensors", "checkpoints/best.safetensors"),
        ("gateway --config gatway.toml", "gateway.toml"),
    ],
)
def test_the_nearest_path_is_named(line: str, meant: str) -> None:
    done = run_here(*line.split())
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith(f"; did you mean {meant}?\n")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("train data -o run --recipe smal", "small"),
        ("train data -o run --loss dice-focl", "dice-focal"),
        ("export a.safetensors --engine openvino-f23", "openvino-f32"),
        ("export a.safetensors --serve-with openvino-bf61", "openvino-bf16"),
        ("export --rollback swin_unet_hipocampus", "swin_unet_hippocampus"),
        ("benchmark --engines openvino-f23", "openvino-f32"),
        ("benchmark trainig", "training"),
        ("segment case.nii.gz -o out --outputs seq", "seg"),
        ("serve --config cpuu", "cpu"),
        ("gateway statu", "status"),
    ],
)
def test_the_nearest_name_is_said(line: str, meant: str) -> None:
    done = run_here(*line.split())
    assert done.returncode == 1
    assert f"; did you mean '{meant}'?" in done.stderr


def test_an_option_and_a_verb_are_said() -> None:
    for line, meant in (("segment x --overwriet", "--overwrite"), ("trian", "train")):
        done = run_here(*line.split())
        assert done.returncode == 2
        assert meant in done.stderr


def test_what_is_like_nothing_is_not_guessed(folder: Path) -> None:
    done = run_here("inspect", "quite_else")
    assert done.stderr == "swinunet: quite_else: no such file or folder\n"


def test_names_of_other_files_stay_out_of_messages_that_are_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A neighbour's folder may be called as a patient; only the person at the terminal is told of it."""
    (tmp_path / "Doe^Jane").mkdir()
    asked = tmp_path / "Doe^Jan"
    with caplog.at_level(logging.DEBUG), pytest.raises(InputError) as refused, suggested_paths([asked]):
        studies_below(asked)
    assert "Doe^Jane" not in str(refused.value)
    assert "Doe^Jane" not in caplog.text
    assert refused.value.__notes__ == [f"did you mean {tmp_path / 'Doe^Jane'}?"]
