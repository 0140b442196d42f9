"""Whether a folder of results is what a job would make: the same volume, model, boxes and settings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from swinunet.client.results.formats import FILE_NAMES
from swinunet.client.results.options import OutputOptions
from swinunet.client.results.report import Report, read_report
from swinunet.client.results.report_writer import boxes_of
from swinunet.client.rois import Roi
from swinunet.foundation.errors import InputError, OutputError
from swinunet.imaging import ModelSpec

_REMEDY = "segment it again with --overwrite, or give another output folder"


def is_unfinished(folder: Path) -> bool:
    """Whether a folder holds outputs, no report and nothing else, as a full disk could leave it: it is to be redone.

    Since this software renames whole folders into place, only its earlier versions made these.
    """
    if folder.is_symlink() or not folder.is_dir():
        return False
    names = {path.name for path in folder.iterdir()}
    return FILE_NAMES["json"] not in names and names <= set(FILE_NAMES.values())


def require_same_result(
    folder: Path, digest: str, spec: ModelSpec, rois: tuple[Roi, ...], options: OutputOptions
) -> None:
    """Raise OutputError, saying what differs, unless `folder` holds the whole result of this job.

    digest: of the input, as `LoadedInput` has it; reports of de-identified results hold its pseudonym.
    """
    report = _whole_report(folder)
    if options.pseudonyms:
        digest = options.pseudonyms.name(digest, "input")
    if differences := list(_differences(report, digest, spec, rois, options)):
        raise OutputError(f"{folder}: exists already, made {', '.join(differences)}; {_REMEDY}")


def _whole_report(folder: Path) -> Report:
    """The report in a folder all of whose results are there."""
    try:
        report = read_report(folder / FILE_NAMES["json"])
    except InputError:
        raise OutputError(
            f"{folder}: exists already and holds no whole result of this software's version; {_REMEDY}"
        ) from None
    if report.failed:
        failed = ", ".join(report.failed)
        raise OutputError(f"{folder}: exists already, but {failed} could not be written then; {_REMEDY}")
    if missing := [name for name in report.outputs.values() if not (folder / name).is_file()]:
        raise OutputError(f"{folder}: exists already, but {missing[0]} is no longer in it; {_REMEDY}")
    return report


def _differences(
    report: Report, digest: str, spec: ModelSpec, rois: tuple[Roi, ...], options: OutputOptions
) -> Iterator[str]:
    """How what was made differs from what would be made, each as it follows "made"."""
    made, model = report.settings, report.model
    if made.deidentified != (options.pseudonyms is not None):
        yield "with --deidentify" if made.deidentified else "without --deidentify"
    elif report.input.fingerprint != digest:
        yield "from another input"
    if (model.name, model.version) != (spec.name, spec.version):
        yield f"by {model.name} version {model.version}, not {spec.name} version {spec.version}"
    elif model.spec != spec:
        yield f"by another model that is called {model.name} version {model.version} too"
    if report.location is None and report.boxes != boxes_of(rois):
        yield "in other boxes (--roi)"
    if report.location and rois:
        yield "in boxes that were found, not in those of --roi"
    if made.restore != options.restore:
        yield f"with --restore {made.restore}, not {options.restore}"
    asked = options.formats_for(report.input.kind == "dicom", bool(report.phases))
    if made.outputs != asked:
        yield f"with --outputs {','.join(made.outputs)}, not {','.join(asked)}"
    elif "seg" in asked and made.seg_type != options.seg_type:
        yield f"with --seg-type {made.seg_type}, not {options.seg_type}"
