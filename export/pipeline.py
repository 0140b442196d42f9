"""`swinunet export`: checkpoint to a model version in a Triton repository, proven before it is put there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from swinunet.export.engines.artefacts import make_artefacts
from swinunet.export.engines.registry import DEFAULT_SERVED, judged_engines
from swinunet.export.file_names import CHECKPOINT_FILE, GRAPH_FILE
from swinunet.export.gate.boxes import judge_boxes, require_pairs
from swinunet.export.gate.evidence import Evidence, gather_evidence
from swinunet.export.gate.judge import judge
from swinunet.export.gate.options import GateOptions
from swinunet.export.gate.report import Report
from swinunet.export.graph.onnx_graph import export_onnx
from swinunet.export.repository.served_configs import Configs, make_configs, read_configs, recorded_choice
from swinunet.export.repository.version_files import fill_version, read_checkpoint
from swinunet.export.repository.versions import find_version, locked, staged_version, version_folder
from swinunet.imaging import ModelSpec
from swinunet.training.data.split_file import SPLIT_FILE
from swinunet.training.network.swin_unet import SwinUNet

__all__ = ["Exported", "GateOptions", "check_version", "export_checkpoint", "promote", "with_boxes"]

DEFAULT_OPTIONS = GateOptions()


@dataclass(frozen=True)
class Exported:
    """Where the version is, its spec, and the proof."""

    folder: Path
    spec: ModelSpec
    report: Report


def export_checkpoint(
    checkpoint: Path,
    repository: Path,
    version: int | None,
    data: Path | None,
    options: GateOptions = DEFAULT_OPTIONS,
    serve_with: str = DEFAULT_SERVED,
) -> Exported:
    """Export `checkpoint` into `repository`; see `export/repository/versions.py` for what is written.

    version: None takes the spec's. data: what to judge on, see `export/gate/evidence.py`. serve_with: the engine that
    the CPU config runs. Raises CheckpointError for one without a spec, InputError for unknown engines or unusable data,
    OutputError for a version that exists or a repository that cannot be written, GateError for one that failed.
    """
    required = options.required_engines()
    network, spec = read_checkpoint(checkpoint, version)
    configs = make_configs(spec, serve_with)

    def fill(folder: Path, evidence: Evidence) -> None:
        options.say("exporting the graph")
        export_onnx(network, spec, folder / GRAPH_FILE)
        make_artefacts(folder, {*required, configs.engine}, evidence.calibration, options.say)
        fill_version(folder, network, spec, checkpoint, evidence.slices)

    with locked(repository):
        version_folder(repository, spec)  # refuse before the work, not after it
        require_pairs(repository, spec, configs)
        evidence = gather_evidence(spec, data, checkpoint.with_name(SPLIT_FILE), assume_ras=options.assume_ras)
        return promote(repository, network, spec, configs, evidence, options, fill)


def promote(
    repository: Path,
    network: SwinUNet,
    spec: ModelSpec,
    configs: Configs,
    evidence: Evidence,
    options: GateOptions,
    fill: Callable[[Path, Evidence], None],
) -> Exported:
    """Judge a new version, and put it into `repository`, which is `locked`, if it passes.

    network: what the version must compute. fill: writes the version's files into a folder aside. Raises GateError.
    """
    with staged_version(repository, spec, configs) as folder:
        fill(folder, evidence)
        report = with_boxes(
            judge(folder, network, spec, evidence, configs, options), folder, repository, configs, spec, options
        )
        report.require("nothing was promoted")
        _drop_unproven(folder, report)
        report.write(folder)
    return Exported(repository / spec.name / str(spec.version), spec, report)


def check_version(path: Path, repository: Path, data: Path | None, options: GateOptions = DEFAULT_OPTIONS) -> Report:
    """Repeat the whole proof for a version folder, or for the version in `repository` that a checkpoint became.

    Nothing is written. The configs are those that lie beside the version, or, for one that is not served, those it
    would be served with. Raises GateError if it fails.
    """
    options.required_engines()  # an unknown name is refused before anything is read
    folder = find_version(path, repository).resolve()
    network, spec = read_checkpoint(folder / CHECKPOINT_FILE, int(folder.name) if folder.name.isdecimal() else None)
    configs = read_configs(folder.parent, spec.version) or make_configs(spec, recorded_choice(folder))
    evidence = gather_evidence(spec, data, folder / SPLIT_FILE, assume_ras=options.assume_ras)
    report = judge(folder, network, spec, evidence, configs, options)
    report = with_boxes(report, folder, folder.parent.parent, configs, spec, options)
    report.require("take it out with --rollback, or export it again")
    return report


def with_boxes(
    report: Report, folder: Path, repository: Path, configs: Configs, spec: ModelSpec, options: GateOptions
) -> Report:
    """The report with the third part: the boxes of every pair of model and locator that the version is part of."""
    threads = torch.get_num_threads()
    boxes = judge_boxes(repository, folder, spec, configs, options.heads, options.say, threads)
    return dataclasses.replace(report, boxes=boxes)


def _drop_unproven(folder: Path, report: Report) -> None:
    """Remove the artefacts of engines that did not pass, unless another engine that passed runs the same file."""
    proven = {verdict.artefact for verdict in report.verdicts if verdict.status == "passed"}
    for artefact in {engine.artefact for engine in judged_engines()} - proven:
        companions = folder.glob(f"{artefact}.*")  # a sidecar bears the artefact's name
        for path in (folder / artefact, (folder / artefact).with_suffix(".bin"), *companions):
            path.unlink(missing_ok=True)
