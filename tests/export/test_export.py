"""export/: the graph computes what its checkpoint computes, carries its spec, and reaches the repository whole."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from small_model import SMALL_SPEC
from tiny_version import tiny_cases

from swinunet.export.graph.onnx_graph import export_onnx
from swinunet.export.graph.onnx_spec import read_spec
from swinunet.export.pipeline import GateOptions, check_version, export_checkpoint
from swinunet.export.repository.versions import versions
from swinunet.export.sample_slices import sample_slices
from swinunet.foundation.errors import CheckpointError, InputError, OutputError, SpecError
from swinunet.foundation.files import sha256_of_file
from swinunet.imaging import ModelSpec, Volume, write_nifti
from swinunet.training.network.checkpoint import load_checkpoint, save_checkpoint
from swinunet.training.network.recipes import recipe
from swinunet.training.network.swin_unet import SwinUNet

OFF_LINE = GateOptions(serve=False)  # Triton has its own tests, in test_gate_served.py


ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    return dataclasses.replace(SMALL_SPEC, context_slices=3)


@pytest.fixture(scope="module")
def network(spec: ModelSpec) -> SwinUNet:
    """A tiny network with weights large enough for logits that matter."""
    torch.manual_seed(0)
    made = SwinUNet(recipe("tiny").build(spec.context_slices, spec.num_classes)).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(4 if parameter.ndim > 1 else 1)
    return made


@pytest.fixture(scope="module")
def slices(spec: ModelSpec) -> np.ndarray:
    """Real slices: the MNI152 brain."""
    return sample_slices(spec, None)


@pytest.fixture(scope="module")
def graph(network: SwinUNet, spec: ModelSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    export_onnx(network, spec, path)
    return path


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_cases(tmp_path_factory.mktemp("cases") / "blob")


@pytest.fixture
def checkpoint(network: SwinUNet, spec: ModelSpec, tmp_path: Path) -> Path:
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, network, spec)
    return path


def test_the_wire_contract(graph: Path, slices: np.ndarray, spec: ModelSpec) -> None:
    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    assert [(each.name, each.type) for each in session.get_inputs()] == [("image", "tensor(float16)")]
    assert {each.name: each.type for each in session.get_outputs()} == {
        "labels": "tensor(uint8)",
        "probabilities": "tensor(float16)",
    }
    labels, probabilities = session.run(["labels", "probabilities"], {"image": slices[:5]})
    assert labels.shape == (5, 32, 32)
    assert probabilities.shape == (5, spec.num_classes, 32, 32)
    np.testing.assert_allclose(probabilities.astype(np.float32).sum(axis=1), 1, atol=5e-3)
    top = np.sort(probabilities, axis=1)
    clear = top[:, -1] > top[:, -2]
    assert (probabilities.argmax(axis=1) == labels)[clear].all()
    assert len(np.unique(labels)) > 1


def test_the_spec_travels_in_the_graph(graph: Path, spec: ModelSpec) -> None:
    assert read_spec(graph) == spec
    assert sum(node.op_type == "LayerNormalization" for node in onnx.load(str(graph)).graph.node) > 0


def test_the_graph_says_nothing_of_the_machine_that_made_it(graph: Path) -> None:
    """PyTorch's exporter notes a stack trace, with paths, at every node."""
    written = graph.read_bytes()
    for told in (b"stack_trace", b"site-packages", str(ROOT).encode(), b"fx_node"):
        assert told not in written


