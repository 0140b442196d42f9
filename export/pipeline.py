"""`swinunet export`: checkpoint to a model version in a Triton repository, proven before it is put there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from swinunet.export.engines.artefacts import make_artefacts
from swinunet.export.gate.evidence import Evidence, gather
from swinunet.export.gate.judge import Question, judge
from swinunet.export.gate.report import Report
from swinunet.export.gate.rows import DEFAULT_SERVED, ROWS, Row, choose_rows
from swinunet.export.graph.onnx_graph import export_onnx
from swinunet.export.repository.served_configs import Configs, make_configs, read_configs, recorded_choice
from swinunet.export.repository.version_files import CHECKPOINT, GRAPH, SPLIT, fill_version, read_checkpoint
from swinunet.export.repository.versions import find_version, locked, staged_version, version_folder
from swinunet.foundation.progress import Say, say_nothing
from swinunet.imaging import ModelSpec


@dataclass(frozen=True)
class Exported:
    """Where the version is, its spec, and the proof."""

    folder: Path
    spec: ModelSpec
    report: Report


@dataclass(frozen=True)
class GateOptions:
    """How a version is judged. engines: names of rows or engines that must pass, none for all that can be judged.

    serve: whether a real Triton is started on the version. bisect: name the first layer that drifts.
    say: is told each step.
    """

    engines: Sequence[str] = ()
    serve: bool = True
    bisect: bool = False
    say: Say = say_nothing


def export_checkpoint(
    checkpoint: Path,
    repository: Path,
    version: int | None,
    data: Path | None,
    options: GateOptions = GateOptions(),
    serve_with: str = DEFAULT_SERVED,
) -> Exported:
    """Export `checkpoint` into `repository`; see `export/repository/versions.py` for what is written.

    version: None takes the spec's. data: what to judge on, see `export/gate/evidence.py`. serve_with: the row that the
    CPU config runs. Raises CheckpointError for one without a spec, InputError for unknown engines or unusable data,
    OutputError for a version that exists or a repository that cannot be written, GateError for one that failed.
    """
    asked = choose_rows(options.engines)
    network, spec = read_checkpoint(checkpoint, version)
    configs = make_configs(spec, serve_with)
    with locked(repository):
        version_folder(repository, spec)  # refuse before the work, not after it
        evidence = gather(spec, data, checkpoint.with_name(SPLIT))
        with staged_version(repository, spec, configs) as folder:
            options.say("exporting the graph")
            export_onnx(network, spec, folder / GRAPH)
            make_artefacts(folder, {*asked, configs.row}, evidence.calibration, options.say)
            fill_version(folder, network, spec, checkpoint)
            report = judge(folder, spec, _question(evidence, configs, asked, options))
            report.require("nothing was promoted")
            _drop_unproven(folder, report)
            report.write(folder)
    return Exported(repository / spec.name / str(spec.version), spec, report)


def check_version(path: Path, repository: Path, data: Path | None, options: GateOptions = GateOptions()) -> Report:
    """Repeat the whole proof for a version folder, or for the version in `repository` that a checkpoint became.

    Nothing is written. The configs are those that lie beside the version, or, for one that is not served, those it
    would be served with. Raises GateError if it fails.
    """
    asked = choose_rows(options.engines)
    folder = find_version(path, repository).resolve()
    _, spec = read_checkpoint(folder / CHECKPOINT, int(folder.name) if folder.name.isdecimal() else None)
    configs = read_configs(folder.parent, spec.version) or make_configs(spec, recorded_choice(folder))
    evidence = gather(spec, data, folder / SPLIT)
    report = judge(folder, spec, _question(evidence, configs, asked, options))
    report.require("take it out with --rollback, or export it again")
    return report


def _question(evidence: Evidence, configs: Configs, asked: tuple[Row, ...], options: GateOptions) -> Question:
    return Question(evidence, configs, asked, options.serve, options.bisect, options.say)


def _drop_unproven(folder: Path, report: Report) -> None:
    """Remove the artefacts of engines that did not pass, unless another engine that passed runs the same file."""
    proven = {verdict.artefact for verdict in report.verdicts if verdict.status == "passed"}
    for artefact in {row.artefact for row in ROWS} - proven:
        companions = folder.glob(f"{artefact}.*")  # a sidecar bears the artefact's name
        for path in (folder / artefact, (folder / artefact).with_suffix(".bin"), *companions):
            path.unlink(missing_ok=True)
