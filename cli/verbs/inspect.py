"""`swinunet inspect`: the series in a folder, the verdict on each, and which would be taken."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swinunet.cli.options import with_options
from swinunet.cli.study_options import Allowance

if TYPE_CHECKING:
    from rich.console import Console

    from swinunet.client.dicom import Choice, Scan, Series
    from swinunet.imaging import ModelSpec


@dataclass(frozen=True)
class InspectOptions:
    """What to look at, and by whose rules."""

    folder: Annotated[Path, typer.Argument(metavar="DIR")]
    """Folder with DICOM files, searched recursively; or a DICOMDIR, ZIP or single file."""
    as_json: Annotated[bool, typer.Option("--json")] = False
    """Print JSON instead of text."""
    series: Annotated[str | None, typer.Option(metavar="UID")] = None
    """SeriesInstanceUID of the series that is meant; UID#NUMBER for one of its volumes."""
    spec: Annotated[Path | None, typer.Option(metavar="FILE", show_default="the shipped models'")] = None
    """Spec of a model (JSON) by whose rules to choose."""
    allow: Annotated[list[Allowance] | None, typer.Option(metavar="VERDICT")] = None
    """Accept a series in spite of its verdict: tilted, gap or variable_spacing; repeatable."""


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("inspect")(with_options(inspect))


def inspect(options: InspectOptions) -> None:
    """Show the DICOM volumes in a folder, and which a model would take.

    Each with what it is, and why it would be taken or why not.

    Exit status 1 if the folder is empty or contains no DICOM image.

    Example: `swinunet inspect STUDY --json`
    """
    from swinunet.cli.dicom_progress import scan_progress
    from swinunet.client.dicom import choose, require_images, scan_folder

    with scan_progress() as tick:
        scan = scan_folder(options.folder, tick)
    require_images(scan)
    models = (_read_spec(options.spec),) if options.spec else _shipped_specs()
    model = _model_for(scan, models, options)
    choice = choose(scan, options.series, spec=model, allow=options.allow or ())
    takers = [_takers(one, scan, models) for one in scan.series]
    if options.as_json:
        print(
            json.dumps(
                {"model": _model_report(model), "models": [spec.name for spec in models]}
                | _report(scan, choice, takers)
                | {"too_large": _too_large(choice, model)},
                indent=2,
            )
        )
    else:
        _show_all(scan, choice, model, takers if len(models) > 1 else None)


def _show_all(scan: Scan, choice: Choice, model: ModelSpec | None, takers: list[list[str]] | None) -> None:
    """Every series and what becomes of it. takers: the models that would take each if it came alone, or None."""
    from rich.console import Console

    from swinunet.client.dicom import siblings
    from swinunet.foundation.terminal import print_line

    console = Console()
    for at, (one, reason) in enumerate(zip(scan.series, choice.reasons, strict=True)):
        phases = siblings(scan, one)
        if one is phases[0]:
            _show(console, phases, reason, one is choice.taken or one in choice.phases)
            if takers:
                print_line(f"  models that would take it alone: {', '.join(takers[at]) or 'none'}")
    summary = [
        f"{len({one.uid for one in scan.series})} series with {len(scan.series)} volumes; "
        f"ignored: {scan.not_images} DICOM objects that are no images, {scan.not_dicom} files that are no DICOM"
    ]
    if model:
        rules = f"{model.name}, version {model.version} ({model.modality}, {model.body_part})"
        summary.append(f"taken or not: by the rules of {rules}")
    if fault := _too_large(choice, model):
        summary.append(f"as a whole, segment refuses what is taken: {fault}")
    summary += [f"no images: {count} x {name}" for name, count in sorted(scan.objects.items())]
    summary += [f"unreadable, of no known series: {file.name}: {file.fault}" for file in scan.unreadable]
    for line in summary:
        print_line(line)


