"""The `swinunet` command: one module of `cli/verbs/` per verb.

A verb's module is imported when the verb is asked for, and imports what it needs when it runs: so help, and a wrong
option, cost nothing. docs/how-to-add-a-verb.md says what such a module contains.
"""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import sys
from contextlib import suppress
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from swinunet.cli import verbs
from swinunet.cli.verb_help import Verb
from swinunet.foundation.errors import MissingExtraError, SwinUNetError
from swinunet.foundation.terminal import one_line

_EXTRA_OF = {
    "torch": "training",
    "safetensors": "training",
    "tensorboard": "training",
    "PIL": "training",
    "nncf": "export",
    "onnx": "export",
    "onnxscript": "export",
    "polygraphy": "export",
    "onnxruntime": "server",
    "openvino": "server",
    "pydicom": "client",
    "dicomanonymizer": "client",
    "highdicom": "client",
    "tenacity": "client",
    "tritonclient": "client",
    "matplotlib": "client",
    "nilearn": "demo",
    "jinja2": "gateway",
    "sqlalchemy": "gateway",
    "pynetdicom": "gateway",
    "dicomweb_client": "gateway",
    "prometheus_client": "gateway",
    "python_multipart": "gateway",
    "starlette": "gateway",
    "uvicorn": "gateway",
    "psycopg": "postgres",
    "pyarrow": "batch",
    "fsspec": "batch",
    "ray": "batch",
}


class _Verbs(TyperGroup):
    """The modules of `cli/verbs/`, each imported when its verb is asked for. `import_` is the verb `import`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        modules = sorted(each.name for each in pkgutil.iter_modules(verbs.__path__))
        self._module_of = {name.rstrip("_"): f"{verbs.__name__}.{name}" for name in modules}
        self._listing = False

    def list_commands(self, ctx: Any) -> list[str]:
        """The verbs, whether they are loaded or not."""
        return list(self._module_of)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The verb of this name, for a list of verbs without its options; None if there is none."""
        if cmd_name not in self._module_of:
            self.commands = dict.fromkeys(self._module_of, TyperCommand("verb"))  # Typer suggests one of these names
            return None
        alone = typer.Typer(rich_markup_mode="markdown", add_completion=False)
        importlib.import_module(self._module_of[cmd_name]).register(alone)
        (info,) = alone.registered_commands
        if not self._listing:
            info.cls = Verb
            command = typer.main.get_command(alone)
            assert isinstance(command, Verb)
            command.common = getattr(info.callback, "common", ())
            return command
        return TyperCommand(cmd_name, help=info.help or inspect.getdoc(info.callback))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Help, with a line on each verb."""
        self._listing = True
        super().format_help(ctx, formatter)
        self._listing = False


app = typer.Typer(
    cls=_Verbs,
    help="Swin-UNet segmentation: train, export, serve on NVIDIA Triton, segment DICOM and NIfTI.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(context: typer.Context, asked: bool) -> None:
    if asked and not context.resilient_parsing:  # which completion does
        from importlib.metadata import version

        print(f"swinunet {version('swinunet')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Options of the command itself."""


def main() -> None:
    """Run the command line; every error a user can act on is one line on standard error and exit status 1."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):  # a test's own stream
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(_fail("interrupted", 130))
    except SystemExit as ended:
        if ended.__context__ and isinstance(ended.__context__.__cause__, KeyboardInterrupt):  # which Typer makes silent
            _fail("interrupted", 130)
        if refused := _refused_output():
            sys.exit(_fail(refused, 1))
        raise
    except Exception as error:
        if os.environ.get("SWINUNET_DEBUG"):
            raise
        refused = _refused_output("\n" if isinstance(error, OSError) and error.filename is None else "")
        sys.exit(_fail(refused or _message(error), 1))


def _refused_output(probe: str = "") -> str:
    """Why standard output does not take what was printed, or `probe`; empty if it does. It gets nothing more then."""
    try:
        sys.stdout.write(probe)
        sys.stdout.flush()
    except OSError as error:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter complains at its end
        return f"cannot write to standard output ({os.strerror(error.errno or 0)}); results in files are not affected"
    return ""


def _message(error: Exception) -> str:
    if isinstance(error, SwinUNetError):
        return "; ".join([str(error), *getattr(error, "__notes__", ())])
    if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] in _EXTRA_OF:
        extra = _EXTRA_OF[str(error.name).split(".")[0]]
        return str(
            MissingExtraError(f"this verb needs {error.name}, which is not installed; pip install 'swinunet[{extra}]'")
        )
    return f"unexpected {type(error).__name__}; run again with SWINUNET_DEBUG=1 for the details and report it"


def _fail(message: str, status: int) -> int:
    print(f"swinunet: {one_line(message)}", file=sys.stderr)
    return status
