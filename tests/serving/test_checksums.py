"""What is served is what was exported: a single flipped bit is refused by name, before Triton starts."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from shipped_model import SHIPPED

from swinunet.serving import ServingError, TritonServer
from swinunet.serving.canary import MIN_AGREEMENT, MIN_FOREGROUND_AGREEMENT, _compare
from swinunet.serving.checksums import check_files, served_version_folders, sha256_of_served_files

FLIPS = 40


@pytest.fixture(scope="module")
def version(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the version that is shipped."""
    (shipped,) = [folder for folder in served_version_folders(repository, "cpu") if folder.parent.name == SHIPPED]
    return Path(shutil.copytree(shipped, tmp_path_factory.mktemp("model") / shipped.name))


def test_the_shipped_version_is_what_its_gate_json_says(version: Path) -> None:
    assert check_files(version)
    listed = set(json.loads((version / "gate.json").read_text())["sha256"])
    assert listed == set(sha256_of_served_files(version)) >= {"model.onnx", "model_fp16.onnx", "model.py", "canary.npz"}


@pytest.mark.parametrize("name", ["model.onnx", "model_fp16.onnx", "model.py", "canary.npz"])
def test_every_flipped_bit_is_refused(version: Path, name: str) -> None:
    path = version / name
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    try:
        for place in random.integers(0, 8 * len(whole), FLIPS):
            damaged = bytearray(whole)
            damaged[place // 8] ^= 1 << (place % 8)
            path.write_bytes(damaged)
            with pytest.raises(ServingError, match=rf"{re.escape(str(path))} is damaged or was changed") as caught:
                check_files(version)
            assert "\n" not in str(caught.value)
    finally:
        path.write_bytes(whole)
    assert check_files(version)


def with_checksums(repository: Path) -> Path:
    """The small repository with a gate.json that has checksums; returns its version folder."""
    version = repository / "small" / "1"
    (version / "gate.json").write_text(json.dumps({"sha256": sha256_of_served_files(version)}))
    return version


def test_a_damaged_file_is_refused_before_triton_starts(
    small_repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = with_checksums(small_repository)
    damaged = bytearray((version / "model.onnx").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (version / "model.onnx").write_bytes(damaged)
    started: list[object] = []
    monkeypatch.setattr(TritonServer, "_launch", started.append)
    with pytest.raises(ServingError, match=r"model\.onnx is damaged"):
        TritonServer(small_repository).start()
    assert started == []


def test_a_version_that_is_not_served_is_not_looked_at(small_repository: Path) -> None:
    with_checksums(small_repository)
    shutil.copytree(small_repository / "small" / "1", small_repository / "small" / "2")
    (small_repository / "small" / "2" / "model.onnx").write_bytes(b"damaged")
    assert [folder.name for folder in served_version_folders(small_repository, "cpu")] == ["1"]


def test_without_checksums_it_is_served_with_a_warning(tritonserver: object, small_repository: Path) -> None:
    lines: list[str] = []
    with TritonServer(small_repository, log=lines.append) as server:
        assert server.models
    assert [line for line in lines if line.startswith("WARNING") and "has no checksums in gate.json" in line]


@pytest.mark.parametrize("text", ["", "[]", '{"sha256": 5}', "\x00"])
def test_a_gate_json_that_cannot_be_read_is_refused(small_repository: Path, text: str) -> None:
    version = small_repository / "small" / "1"
    (version / "gate.json").write_text(text)
    with pytest.raises(ServingError, match=r"gate.json cannot be read \(\w+\); export the model again"):
        check_files(version)


def labels_with_foreground(right: float, share: float = 0.02) -> tuple[np.ndarray, np.ndarray]:
    """(answered, expected) labels: `share` of all pixels are foreground, `right` of these are answered rightly."""
    expected = np.zeros((1, 100, 100), np.uint8)
    expected.reshape(-1)[: int(share * expected.size)] = 1
    answered = expected.copy()
    answered.reshape(-1)[: round((1 - right) * share * expected.size)] = 0
    return answered, expected


def test_the_canary_fails_on_its_foreground_alone() -> None:
    """Zeros are 98 % right where 2 % are foreground; the limit on all pixels alone would not see a lost organ."""
    answered, expected = labels_with_foreground(right=0.7, share=0.02)
    assert (answered == expected).mean() >= MIN_AGREEMENT
    with pytest.raises(ServingError, match=r"99.4% of all labels and 70.0% of the foreground agree"):
        _compare("model", answered, expected)


def test_the_canary_fails_on_all_pixels_alone() -> None:
    expected = np.ones((1, 100, 100), np.uint8)
    answered = expected.copy()
    answered.reshape(-1)[:200] = 2
    assert (answered == expected)[expected > 0].mean() >= MIN_FOREGROUND_AGREEMENT
    with pytest.raises(ServingError, match=r"98\.0% of all labels"):
        _compare("model", answered, expected)


def test_the_canary_passes_within_both_limits() -> None:
    _compare("model", *labels_with_foreground(right=0.95))


def test_a_canary_without_foreground_is_passed_by_nothing() -> None:
    """A server that answers background, whatever it is sent, would be right on it."""
    expected = np.zeros((1, 100, 100), np.uint8)
    for answered in (expected.copy(), expected + 1):
        with pytest.raises(ServingError, match=r"0\.0% of the foreground agree"):
            _compare("model", answered, expected)
