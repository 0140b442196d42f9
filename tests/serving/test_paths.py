"""A repository, or TMPDIR, in a folder whose name would break Triton's launcher is served like any other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_model import write_small_repository

from swinunet.serving import ServingError, TritonServer

pytestmark = pytest.mark.usefixtures("tritonserver", "nothing_left")

NAMES = ["with space", "models (1)", "it's", "Modèle", "cost$5", "a;touch RAN;b", "a&touch RAN&b", "`touch RAN`", 'a"b']
BYTES = [os.fsdecode("Modèle".encode("latin-1")), os.fsdecode("脑".encode("gbk"))]


@pytest.mark.parametrize("name", NAMES + BYTES, ids=ascii)
def test_a_repository_with_such_a_name_is_served(tmp_path: Path, name: str) -> None:
    lines: list[str] = []
    with TritonServer(write_small_repository(tmp_path / name), log=lines.append, start_timeout=600) as server:
        assert [model.name for model in server.models] == ["small"]
    assert not list(tmp_path.rglob("RAN"))
    assert not any("swinunet-triton-" in line for line in lines)
    for line in lines:
        line.encode()  # it can be printed


@pytest.mark.parametrize("name", ["models (1)", BYTES[0]], ids=ascii)
def test_a_failure_names_the_repository_as_it_was_given(tmp_path: Path, name: str) -> None:
    repository = write_small_repository(tmp_path / name)
    (repository / "small" / "1" / "model.onnx").unlink()
    with pytest.raises(ServingError, match=r"model.onnx is missing; export") as caught:
        TritonServer(repository, start_timeout=600).start()
    assert "swinunet-triton-" not in str(caught.value)
    if name.isascii():
        assert str(repository / "small" / "1" / "model.onnx") in str(caught.value)


SERVE = """
import sys
from pathlib import Path
from swinunet.serving import TritonServer
with TritonServer(Path(sys.argv[1]), start_timeout=600) as server:
    print(server.check()[0].name)
"""


@pytest.mark.parametrize("name", ["tmp (1)", "tmp;touch RAN;", "Répertoire", BYTES[0]], ids=ascii)
def test_a_tmpdir_with_such_a_name_is_no_hindrance(tmp_path: Path, small_repository: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    command = [sys.executable, "-c", SERVE, str(small_repository)]
    environment = os.environ | {"TMPDIR": str(folder)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert (done.stdout.strip(), done.returncode) == ("small", 0), done.stderr
    assert list(folder.iterdir()) == []


def test_a_model_whose_own_name_has_such_a_character_is_refused_at_once(tmp_path: Path) -> None:
    repository = write_small_repository(tmp_path / "repository")
    (repository / "small").rename(repository / "small (1)")
    with pytest.raises(ServingError, match=r"small \(1\).*letters, digits"):
        TritonServer(repository).start()
