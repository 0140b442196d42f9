"""One input to one folder of results: read it, segment it, write everything aside, rename it into place."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from swinunet.client.inputs import LoadedInput, result_name
from swinunet.client.results.formats import SUMMARY_NAMES
from swinunet.client.results.options import OutputOptions
from swinunet.client.results.outputs import write_outputs
from swinunet.client.results.phased_segmentation import segment_phases
from swinunet.client.results.report import Report
from swinunet.client.results.result import Result
from swinunet.client.rois import Roi
from swinunet.client.segmentation import Segmentation, segment_volume
from swinunet.client.triton import JobControl, TritonModel
from swinunet.foundation.errors import OutputError
from swinunet.foundation.files import unwritable
from swinunet.foundation.leftovers import remove_leftovers, replace_folder, work_folder


@dataclass(frozen=True, eq=False)
class JobResult:
    """What came of one input. folder: where its results are."""

    folder: Path
    report: Report
    segmentation: Segmentation

    def require_all_outputs(self) -> None:
        """Raise OutputError, naming them, if there are outputs that could not be written."""
        if failed := self.report.failed:
            reasons = "; ".join(f"{kind} was not written: {reason}" for kind, reason in failed.items())
            raise OutputError(f"{self.folder}: {reasons}; the other results are there")


def output_folders(inputs: Sequence[Path], out: Path, overwrite: bool) -> list[Path]:
    """A folder in `out` for each input, called as the input is; inputs of one name get -2, -3 ... in their order.

    Makes `out`. Raises OutputError, before any work, if `out` cannot be written or a folder exists and must not be
    replaced.
    """
    return folders_called([result_name(path) for path in inputs], out, overwrite)


def folders_called(names: Sequence[str], out: Path, existing_ok: bool) -> list[Path]:
    """`output_folders` for inputs that were given names. Removes what killed runs left in `out`."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        remove_leftovers(out)
        with work_folder(out):
            pass
    except OSError as error:
        raise unwritable(out, error) from None
    taken: dict[str, None] = dict.fromkeys(SUMMARY_NAMES)  # as an ordered set
    for name in names:
        numbered = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
        taken[next(each for each in numbered if each not in taken)] = None
    folders = [out / name for name in taken if name not in SUMMARY_NAMES]
    existing = [folder for folder in folders if folder.exists()]
    if existing and not existing_ok:
        raise OutputError(
            f"{existing[0]}: exists already; give another output folder, --overwrite to replace it, or --resume to "
            "segment only what is missing"
        )
    return folders


def folders_of(inputs: Iterable[Path]) -> frozenset[Path]:
    """The inputs and every folder that they lie in, links resolved."""
    resolved = {path.resolve() for path in inputs}
    return frozenset(folder for path in resolved for folder in (path, *path.parents))


def require_no_input(folder: Path, inputs: frozenset[Path]) -> None:
    """Raise OutputError if results called `folder` would replace an input. inputs: as `folders_of` has them."""
    if folder.resolve() in inputs:
        raise OutputError(
            f"{folder}: an input lies there, its results would take its place; give another output folder"
        )


def run_job(
    loaded: LoadedInput,
    folder: Path,
    model: TritonModel,
    rois: tuple[Roi, ...] = (),
    tick: Callable[[int], None] = lambda slices: None,
    options: OutputOptions | None = None,
    overwrite: bool = True,
    control: JobControl | None = None,
    expect: Callable[[int], None] = lambda slices: None,
) -> JobResult:
    """Segment an input that was read and write its results to `folder`, which appears whole or not at all.

    options: which results, and how; by default all that the input allows. A result that cannot be written is left out
    and named in the report's `failed`; without room on the disk, or without the report, there is no folder.
    overwrite: whether `folder` is replaced if it exists.
    Raises what `segment_volume` raises, InputError for results that the input does not allow, and OutputError.
    """
    options = options or OutputOptions()
    options.formats_for(loaded.dicom is not None, bool(loaded.phases))  # refuse before the work, not after it
    require_no_input(folder, folders_of([loaded.path]))
    found = (
        segment_phases(loaded, model, rois, tick, options.restore, control, expect)
        if loaded.phases
        else segment_volume(loaded.study, model, rois, tick, options.restore, control, expect)
    )
    with _whole_folder(folder, overwrite) as aside:
        if pseudonyms := options.pseudonyms:
            pseudonyms.record(folder.name, loaded.path, loaded.dicom.source.headers[0] if loaded.dicom else None)
        report = write_outputs(aside, Result(loaded, found, options, folder.name))
        if "json" in report.failed:  # the others could not be told from a half-written result
            raise OutputError(f"{folder}: the report was not written ({report.failed['json']}), so nothing was")
    return JobResult(folder, report, found)


@contextmanager
def _whole_folder(folder: Path, overwrite: bool) -> Iterator[Path]:
    """A folder to fill, which takes the place of `folder` when the block ends well and is gone when it does not."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)  # another run into it that failed may have taken it away
        with work_folder(folder.parent) as work:
            aside = work / "new"
            aside.mkdir()
            yield aside
            if not folder.exists():
                aside.rename(folder)
            elif overwrite:
                replace_folder(folder, aside, work)
            else:
                raise OutputError(f"{folder}: appeared while the job ran; give another output folder, or --overwrite")
    except OSError as error:
        raise unwritable(folder, error) from None
