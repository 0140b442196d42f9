"""What `swinunet benchmark` refuses: in one line, before anything is measured."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import run_benchmark as run_main
from small_model import SMALL_SPEC


def empty(repository: Path) -> list[str]:
    shutil.rmtree(repository / SMALL_SPEC.name)
    return []


def second_model(repository: Path) -> list[str]:
    shutil.copytree(repository / SMALL_SPEC.name, repository / "other")
    return []


def no_graph(repository: Path) -> list[str]:
    (repository / SMALL_SPEC.name / "1" / "model.onnx").unlink()
    return []


def broken_graph(repository: Path) -> list[str]:
    (repository / SMALL_SPEC.name / "1" / "model.onnx").write_bytes(b"no graph")
    return []


def unknown_model(_repository: Path) -> list[str]:
    return ["--model", "liver"]


def unknown_model_to_tune(_repository: Path) -> list[str]:
    return ["--tune", "liver"]


def nothing_to_tune(_repository: Path) -> list[str]:
    """The version has no gate."""
    return ["--tune", "small"]


def no_time(_repository: Path) -> list[str]:
    return ["--seconds", "0"]


def not_a_time(_repository: Path) -> list[str]:
    return ["--seconds", "nan"]


def unknown_engine(_repository: Path) -> list[str]:
    return ["--engines", "openvino-f32,openvino-f31"]


def unknown_recipe(_repository: Path) -> list[str]:
    return ["--recipe", "swin"]


def no_batch(_repository: Path) -> list[str]:
    return ["--batches", "0,1"]


def not_labelled(repository: Path) -> list[str]:
    return ["--data", str(repository / "nowhere")]


def output_is_a_file(repository: Path) -> list[str]:
    return ["-o", str(repository / SMALL_SPEC.name / "config.pbtxt")]


REFUSED: dict[Callable[[Path], list[str]], str] = {
    shutil.rmtree: "is no folder; expected a Triton model repository",  # type: ignore[dict-item]
    empty: "has no model (there is: none)",
    second_model: "has several models (other, small); choose one with --model",
    no_graph: "model.onnx is missing",
    broken_graph: "is not a readable ONNX file",
    unknown_model: "has no model 'liver' (there is: small)",
    unknown_model_to_tune: "has no model 'liver' (there is: small)",
    nothing_to_tune: "no engine can be tried here",
    no_time: "--seconds is 0; expected more than 0",
    not_a_time: "--seconds is nan; expected more than 0",
    unknown_engine: "there is no engine 'openvino-f31'; choose from pytorch-fp32,",
    unknown_recipe: "--recipe makes its own model",
    no_batch: "--batches is '0,1'; expected numbers from 1 to 64",
    not_labelled: "nowhere",
    output_is_a_file: "cannot write (File exists); choose another folder",
}


@pytest.mark.parametrize("spoil", REFUSED, ids=lambda spoil: spoil.__name__)
def test_bad_input_is_one_clear_line(
    spoil: Callable[[Path], list[str]],
    small_repository: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = [
        "--repository",
        str(small_repository),
        "-o",
        str(tmp_path / "report"),
        *(spoil(small_repository) or []),
    ]
    status, out, err = run_main(capfd, monkeypatch, *arguments)
    assert status == 1
    assert REFUSED[spoil] in err
    assert err.count("\n") == 1
    assert out == ""
    assert not (tmp_path / "report").exists() or spoil is output_is_a_file
