"""`swinunet export --renew`: a version that is there gets the model.py and configs of this software, after proof."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from swinunet.export.file_names import CHECKPOINT_FILE
from swinunet.export.gate.evidence import gather_evidence
from swinunet.export.gate.judge import judge
from swinunet.export.gate.options import GateOptions
from swinunet.export.gate.report import Report
from swinunet.export.gate.served import link_version
from swinunet.export.pipeline import with_boxes
from swinunet.export.repository.served_configs import make_configs, read_configs, recorded_choice
from swinunet.export.repository.version_files import read_checkpoint, write_model_py
from swinunet.export.repository.versions import find_version, locked
from swinunet.training.data.split_file import SPLIT_FILE


def renew_version(path: Path, repository: Path, data: Path | None, options: GateOptions) -> tuple[Path, Report]:
    """Write model.py, the proof and, where the version is the served one, the configs of a version anew.

    Graphs, weights and canary stay as they are, byte for byte. Everything is judged, as at an export, before anything
    is written; path, repository and data as for `check_version`. Returns the version folder and the proof.

    Killed between model.py and the proof, it leaves a version that is refused as changed, until it is renewed again.
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
        evidence = gather_evidence(spec, data, folder / SPLIT_FILE, assume_ras=options.assume_ras)
        report = judge(staged, network, spec, evidence, configs, options)
        report = with_boxes(report, staged, model.parent, configs, spec, options)
        report.require("nothing was changed")
        write_model_py(folder)
        report.write(folder)
        if read_configs(model, spec.version) is not None:
            configs.write(model)
    return folder, report
