"""The `swinunet` command: one module per verb. Verbs import what they need when they run, so help costs nothing."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys

import typer

from swinunet.cli import verbs
from swinunet.foundation.errors import MissingExtraError, SwinUNetError

app = typer.Typer(
    help="Swin-UNet segmentation: train, export, serve on NVIDIA Triton, segment DICOM and NIfTI.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


@app.callback()
def _root() -> None:
    """Keep verbs verbs, however few there are."""


for _verb in pkgutil.iter_modules(verbs.__path__):
    importlib.import_module(f"{verbs.__name__}.{_verb.name}").register(app)

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
}


def main() -> None:
    """Run the command line; every error a user can act on is one line on standard error and exit status 1."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(_fail("interrupted", 130))
    except SystemExit as ended:
        if ended.__context__ and isinstance(ended.__context__.__cause__, KeyboardInterrupt):  # which Typer makes silent
            _fail("interrupted", 130)
        raise
    except Exception as error:
        if os.environ.get("SWINUNET_DEBUG"):
            raise
        sys.exit(_fail(_message(error), 1))


def _message(error: Exception) -> str:
    from swinunet.serving import ServingError

    if isinstance(error, SwinUNetError | ServingError):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] in _EXTRA_OF:
        extra = _EXTRA_OF[str(error.name).split(".")[0]]
        return str(
            MissingExtraError(f"this verb needs {error.name}, which is not installed; pip install 'swinunet[{extra}]'")
        )
    return f"unexpected {type(error).__name__}; run again with SWINUNET_DEBUG=1 for the details and report it"


def _fail(message: str, status: int) -> int:
    print(f"swinunet: {' '.join(message.split())}", file=sys.stderr)
    return status
