"""The clients in docs/examples/, which know a model only by its Triton config, find what ours finds."""

from __future__ import annotations

import dataclasses
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from floors import ROOT
from small_model import SMALL_SPEC, write_small_repository

from swinunet.client import TritonModel
from swinunet.client.segmentation import segment_volume
from swinunet.imaging import ModelSpec, Volume, Window, ZScore
from swinunet.imaging.slices import PlaneSlices
from swinunet.samples.closed_network import free_port
from swinunet.serving import TritonServer

EXAMPLES = ROOT / "docs" / "examples"
MOST_LINES = 60
SLICES = 19  # more than a batch
WINDOWED = dataclasses.replace(SMALL_SPEC, name="windowed", intensity=Window(60.0, 140.0, scaled_to=(0.0, 2.0)))
SINGLE = dataclasses.replace(
    SMALL_SPEC, name="single", intensity=ZScore(low_percentile=5.0, high_percentile=95.0, per="slice")
)
SPECS = {spec.name: spec for spec in (SMALL_SPEC, WINDOWED, SINGLE)}


def study() -> tuple[np.ndarray, Volume]:
    """Sagittal slices [S, 32, 32] as the examples read them, and the volume that they are."""
    values = np.random.default_rng(5).normal(100, 20, (SLICES, 32, 32)).astype(np.float32)
    values += np.arange(SLICES, dtype=np.float32)[:, None, None]  # no slice has the intensities of another
    # rows of a sagittal slice run to the feet, columns to the back
    return values, Volume(np.ascontiguousarray(values[:, ::-1].transpose(0, 2, 1)), np.eye(4))


@pytest.fixture(scope="module")
def http_triton(tritonserver: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A server of the small model under three rules of intensity, with HTTP."""
    root = tmp_path_factory.mktemp("examples") / "repository"
    for spec in SPECS.values():
        write_small_repository(root, spec=spec)
    with TritonServer(root, http_port=free_port()) as server:
        yield server


def command(example: str, server: TritonServer) -> tuple[list[str], str]:
    """What runs the example, and the address for it. Skips without Node."""
    if example.endswith(".py"):
        return [sys.executable, "-P"], server.url
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    return [node], str(server.http_url)


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("example", ["served_model.py", "served_model.mjs"])
def test_an_example_finds_what_our_client_finds(
    example: str, name: str, http_triton: TritonServer, tmp_path: Path
) -> None:
    values, volume = study()
    values.astype("<f4").tofile(tmp_path / "study.f32")
    start, url = command(example, http_triton)
    words = [*start, str(EXAMPLES / example), str(tmp_path / "study.f32"), f"{SLICES},32,32", name, url]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    with TritonModel(http_triton.url, name) as model:
        ours = segment_volume(volume, model)
    labels = np.fromfile(tmp_path / "study.labels", np.uint8).reshape(values.shape)
    mask = ours.mask.transpose(0, 2, 1)[:, ::-1]
    assert set(np.unique(mask)) == {0, 1, 2}
    assert np.mean(labels == mask) > 0.9995  # a value on a label's very border may round to either side
    printed = dict(line.removesuffix(" ml").split(": ") for line in done.stdout.splitlines())
    assert list(printed) == ["above 0.5", "above 1.5"]
    for index, ml in enumerate(printed.values(), start=1):
        assert float(ml) == pytest.approx(np.count_nonzero(labels == index) / 1000, abs=5.1e-4)
        assert float(ml) == pytest.approx(ours.measurements[index - 1].volume_ml, abs=0.011)


@pytest.mark.parametrize("example", ["served_model.py", "served_model.mjs"])
def test_an_example_refuses_slices_of_another_size(example: str, http_triton: TritonServer, tmp_path: Path) -> None:
    np.zeros((2, 16, 16), "<f4").tofile(tmp_path / "study.f32")
    start, url = command(example, http_triton)
    words = [*start, str(EXAMPLES / example), str(tmp_path / "study.f32"), "2,16,16", "small", url]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode != 0
    assert "small is for one modality" in done.stderr


@pytest.mark.parametrize("spec", SPECS.values(), ids=list(SPECS))
def test_neighbours_are_the_channels_that_training_saw(spec: ModelSpec) -> None:
    """Of seven context slices; the small model has none."""
    values, volume = study()
    example = imported(EXAMPLES / "served_model.py")
    found = example.with_context(example.normalise(values, dataclasses.asdict(spec.intensity)), 7)
    wanted = PlaneSlices(volume, dataclasses.replace(spec, context_slices=7)).batch(0, SLICES)
    np.testing.assert_allclose(found.astype(np.float16).astype(float), wanted.astype(float), atol=0.002)


def imported(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.*")), ids=lambda path: path.name)
def test_an_example_is_short(path: Path) -> None:
    assert path.suffix in (".py", ".mjs")
    assert len(path.read_text().splitlines()) <= MOST_LINES