def _read_spec(path: Path) -> ModelSpec:
    from swinunet.foundation.errors import InputError
    from swinunet.imaging import ModelSpec

    try:
        return ModelSpec.from_json(path.read_text(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({type(error).__name__}); give the JSON file of a spec") from None


def _shipped_specs() -> tuple[ModelSpec, ...]:
    """What the models beside the source checkout take, but for those that only find boxes for others."""
    from swinunet.client.model_choice import answering
    from swinunet.foundation.paths import default_repository
    from swinunet.imaging.repository_specs import specs_in_repository

    return answering(specs_in_repository(default_repository()))


def _model_for(scan: Scan, models: tuple[ModelSpec, ...], options: InspectOptions) -> ModelSpec | None:
    """The model that `segment` would choose; None where several would do, or none."""
    from swinunet.client.model_choice import fitting_models

    if len(models) == 1:
        return models[0]
    best = fitting_models(scan, models, options.series, options.allow or ())
    return best[0] if len(best) == 1 else None


def _takers(series: Series, scan: Scan, models: tuple[ModelSpec, ...]) -> list[str]:
    from swinunet.client.model_choice import models_for_series

    return [spec.name for spec in models_for_series(series, scan, models)]


def _too_large(choice: Choice, model: ModelSpec | None) -> str:
    """Why `segment` would refuse the volume that is taken for its size; empty if it would not."""
    from swinunet.client.early_refusal import series_fault

    if model is None or model.boxes is not None:
        return ""
    taken = (choice.taken, *choice.phases)
    return next((series_fault(one, model) for one in taken if one), "")


def _model_report(model: ModelSpec | None) -> dict[str, Any] | None:
    if model is None:
        return None
    return {"name": model.name, "version": model.version, "modality": model.modality, "body_part": model.body_part}


def _show(console: Console, phases: tuple[Series, ...], reason: str, taken: bool) -> None:
    """One volume, or all phases of a series in time, in lines that any width leaves readable, and its UID whole."""
    from rich.text import Text

    from swinunet.client.dicom import selector_of
    from swinunet.foundation.terminal import printable

    series = next((one for one in phases if not one.verdict.usable), phases[0])
    verdict = series.verdict
    description = f'"{series.description}"' if series.description else ""
    what = [series.modality or "no modality", series.body_part, description, _name(phases)]
    size = f"{len(series.frames)} frames"
    if series.shape and series.spacing_mm:
        spacing = " x ".join(f"{mm:.3g}" for mm in series.spacing_mm)
        size = f"{' x '.join(map(str, series.shape))} voxels of {spacing} mm"
    lines = [
        Text(printable(selector_of(phases)), style="bold"),
        Text(printable(f"  {', '.join(filter(None, what))}: {size}")),
        Text(f"  {verdict.kind}", style="green" if verdict.usable else "bold red").append(
            printable(f": {verdict.sentence}"), style="default not bold"
        ),
        Text(printable(f"  {reason}"), style="green" if taken else ""),
    ]
    if len(phases) > 1:
        lines.append(Text(printable(f"  one phase alone: --series {phases[0].selector} to #{phases[-1].number}")))
    for line in lines:
        console.print(line, soft_wrap=True)


def _name(phases: tuple[Series, ...]) -> str:
    first, last = phases[0].phase, phases[-1].phase
    if len(phases) == 1 or not (first and last):
        return phases[0].name
    name = f"{len(phases)} phases, {first.attribute} {first.time:.4g} to {last.time:.4g} {first.unit}".rstrip()
    return f"{first.group}, {name}" if first.group else name


def _report(scan: Scan, choice: Choice, takers: list[list[str]]) -> dict[str, Any]:
    return {
        "series": [
            _series_report(series)
            | {"taken": series is choice.taken or series in choice.phases, "reason": reason, "models": models}
            for series, reason, models in zip(scan.series, choice.reasons, takers, strict=True)
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
        "phase": series.phase.number if series.phase else None,
        "phases": series.phase.total if series.phase else None,
        "time_ms": series.phase.time_ms if series.phase else None,
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
