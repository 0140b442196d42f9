"""Everything a job writes: each output whole or not at all, the others kept if one fails."""

from __future__ import annotations

import pkgutil
import time
from collections.abc import Callable
from pathlib import Path

from swinunet.client.results.formats import FORMATS_BY_NAME, OutputFormat
from swinunet.client.results.report import Report
from swinunet.client.results.report_writer import describe
from swinunet.client.results.result import Result
from swinunet.foundation.errors import DiskFullError, OutputError

Writer = Callable[[Result, Path], object]  # returns what later formats need of it, else None; raises OutputError


def write_outputs(folder: Path, result: Result) -> Report:
    """Write what the result's options ask for into `folder` and return the report, which says what failed and why.

    Adds the seconds that each output took to the result's timings. Raises OutputError if not one could be written,
    DiskFullError if there is no room for one of them.
    """
    for name in result.options.formats_for(result.loaded.dicom is not None, result.phased is not None):
        began = time.perf_counter()
        _write(folder, result, FORMATS_BY_NAME[name])
        result.timings[name] = time.perf_counter() - began
    if not result.outputs:
        raise OutputError("; ".join(f"{name}: {reason}" for name, reason in result.failed.items()))
    return describe(result)


def _write(folder: Path, result: Result, output: OutputFormat) -> None:
    """Write one output; a failure goes into `result.failed`."""
    result.outputs[output.name] = output.file_name
    try:
        for needed in output.needs:
            if needed not in result.outputs:
                raise OutputError(f"the {FORMATS_BY_NAME[needed].title} it refers to was not written")
        writer = output.phased_writer if result.phased else output.writer
        write: Writer = pkgutil.resolve_name(f"{__package__}.{writer}")
        result.objects[output.name] = write(result, folder / output.file_name)
    except DiskFullError:  # the next run can make what this one has no room for
        raise
    except Exception as error:  # whatever a library raises, the other outputs are kept; its words may quote values
        known = isinstance(error, OutputError)
        del result.outputs[output.name]
        result.failed[output.name] = (
            str(error).replace(f"{folder}/", "") if known else f"unexpected {type(error).__name__}"
        )
