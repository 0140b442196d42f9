"""`swinunet export`: a checkpoint becomes a served model version, after proof."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swinunet.cli.options import with_options

if TYPE_CHECKING:
    from swinunet.export.gate.report import Report
    from swinunet.foundation.progress import Say

_REPORT_WIDTH = 160  # columns; on a narrower terminal the report's tables cannot be read

_RESTART = (
    "a server that runs already serves what it did before until it is started again (swinunet serve --poll does so)"
)


def _engine_help() -> str:
    from swinunet.export.engines.registry import judged_engines

    names = ", ".join(engine.name for engine in judged_engines())
    return f"Engine that must pass; repeatable. One of {names}."


@dataclass(frozen=True)
class ExportOptions:
    """A checkpoint, how it is proven, and where it goes."""

    checkpoint: Annotated[str | None, typer.Argument()] = None
    """Checkpoint; with --check and --renew also a version folder; with --rollback and --configs a model's name."""
    repository: Annotated[Path | None, typer.Option(show_default="model_repository/")] = None
    """Triton model repository."""
    version: Annotated[int | None, typer.Option(min=1, show_default="the spec's")] = None
    """Model version."""
    data: Annotated[Path | None, typer.Option(show_default="the MNI152 brain, without labels")] = None
    """Labelled folder, or images, to judge the engines on."""
    assume_ras: Annotated[bool, typer.Option("--assume-ras")] = False
    """NIfTI in --data without qform and sform: take its axes to run to the patient's right, front and head."""
    heads: Annotated[Path | None, typer.Option(show_default="the MNI152 brain, without labels")] = None
    """Labelled folder of whole images: the locator must find the boxes of a model trained on crops in them."""
    spec: Annotated[Path | None, typer.Option(metavar="FILE", show_default="the checkpoint's")] = None
    """Spec (JSON) to export with, for the same weights: other boxes, rules or names."""
    engine: Annotated[
        list[str] | None, typer.Option(help=_engine_help(), show_default="all that are installed are judged")
    ] = None
    """Engine that must pass; repeatable."""
    serve_with: Annotated[str | None, typer.Option(show_default="openvino-f32")] = None
    """Engine and precision of the CPU config."""
    serve: Annotated[bool, typer.Option("--serve/--no-serve")] = True
    """Judge the version in a real Triton as well."""
    bisect: Annotated[bool, typer.Option("--bisect")] = False
    """Name the first layer that differs in a graph that fails."""
    check: Annotated[bool, typer.Option("--check")] = False
    """Only repeat the proof; nothing is written."""
    renew: Annotated[bool, typer.Option("--renew")] = False
    """Give a version the model.py and configs of this software, after proof; graphs and weights stay as they are."""
    graphs: Annotated[bool, typer.Option("--graphs")] = False
    """With --renew: write the version's graphs anew, too, of the same weights."""
    rollback: Annotated[bool, typer.Option("--rollback")] = False
    """Take the last version of a model out of service."""
    configs: Annotated[bool, typer.Option("--configs")] = False
    """Only write the Triton configs of the models in the repository anew, for the versions they serve."""
    report: Path | None = None
    """Folder for gate.json and GATE.md, whether the version passed or not."""

    def require_one_job(self) -> None:
        """Raise InputError for options of different jobs."""
        from swinunet.foundation.errors import InputError

        jobs = ("--check", "--renew", "--rollback", "--configs")
        chosen = [name for name in jobs if getattr(self, name.removeprefix("--"))]
        if len(chosen) > 1:
            raise InputError(f"{' and '.join(chosen)} are jobs of their own; give one of them")
        if self.graphs and not self.renew:
            raise InputError("--graphs belongs to --renew, which was not given; an export writes graphs anyway")
        if chosen and self.version is not None:
            raise InputError(f"--version is of a new version; leave it out with {chosen[0]}")
        if chosen and self.serve_with is not None and not self.configs:
            raise InputError(f"--serve-with is of a config; leave it out with {chosen[0]}")
        if chosen and self.spec is not None:
            raise InputError(f"--spec is of a new version; leave it out with {chosen[0]}")


_COMMON = ("--data", "--version", "--engine", "--serve-with", "--check", "--bisect", "--rollback", "--repository")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("export", no_args_is_help=True)(with_options(export, common=_COMMON))


