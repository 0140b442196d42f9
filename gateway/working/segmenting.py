"""One series through one model: results in a folder, and what of them goes where."""

from __future__ import annotations

from pathlib import Path

from swinunet.client import JobControl, OutputOptions, TritonModel, load_input, parse_roi, run_job
from swinunet.client.dicom import Scan
from swinunet.client.inputs import LoadedInput
from swinunet.client.job import JobResult
from swinunet.client.results.formats import FILE_NAMES
from swinunet.client.results.outputs import write_outputs
from swinunet.client.results.result import Result
from swinunet.foundation.errors import OutputError
from swinunet.gateway.config.settings import RouteConfig
from swinunet.gateway.intake.recognise import read_header
from swinunet.gateway.ledger.deliveries import FOLDER, NewResult
from swinunet.gateway.spool import Spool

_OBJECTS = ("seg", "sr")  # in the order in which they refer to each other
_TWINS = "binary"  # the folder, beside a label map, of what goes where label maps are refused


def segment_series(
    folder: Path, target: Path, series_uid: str, scan: Scan, route: RouteConfig, model: TritonModel, control: JobControl
) -> JobResult:
    """Segment a series of a scanned folder into `target`, which appears whole or not at all.

    Raises what `load_input` and `run_job` raise, and OutputError if a DICOM object that the route wants is missing.
    """
    loaded = load_input(folder, model.spec, series_uid, scan, route.allow)
    options = OutputOptions(formats=route.outputs, seg_type=route.seg_type)
    rois = tuple(parse_roi(text) for text in route.rois)
    done = run_job(loaded, target, model, rois, options=options, control=control)
    _require_objects(done.report.failed)
    if route.seg_type == "labelmap" and "seg" in route.outputs:
        _write_twins(target / _TWINS, loaded, done, route)
    return done


def results_in(spool: Spool, folder: Path) -> list[NewResult]:
    """What is to be delivered of a folder of results."""
    found = [NewResult(FOLDER, 0, spool.relative(folder))]
    for twin in (False, True):
        for position, kind in enumerate(_OBJECTS):
            path = (folder / _TWINS if twin else folder) / FILE_NAMES[kind]
            if path.exists():
                header = read_header(path)
                found.append(NewResult(
                    kind, position, spool.relative(path), header.sop_class_uid, header.sop_instance_uid, twin
                ))  # fmt: skip
    return found


def _write_twins(folder: Path, loaded: LoadedInput, done: JobResult, route: RouteConfig) -> None:
    """The same mask as a binary segmentation, with measurements that refer to it."""
    folder.mkdir(mode=0o700)
    formats = tuple(name for name in route.outputs if name in _OBJECTS)
    options = OutputOptions(formats=formats, seg_type="binary")
    report = write_outputs(folder, Result(loaded, done.segmentation, options, folder.name))
    _require_objects(report.failed)


def _require_objects(failed: dict[str, str]) -> None:
    for kind in _OBJECTS:
        if kind in failed:
            raise OutputError(f"{FILE_NAMES[kind]} could not be written: {failed[kind]}")


def without_place(message: str, folder: Path) -> str:
    """A message without the path of a job's work folder."""
    return " ".join(message.replace(f"{folder}: ", "").replace(str(folder), "the study").split())
