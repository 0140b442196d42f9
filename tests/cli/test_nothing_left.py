"""A verb that refuses its input leaves no folder behind that it made for results and did not fill."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from command_line import run_here
from labelled_folders import make_cases, put

from swinunet.cli import app
from swinunet.foundation.files import nothing_empty_left

# Each verb that writes to a place it is given, with an input that is not there: what is typed, and what is answered.
WRONG = {
    "batch": ("batch --tree nowhere -o new/out", "nowhere: no such folder"),
    "benchmark": ("benchmark --repository nowhere -o new/out", "nowhere is no folder"),
    "convert": ("convert nowhere new.nii.gz", "nowhere: no such file or folder"),
    "evaluate": ("evaluate nowhere.onnx data -o new/out", "nowhere.onnx: no such file"),
    "export": ("export nowhere --check --report new/out", "nowhere"),
    "import": ("import nowhere.pth -o new.safetensors --labels a", "nowhere.pth: no such file"),
    "segment": ("segment nowhere -o new/out", "nowhere: no such file or folder"),
    "train": ("train nowhere -o new/out", "nowhere: no such folder"),
    "tune": ("tune --throughput --repository nowhere -o new/out", "nowhere is no folder"),
}
FURTHER = {
    "segment, a server": (
        "segment data/images/case_0.nii.gz -o new/out --url 127.0.0.1:1 --timeout connect=0.2",
        "no Triton answers",
    ),
    "segment, a tree": ("segment --tree nowhere -o new/out", "nowhere: no such folder"),
    "evaluate, a server": ("evaluate 127.0.0.1:1 data -o new/out", "no Triton answers"),
    "evaluate, data": ("evaluate nowhere.onnx nowhere -o new/out", "nowhere: no such folder"),
    "benchmark, data": ("benchmark --data nowhere -o new/out", "nowhere: no such folder"),
}


def test_every_verb_that_writes_to_a_given_place_is_tried() -> None:
    group = typer.main.get_command(app)
    verbs = {name: group.get_command(None, name) for name in group.list_commands(None)}  # type: ignore[attr-defined]
    writing = {name for name, verb in verbs.items() if {"output", "report"} & {each.name for each in verb.params}}
    assert writing == WRONG.keys()


@pytest.mark.parametrize(("command", "says"), [*WRONG.values(), *FURTHER.values()], ids=[*WRONG, *FURTHER])
def test_an_input_that_is_not_there_leaves_nothing(
    command: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, case in make_cases(1, shape=(8, 8, 2)).items():
        put(case.modalities[0], case.affine, tmp_path / "data" / "images" / f"{name}.nii.gz")
        put(case.labels, case.affine, tmp_path / "data" / "labels" / f"{name}.nii.gz")
    monkeypatch.chdir(tmp_path)
    done = run_here(*command.split())
    assert done.returncode == 1
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_only_what_is_new_and_empty_goes(tmp_path: Path) -> None:
    there, filled, deep = tmp_path / "there", tmp_path / "new" / "filled", tmp_path / "deep" / "out"
    there.mkdir()

    def fail() -> None:
        with nothing_empty_left([there, filled, deep]):
            filled.mkdir(parents=True)
            (filled / "result").touch()
            deep.mkdir(parents=True)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == [
        "new", "new/filled", "new/filled/result", "there",
    ]  # fmt: skip


def test_a_verb_that_ends_well_keeps_what_it_made(tmp_path: Path) -> None:
    with nothing_empty_left([tmp_path / "out"]):
        (tmp_path / "out").mkdir()
    assert (tmp_path / "out").is_dir()
