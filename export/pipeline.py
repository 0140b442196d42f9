"""`swinunet export`: checkpoint to a model version in a Triton repository, proven before it is put there."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from export.onnx_graph import export_onnx
from export.parity import BatchParity, check_parity
from export.repository import fill_version, staged_version, version_folder
from export.sample_slices import sample_slices
from imaging import ModelSpec
from swinunet.errors import CheckpointError
from training.checkpoint import load_checkpoint, sha256


@dataclass(frozen=True)
class Exported:
    """Where the version is, its spec, and the parity found at each batch."""

    folder: Path
    spec: ModelSpec
    parity: list[BatchParity]


def export_checkpoint(checkpoint: Path, repository: Path, version: int | None, data: Path | None) -> Exported:
    """Export `checkpoint` into `repository`; see `export.repository` for what is written.

    version: None takes the spec's. data: real images for parity, see `export.sample_slices`.
    Raises CheckpointError for a checkpoint without a spec, OutputError for a version that exists, ParityError.
    """
    network, spec = load_checkpoint(checkpoint)
    if spec is None:
        raise CheckpointError(f"{checkpoint}: holds no model spec, so nobody could serve it; train it first")
    provenance = dataclasses.replace(spec.provenance, checkpoint_sha256=sha256(checkpoint))
    spec = dataclasses.replace(spec, version=version or spec.version, provenance=provenance)
    version_folder(repository, spec)  # refuse before the work, not after it
    slices = sample_slices(spec, data)
    with staged_version(repository, spec) as folder:
        export_onnx(network, spec, folder / "model.onnx")
        parity = check_parity(network, folder / "model.onnx", slices)
        fill_version(folder, network, spec, checkpoint, slices)
    return Exported(repository / spec.name / str(spec.version), spec, parity)


def check_version(folder: Path, data: Path | None) -> list[BatchParity]:
    """Repeat the proof for a version folder: its model.onnx against its checkpoint. Raises ParityError."""
    network, spec = load_checkpoint(folder / "checkpoint.safetensors")
    if spec is None:
        raise CheckpointError(f"{folder}: its checkpoint holds no model spec; export it again")
    return check_parity(network, folder / "model.onnx", sample_slices(spec, data))
