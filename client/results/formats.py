"""Every output format, in the order in which a job writes them. A new one is a file and an entry here.

docs/how-to-add-an-output.md goes through it step by step. Importing this table loads no library of any writer.
"""

from __future__ import annotations

from dataclasses import dataclass

from swinunet.foundation.errors import InputError
from swinunet.foundation.nearest import did_you_mean


@dataclass(frozen=True)
class OutputFormat:
    """One kind of output.

    name: what `--outputs` and the report call it. title: what messages call it. file_name: in the folder of results.
    writer: `module:function` in this package, an `outputs.Writer`. needs_dicom: whether only a DICOM input can have it.
    needs: the names of formats, earlier in the table, to which it refers. default: whether it is written where the
    user does not choose. phased_writer: of a series in time; empty for a format that is not made of one.
    """

    name: str
    title: str
    file_name: str
    writer: str
    needs_dicom: bool = False
    needs: tuple[str, ...] = ()
    default: bool = True
    phased_writer: str = ""


# The report comes last: it names the others, and says which of them could not be written.
OUTPUT_FORMATS = (
    OutputFormat("nifti", "mask", "mask.nii.gz", "nifti_writer:write", phased_writer="phased_nifti_writer:write"),
    OutputFormat(
        "seg", "segmentation", "segmentation.dcm", "dicom_seg_writer:write", needs_dicom=True,
        phased_writer="dicom_seg_writer:write",
    ),
    OutputFormat(
        "sr", "measurements", "measurements.dcm", "dicom_sr_writer:write", needs_dicom=True, needs=("seg",),
        phased_writer="phased_sr_writer:write",
    ),
    OutputFormat("png", "overlay", "overlay.png", "overlay_writer:write", phased_writer="phased_overlay_writer:write"),
    OutputFormat(
        "html", "result page", "index.html", "page_writer:write", phased_writer="phased_page_writer:write",
    ),
    OutputFormat("json", "report", "report.json", "report_writer:write", phased_writer="report_writer:write"),
)  # fmt: skip
SUMMARY_NAMES = ("summary.csv", "summary.json")  # of a run of several inputs, beside their folders of results
FORMATS_BY_NAME = {each.name: each for each in OUTPUT_FORMATS}
FILE_NAMES = {each.name: each.file_name for each in OUTPUT_FORMATS}


def parse_outputs(text: str) -> tuple[str, ...]:
    """Output formats as written on the command line, "seg,json", in the order of the table. Raises InputError."""
    asked = [word.strip() for word in text.split(",")]
    if unknown := [word for word in asked if word not in FORMATS_BY_NAME]:
        raise InputError(
            f"--outputs {unknown[0]!r}: expected some of {','.join(FORMATS_BY_NAME)}"
            f"{did_you_mean(unknown[0], FORMATS_BY_NAME)}"
        )
    for each in (FORMATS_BY_NAME[name] for name in asked):
        for needed in (FORMATS_BY_NAME[name] for name in each.needs if name not in asked):
            raise InputError(f"--outputs {each.name}: it refers to the {needed.title}; add {needed.name}")
    return tuple(name for name in FORMATS_BY_NAME if name in asked)


def outputs_help() -> str:
    """What the command line's help says of `--outputs`."""
    return f"Results to write, some of {', '.join(FORMATS_BY_NAME)}; separated by commas."


def outputs_default() -> str:
    """What the command line's help says is written where `--outputs` is not given."""
    defaults = [each.name for each in OUTPUT_FORMATS if each.default]
    listed = "" if len(defaults) == len(OUTPUT_FORMATS) else f" of {','.join(defaults)}"
    return f"all{listed} that the input allows"