def test_export_writes_a_whole_version(checkpoint: Path, spec: ModelSpec, cases: Path, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    (tmp_path / "split.json").write_text(json.dumps({"training": [], "validation": ["a"]}))
    done = export_checkpoint(checkpoint, repository, None, cases, OFF_LINE)
    files = {str(path.relative_to(repository)) for path in repository.rglob("*") if path.is_file()}
    assert files == {
        "small/config.pbtxt",
        *(f"small/configs/{name}.pbtxt" for name in ("cpu", "openvino", "tensorrt")),
        *(f"small/1/{name}" for name in ("model.onnx", "model_fp16.onnx", "model.py", "canary.npz", "MODEL_CARD.md")),
        "small/1/perf_analyzer.json",
        *(f"small/1/{name}" for name in ("checkpoint.safetensors", "split.json", "gate.json", "GATE.md")),
    }
    assert done.spec.provenance.checkpoint_sha256 == sha256_of_file(checkpoint)
    assert read_spec(done.folder / "model.onnx") == done.spec
    assert sha256_of_file(checkpoint) in (done.folder / "MODEL_CARD.md").read_text()
    assert check_version(done.folder, repository, cases, OFF_LINE).passes
    with np.load(done.folder / "canary.npz") as canary:
        network, _ = load_checkpoint(done.folder / "checkpoint.safetensors")
        with torch.inference_mode():
            expected = network(torch.from_numpy(canary["image"]).float()).argmax(1)
        np.testing.assert_array_equal(canary["labels"], expected.numpy())


def test_a_version_is_never_overwritten(checkpoint: Path, cases: Path, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    (repository / "small" / "1").mkdir(parents=True)
    (repository / "small" / "1" / "kept").touch()
    with pytest.raises(OutputError, match=r"never overwritten; export as a new one \(--version 2\)"):
        export_checkpoint(checkpoint, repository, None, cases, OFF_LINE)
    assert [path.name for path in (repository / "small" / "1").iterdir()] == ["kept"]
    done = export_checkpoint(checkpoint, repository, 2, cases, OFF_LINE)
    assert done.spec.version == 2
    assert '\\"version\\":2' in (repository / "small" / "config.pbtxt").read_text()


def test_refusals(network: SwinUNet, checkpoint: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.safetensors"
    save_checkpoint(bare, network, None)
    with pytest.raises(CheckpointError, match="no model spec"):
        export_checkpoint(bare, tmp_path / "repository", None, None)
    with pytest.raises(CheckpointError, match="no such file"):
        export_checkpoint(tmp_path / "none", tmp_path / "repository", None, None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no NIfTI image"):
        export_checkpoint(checkpoint, tmp_path / "repository", None, tmp_path / "empty")
    with pytest.raises(InputError, match="none: no such file or folder"):
        export_checkpoint(checkpoint, tmp_path / "repository", None, tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file: no NIfTI image"):
        export_checkpoint(checkpoint, tmp_path / "repository", None, tmp_path / "file")
    with pytest.raises(OutputError, match="cannot write"):
        export_checkpoint(checkpoint, tmp_path / "file", None, None)


def test_a_graph_without_a_spec_is_refused(graph: Path, tmp_path: Path) -> None:
    model = onnx.load(str(graph))
    del model.metadata_props[:]
    onnx.save(model, str(tmp_path / "bare.onnx"))
    with pytest.raises(SpecError, match=r"bare\.onnx: this is no model spec"):
        read_spec(tmp_path / "bare.onnx")


def test_slices_of_the_users_own_images(spec: ModelSpec, tmp_path: Path) -> None:
    (tmp_path / "labelsTr").mkdir()
    (tmp_path / "imagesTr").mkdir()
    write_nifti(Volume(np.random.rand(10, 20, 70).astype(np.float32), np.eye(4)), tmp_path / "imagesTr" / "a.nii.gz")
    write_nifti(Volume(np.zeros((10, 20, 70), np.uint8), np.eye(4)), tmp_path / "labelsTr" / "a.nii.gz")
    assert sample_slices(spec, tmp_path).shape == (10, 3, 32, 32)


def test_the_shipped_model_is_its_checkpoint(repository: Path) -> None:
    """The proof of every committed version, repeated."""
    found = [model / str(number) for model in repository.iterdir() for number in versions(model)]
    assert found
    for version in found:
        assert check_version(version, repository, None, OFF_LINE).passes
        assert sum(path.stat().st_size for path in version.rglob("*") if path.is_file()) < 40e6
