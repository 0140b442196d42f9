"""`swinunet export --renew`: a version that is there gets the model.py and configs of this software, after proof.

With --graphs its ONNX graphs, too, of the same weights.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from swinunet.export.file_names import CHECKPOINT_FILE, FP16_GRAPH_FILE, GRAPH_FILE
from swinunet.export.gate.evidence import gather_evidence
from swinunet.export.gate.judge import judge
from swinunet.export.gate.options import GateOptions
from swinunet.export.gate.report import Report
from swinunet.export.gate.served import link_version
from swinunet.export.graph.fp16 import write_fp16
from swinunet.export.graph.onnx_graph import export_onnx
from swinunet.export.pipeline import with_boxes
from swinunet.export.repository.served_configs import make_configs, read_configs, recorded_choice
from swinunet.export.repository.version_files import read_checkpoint, write_model_py
from swinunet.export.repository.versions import find_version, locked
from swinunet.foundation.files import write_whole
from swinunet.imaging import ModelSpec
from swinunet.training.data.split_file import SPLIT_FILE
from swinunet.training.network.swin_unet import SwinUNet


def renew_version(
    path: Path, repository: Path, data: Path | None, options: GateOptions, graphs: bool = False
) -> tuple[Path, Report]:
    """Write model.py, the proof and, where the version is the served one, the configs of a version anew.

    graphs: write model.onnx and, if it is there, model_fp16.onnx anew, too; what was built from these, as a plan or
    int8, is judged with them as it is. Otherwise graphs stay as they are, and weights and canary always, byte for byte.
    Everything is judged, as at an export, before anything is written; path, repository and data as for `check_version`.
    Returns the version folder and the proof.

    Killed between these files and the proof, it leaves a version that is refused as changed, until it is renewed again.
    Raises InputError as `check_version` does, OutputError, GateError for a version that failed, which stays as it was.
    """
    options.required_engines()  # an unknown name is refused before anything is read
    folder = find_version(path, repository).resolve()
    model = folder.parent
    network, spec = read_checkpoint(folder / CHECKPOINT_FILE, int(folder.name) if folder.name.isdecimal() else None)
    configs = make_configs(spec, recorded_choice(folder))
    with locked(model.parent), TemporaryDirectory(prefix="swinunet-renewal-") as made:
        staged = Path(made, folder.name)
        link_version(folder, staged)
        write_model_py(staged)
        renewed: list[str] = []
        if graphs:
            options.say("exporting the graphs")
            renewed = _export_graphs(staged, network, spec)
        evidence = gather_evidence(spec, data, folder / SPLIT_FILE, assume_ras=options.assume_ras)
        report = judge(staged, network, spec, evidence, configs, options)
        report = with_boxes(report, staged, model.parent, configs, spec, options)
        report.require("nothing was changed")
        write_model_py(folder)
        for name in renewed:
            write_whole(folder / name, (staged / name).read_bytes())
        report.write(folder)
        if read_configs(model, spec.version) is not None:
            configs.write(model)
    return folder, report


def _export_graphs(folder: Path, network: SwinUNet, spec: ModelSpec) -> list[str]:
    """Put graphs of their own in the place of the links to those from before. Returns their names."""
    there = [name for name in (GRAPH_FILE, FP16_GRAPH_FILE) if (folder / name).exists()]
    for name in there:
        (folder / name).unlink()
    export_onnx(network, spec, folder / GRAPH_FILE)
    if FP16_GRAPH_FILE in there:
        write_fp16(folder / GRAPH_FILE, folder / FP16_GRAPH_FILE)
    return there
