"""`swinunet inspect`: the series in a folder, the verdict on each, and which would be taken."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from swinunet.client.dicom import Choice, Scan, Series
    from swinunet.imaging import ModelSpec


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("inspect")(inspect)


def inspect(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="Folder with DICOM files, searched to its depth; or a DICOMDIR, ZIP or file."
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
    series: Annotated[
        str | None, typer.Option(metavar="UID", help="The series that is meant; UID#NUMBER for one of its volumes.")
    ] = None,
    spec: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A model's spec (JSON): choose by its rules [default: the shipped model's]"),
    ] = None,
    allow: Annotated[
        list[str] | None, typer.Option(metavar="VERDICT", help="Overrule a verdict: tilted or gap; repeatable.")
    ] = None,
) -> None:
    """Show the DICOM volumes in a folder: what each is, whether a model would take it, and why, or why not.

    Exit status 1 if the folder is empty or holds no DICOM image.

    Example: `swinunet inspect STUDY --json`
    """
    from swinunet.client.dicom import choose, require_images, scan_folder

    with scan_progress() as tick:
        scan = scan_folder(folder, tick)
    require_images(scan)
    model = _read_spec(spec) if spec else _shipped_spec()
    choice = choose(scan, series, spec=model, allow=allow or ())
    if as_json:
        typer.echo(json.dumps({"model": _model_report(model)} | _report(scan, choice), indent=2))
        return
    from rich.console import Console

    console = Console()
    for one, reason in zip(scan.series, choice.reasons, strict=True):
        _show(console, one, reason, one is choice.taken)
    summary = [
        f"{len({one.uid for one in scan.series})} series with {len(scan.series)} volumes; "
        f"ignored: {scan.not_images} DICOM objects that are no images, {scan.not_dicom} files that are no DICOM"
    ]
    if model:
        rules = f"{model.name}, version {model.version} ({model.modality}, {model.body_part})"
        summary.append(f"taken or not: by the rules of {rules}")
    summary += [f"no images: {count} x {name}" for name, count in sorted(scan.objects.items())]
    summary += [f"unreadable, of no known series: {file.name}: {file.fault}" for file in scan.unreadable]
    for line in summary:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def scan_progress() -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error, for `scan_folder`; it is gone when the block ends."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not Console(stderr=True).is_terminal) as bar:
        task = bar.add_task("reading headers", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _read_spec(path: Path) -> ModelSpec:
    from swinunet.foundation.errors import InputError
    from swinunet.imaging import ModelSpec

    try:
        return ModelSpec.from_json(path.read_text(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({type(error).__name__}); give the JSON file of a spec") from None


def _shipped_spec() -> ModelSpec | None:
    """What the model beside the source checkout says it takes, in its Triton config; None unless there is just one."""
    from google.protobuf import text_format
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    from swinunet.foundation.errors import InputError
    from swinunet.foundation.paths import default_repository
    from swinunet.imaging import SPEC_KEY, ModelSpec

    configs = list(default_repository().glob("*/config.pbtxt"))
    if len(configs) != 1:
        return None
    try:
        parameters = text_format.Parse(configs[0].read_bytes(), ModelConfig()).parameters
    except (OSError, text_format.ParseError):
        raise InputError(f"{configs[0]}: no readable Triton config; export the model again, or give --spec") from None
    return ModelSpec.from_json(parameters[SPEC_KEY].string_value, str(configs[0]))


def _model_report(model: ModelSpec | None) -> dict[str, Any] | None:
    if model is None:
        return None
    return {"name": model.name, "version": model.version, "modality": model.modality, "body_part": model.body_part}


def _show(console: Console, series: Series, reason: str, taken: bool) -> None:
    """One volume in four lines that any terminal's width leaves readable, and its UID whole."""
    from rich.text import Text

    verdict = series.verdict
    description = f'"{series.description}"' if series.description else ""
    what = [series.modality or "no modality", series.body_part, description, series.name]
    size = f"{len(series.frames)} frames"
    if series.shape and series.spacing_mm:
        spacing = " x ".join(f"{mm:.3g}" for mm in series.spacing_mm)
        size = f"{' x '.join(map(str, series.shape))} voxels of {spacing} mm"
    lines = (
        Text(series.selector, style="bold"),
        Text(f"  {', '.join(filter(None, what))}: {size}"),
        Text(f"  {verdict.kind}", style="green" if verdict.usable else "bold red").append(
            f": {verdict.sentence}", style="default not bold"
        ),
        Text(f"  {reason}", style="green" if taken else ""),
    )
    for line in lines:
        console.print(line, soft_wrap=True)


def _report(scan: Scan, choice: Choice) -> dict[str, Any]:
    return {
        "series": [
            _series_report(series) | {"taken": series is choice.taken, "reason": reason}
            for series, reason in zip(scan.series, choice.reasons, strict=True)
        ],
        "not_dicom": scan.not_dicom,
        "not_images": scan.not_images,
        "objects": scan.objects,
        "unreadable": [{"file": file.name, "reason": file.fault} for file in scan.unreadable],
    }


def _series_report(series: Series) -> dict[str, Any]:
    return {
        "series_instance_uid": series.uid,
        "selector": series.selector,
        "volume": series.number,
        "volumes": series.total,
        "name": series.name,
        "modality": series.modality,
        "body_part": series.body_part,
        "description": series.description,
        "files": len(series.files),
        "copies": series.copies,
        "frames": len(series.frames),
        "size": series.shape,
        "spacing_mm": series.spacing_mm,
        "verdict": series.verdict.kind,
        "sentence": series.verdict.sentence,
        "usable": series.verdict.usable,
        "allowances": sorted(series.verdict.needs),
    }
