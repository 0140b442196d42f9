"""The gate's served half without a Triton: what it would be given, and what of an answer is accepted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from answering_server import answering_server
from small_model import SMALL_SPEC, small_images

from swinunet.export.gate import served
from swinunet.export.gate.served import infer, served_model
from swinunet.export.repository.served_configs import CPU_CONFIG, make_configs
from swinunet.foundation.errors import ParityError
from swinunet.serving.canary import connect


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """A version folder with a file of each kind."""
    folder = tmp_path / "exported"
    (folder / "__pycache__").mkdir(parents=True)
    for name in ("model.py", "model.onnx", "canary.npz", "gate.json", "__pycache__/model.pyc"):
        (folder / name).write_text(f"content of {name}")
    return folder


def test_triton_is_given_the_version_in_a_repository_of_its_own(version: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, object] = {}

    class Server:
        url = "here:1"

        def __init__(self, repository: Path) -> None:
            self.repository = repository

        def __enter__(self) -> Server:
            folder = self.repository / "small" / "7"
            seen["models"] = sorted(path.name for path in self.repository.iterdir())
            seen["config"] = (self.repository / "small" / "configs" / "cpu.pbtxt").read_text()
            seen["links"] = {path.name: path.is_symlink() for path in folder.iterdir()}
            seen["read"] = {path.name: path.read_text() for path in folder.iterdir()}
            seen["repository"] = self.repository
            return self

        def __exit__(self, *error: object) -> None:
            seen["left"] = self.repository.exists()

    class Client:
        def infer(self, name: str, inputs: list, version: str, *, outputs: list, client_timeout: float) -> object:
            seen["asked"] = (name, version, [each.name() for each in outputs])
            raise RuntimeError("asked")

    @contextmanager
    def connected(url: str) -> Iterator[Client]:
        assert url == "here:1"
        yield Client()

    monkeypatch.setattr(served, "TritonServer", Server)
    monkeypatch.setattr(served, "connect", connected)
    monkeypatch.chdir(version.parent)
    configs = make_configs(SMALL_SPEC)
    with served_model(Path("exported"), "small", 7, configs) as ask, pytest.raises(RuntimeError, match="asked"):
        ask(small_images(2))
    assert seen["models"] == ["small"]
    assert seen["config"] == configs.texts[CPU_CONFIG]
    assert seen["links"] == {"model.py": False, "model.onnx": True, "canary.npz": True}
    assert seen["read"] == {name: f"content of {name}" for name in ("model.py", "model.onnx", "canary.npz")}
    assert seen["asked"] == ("small", "7", ["labels", "probabilities"])
    assert seen["left"]
    assert not Path(str(seen["repository"])).exists()


@pytest.mark.parametrize(("answers", "named"), [("2", "2"), ("", "?"), ("11", "11")])
def test_an_answer_of_another_version_or_of_none_is_refused(answers: str, named: str) -> None:
    image, labels = small_images(3), np.ones((3, 32, 32), np.uint8)
    with (
        answering_server(labels, answers) as url,
        connect(url) as client,
        pytest.raises(ParityError) as caught,
    ):
        infer(client, "small", 1, image)
    assert str(caught.value) == f"version {named} of small answered for version 1"


def test_both_outputs_come_as_they_were_sent() -> None:
    labels = np.random.default_rng(0).integers(0, 3, (3, 32, 32)).astype(np.uint8)
    with answering_server(labels, "1") as url, connect(url) as client:
        found = infer(client, "small", 1, small_images(3))
    np.testing.assert_array_equal(found.labels, labels)
    np.testing.assert_array_equal(found.probabilities, np.ones((3, 1, 32, 32), np.float16))
    assert found.probabilities.dtype == np.float16
