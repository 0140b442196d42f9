"""Every engine by name: `<loader>-<precision>`, such as `openvino-bf16`. A new engine is one more entry here."""

from __future__ import annotations

import dataclasses
import pkgutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from swinunet.export.engines.contract import Loaded
from swinunet.foundation.errors import InputError, MissingExtraError


@dataclass(frozen=True)
class Loader:
    """How a library runs a model version.

    entry: `module:function` of this package, from (version folder, precision, threads) to Loaded; its module imports
    the library. precisions: what it can be asked for. extra: the part of this software that the library comes with.
    """

    entry: str
    precisions: tuple[str, ...]
    extra: str


class EngineName(NamedTuple):
    """An engine: a key of LOADERS, and one of its precisions."""

    loader: str
    precision: str

    def __str__(self) -> str:
        return f"{self.loader}-{self.precision}"


LOADERS: dict[str, Loader] = {
    "pytorch": Loader("pytorch:load_eager", ("fp32", "bf16", "fp16"), "training"),
    "torch-compile": Loader("pytorch:load_compiled", ("fp32", "bf16", "fp16"), "training"),
    "torchscript": Loader("pytorch:load_torchscript", ("fp32", "bf16", "fp16"), "training"),
    "onnxruntime": Loader("onnx_runtime:load_cpu", ("fp32", "fp16", "int8"), "server"),
    "onnxruntime-cuda": Loader("onnx_runtime:load_cuda", ("fp32", "fp16"), "gpu"),
    "onnxruntime-tensorrt": Loader("onnx_runtime:load_tensorrt", ("fp32", "fp16", "int8"), "gpu"),
    "openvino": Loader("open_vino:load", ("f32", "bf16", "int8"), "server"),
    "tensorrt": Loader("tensor_rt:load", ("fp16", "int8"), "gpu"),
}

ENGINES: dict[str, EngineName] = {
    str(name): name
    for loader, made in LOADERS.items()
    for name in (EngineName(loader, precision) for precision in made.precisions)
}


def engine(name: str) -> EngineName:
    """The engine of that name. Raises InputError, listing the names, if there is none."""
    if name not in ENGINES:
        raise InputError(f"no engine is named {name!r}; choose one of {', '.join(ENGINES)}")
    return ENGINES[name]


def load_engine(loader: str, folder: Path, precision: str, threads: int) -> Loaded:
    """Load an engine of ENGINES from a version folder, computing on `threads` CPU cores where it runs on a CPU.

    Raises InputError if there is no such engine, the folder has not its file, or it cannot run on this machine;
    MissingExtraError if its library is not installed.
    """
    chosen = LOADERS[engine(f"{loader}-{precision}").loader]
    began = time.perf_counter()
    try:
        load = pkgutil.resolve_name(f"swinunet.export.engines.{chosen.entry}")
        import_s = time.perf_counter() - began
        loaded: Loaded = load(folder, precision, threads)
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{error.name} is not installed; pip install 'swinunet[{chosen.extra}]'") from None
    return dataclasses.replace(loaded, import_s=import_s)