def export(options: ExportOptions) -> None:
    """Export a checkpoint, prove every engine, let Triton serve it.

    A model that was trained on crops is judged with the locator that finds its boxes (--heads).

    Each engine, and the version in a real Triton, is compared with PyTorch float32: outputs at several batch sizes,
    then whole masks. A version that fails is not promoted, and the one before it keeps serving. The proof is kept
    beside the version as gate.json and GATE.md.

    Example: `swinunet export runs/hippocampus/checkpoint.safetensors --data Task04_Hippocampus`

    Repeat the proof: `swinunet export model_repository/swin_unet_hippocampus/1 --check`

    After an update of this software: `swinunet export model_repository/swin_unet_hippocampus/1 --renew`

    Find the layer that is wrong: `swinunet export model_repository/swin_unet_hippocampus/1 --check --bisect`

    Return to the version before: `swinunet export --rollback swin_unet_hippocampus`

    Serve another engine that passed: `swinunet export --configs swin_unet_hippocampus --serve-with openvino-bf16`
    """
    from swinunet.foundation.errors import InputError
    from swinunet.foundation.paths import default_repository

    options.require_one_job()
    if options.serve_with is not None:
        _refuse_served(options.serve_with)
    repository = options.repository or default_repository()
    making = not (options.check or options.renew or options.rollback)
    if options.rollback:
        _roll_back(repository, options.checkpoint)
    elif options.configs:
        _write_configs(repository, options.checkpoint, options.serve_with)
    elif options.checkpoint is None:
        raise InputError("no checkpoint was given; expected a .safetensors file (or --rollback)")
    else:
        _refuse_engines(options.engine or (), making)
        if not Path(options.checkpoint).exists():  # before PyTorch is imported
            raise InputError(f"{options.checkpoint}: no such file; expected a checkpoint (.safetensors)")
        _prove(Path(options.checkpoint), repository, options)


def _refuse_served(name: str) -> None:
    """Raise InputError for an engine that the CPU config cannot run, before PyTorch is imported."""
    from swinunet.export.engines.registry import choose_served

    choose_served(name)


def _refuse_engines(names: Sequence[str], making: bool) -> None:
    """Raise InputError for an unknown engine, or a plan that cannot be built here, before PyTorch is imported."""
    from swinunet.export.engines.registry import choose_judged
    from swinunet.foundation.errors import InputError

    if not any(engine.library.name == "tensorrt" for engine in choose_judged(names)) or not making:
        return
    from swinunet.serving.plan import INSTEAD, this_host

    if this_host().gpu is None:
        raise InputError(
            f"a TensorRT plan is built on the GPU that serves it, and nvidia-smi finds none here; {INSTEAD}"
        )


def _prove(checkpoint: Path, repository: Path, options: ExportOptions) -> None:
    """Export the checkpoint, or repeat the proof of what it became, and show the report."""
    from swinunet.foundation.progress import step_progress
    from swinunet.foundation.terminal import print_line

    with _reporting(options.report) as show:
        with step_progress("reading the checkpoint") as say:
            done, judged = _judged(checkpoint, repository, options, say)
        show(judged)
    if done:
        print_line(done)
        print_line(_RESTART)


def _judged(checkpoint: Path, repository: Path, options: ExportOptions, say: Say) -> tuple[str, Report]:
    """What was written, in words, empty for nothing; and the proof."""
    from swinunet.export.engines.registry import DEFAULT_SERVED
    from swinunet.export.pipeline import GateOptions, check_version, export_checkpoint
    from swinunet.export.renewal import renew_version
    from swinunet.export.repository.other_spec import with_spec

    gate = GateOptions(
        tuple(options.engine or ()), options.serve, options.bisect, say, options.assume_ras, options.heads
    )
    if options.check:
        return "", check_version(checkpoint, repository, options.data, gate)
    if options.renew:
        folder, report = renew_version(checkpoint, repository, options.data, gate, options.graphs)
        renewed = "graphs, model.py" if options.graphs else "model.py"
        return f"{folder}: {renewed}, configs and proof are of this software", report
    serve_with = options.serve_with or DEFAULT_SERVED
    with with_spec(checkpoint, options.spec) as specified:
        done = export_checkpoint(specified, repository, options.version, options.data, gate, serve_with)
    return f"{done.spec.name} version {done.spec.version}: {done.folder}", done.report


def _roll_back(repository: Path, model: str | None) -> None:
    from swinunet.export.repository.versions import roll_back
    from swinunet.foundation.terminal import print_line

    done = roll_back(repository, model)
    print_line(f"{done.model}: version {done.version} is out (kept as {done.kept}), version {done.serving} is served")
    print_line(_RESTART)


def _write_configs(repository: Path, model: str | None, serve_with: str | None) -> None:
    from swinunet.export.repository.rewritten_configs import rewrite_configs
    from swinunet.foundation.terminal import print_line

    for done in rewrite_configs(repository, model, serve_with):
        print_line(f"{done.model}: configs of version {done.version} are written; configs/cpu.pbtxt runs {done.engine}")
    print_line(_RESTART)


@contextmanager
def _reporting(folder: Path | None) -> Iterator[Callable[[Report], None]]:
    """What shows a report, and keeps it in `folder`; that of a version that failed is shown, too."""
    from rich.console import Console

    from swinunet.export.gate.report import GateError
    from swinunet.foundation.files import prepare_folder
    from swinunet.foundation.terminal import print_line, show_table

    if folder is not None:
        prepare_folder(folder)

    def show(report: Report) -> None:
        if folder is not None:
            report.write(folder)
        console = Console()
        narrow = console.is_terminal and console.width < _REPORT_WIDTH
        for table in (report.overview(),) if narrow else report.tables():
            show_table(table)
        for line in report.summary():
            print_line(f"- {line}")

    try:
        yield show
    except GateError as error:
        show(error.report)
        raise
