"""`swinunet export`: a checkpoint becomes a served model version, after proof."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from swinunet.export.gate.report import Report
    from swinunet.foundation.progress import Say

_WIDTH = 160  # columns; below, the report's tables cannot be read


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("export", no_args_is_help=True)(_export)


def _engines() -> str:
    """Those that the gate judges."""
    from swinunet.export.engines.registry import judged_engines

    return ", ".join(engine.name for engine in judged_engines())


def _export(
    checkpoint: Annotated[
        str | None,
        typer.Argument(help="checkpoint (.safetensors); with --check also a version folder; with --rollback a model"),
    ] = None,
    repository: Annotated[
        Path | None, typer.Option(help="Triton model repository [default: model_repository/]")
    ] = None,
    version: Annotated[int | None, typer.Option(min=1, help="model version [default: the spec's]")] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="labelled folder, or images, to judge on [default: the MNI152 brain, without labels]"),
    ] = None,
    engine: Annotated[
        list[str] | None,
        typer.Option(help=f"an engine that must pass; repeatable: {_engines()} [default: judge all there are]"),
    ] = None,
    serve_with: Annotated[
        str | None, typer.Option(help="engine and precision of the CPU config [default: openvino-f32]")
    ] = None,
    serve: Annotated[bool, typer.Option("--serve/--no-serve", help="judge the version in a real Triton, too")] = True,
    bisect: Annotated[bool, typer.Option("--bisect", help="name the first layer that drifts in a graph that fails")] = (
        False
    ),
    check: Annotated[bool, typer.Option("--check", help="only repeat the proof; writes nothing")] = False,
    rollback: Annotated[bool, typer.Option("--rollback", help="take the last version of a model out")] = False,
    report: Annotated[Path | None, typer.Option(help="folder for gate.json and GATE.md, whatever they say")] = None,
) -> None:
    """Export a checkpoint to ONNX, prove that every engine computes the same, and put it where Triton serves it.

    Each engine, and the version in a real Triton, is compared with PyTorch float32: outputs at several batches, then
    whole masks. A version that fails is not promoted, and the one before it keeps serving. The proof is kept beside
    the version as gate.json and GATE.md.

    Example: `swinunet export runs/hippocampus/checkpoint.safetensors --data Task04_Hippocampus`

    Repeat the proof: `swinunet export model_repository/swin_unet_hippocampus/1 --check`

    Which layer is wrong? `swinunet export model_repository/swin_unet_hippocampus/1 --check --bisect`

    Back to the version before: `swinunet export --rollback swin_unet_hippocampus`
    """
    from swinunet.foundation.errors import InputError
    from swinunet.foundation.paths import default_repository

    if check and rollback:
        raise InputError("--check and --rollback are two jobs; give one of them")
    if (check or rollback) and (version is not None or serve_with is not None):
        raise InputError("--version and --serve-with are of a new version; leave them out with --check and --rollback")
    place = repository or default_repository()
    if rollback:
        _roll_back(place, checkpoint)
    elif checkpoint is None:
        raise InputError("no checkpoint was given; expected a .safetensors file (or --rollback)")
    else:
        from swinunet.export.engines.registry import DEFAULT_SERVED
        from swinunet.export.pipeline import GateOptions, check_version, export_checkpoint

        with _reporting(report) as show:
            with _status() as say:
                options = GateOptions(tuple(engine or ()), serve, bisect, say)
                if check:
                    done, judged = None, check_version(Path(checkpoint), place, data, options)
                else:
                    serving = serve_with or DEFAULT_SERVED
                    done = export_checkpoint(Path(checkpoint), place, version, data, options, serving)
                    judged = done.report
            show(judged)
        if done:
            print(f"{done.spec.name} version {done.spec.version}: {done.folder}")


def _roll_back(repository: Path, model: str | None) -> None:
    from swinunet.export.repository.versions import roll_back

    done = roll_back(repository, model)
    print(f"{done.model}: version {done.version} is out (kept as {done.kept}), version {done.serving} is served")


@contextmanager
def _reporting(folder: Path | None) -> Iterator[Callable[[Report], None]]:
    """What shows a report, and keeps it in `folder`; that of a version that failed is shown, too."""
    from rich.console import Console

    from swinunet.cli.verbs.evaluate import show_table
    from swinunet.export.gate.report import GateError
    from swinunet.foundation.files import prepare_folder

    if folder is not None:
        prepare_folder(folder)

    def show(report: Report) -> None:
        if folder is not None:
            report.write(folder)
        console = Console()
        narrow = console.is_terminal and console.width < _WIDTH
        for table in (report.overview(),) if narrow else report.tables():
            show_table(table)
        for line in report.summary():
            print(f"- {line}")

    try:
        yield show
    except GateError as error:
        show(error.report)
        raise


@contextmanager
def _status() -> Iterator[Say]:
    """A line that says what goes on, on a terminal."""
    from rich.console import Console

    with Console(stderr=True).status("reading") as status:
        yield lambda step: status.update(step)
