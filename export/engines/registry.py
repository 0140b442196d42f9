"""The registry of engines: everything that gate, benchmark, artefacts, served config and help know of one is here.

`docs/how-to-add-an-engine.md` shows how to add an engine.
"""

from __future__ import annotations

import dataclasses
import pkgutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from swinunet.export.file_names import (
    CHECKPOINT_FILE,
    FP16_GRAPH_FILE,
    GRAPH_FILE,
    INT8_GRAPH_FILE,
    OPENVINO_INT8_FILE,
    PLAN_FILE,
)
from swinunet.export.tolerances import TOLERANCES, Tolerance
from swinunet.foundation.errors import InputError, MissingExtraError
from swinunet.foundation.nearest import did_you_mean

if TYPE_CHECKING:
    from swinunet.export.engines.loaded_engine import LoadedEngine

REFERENCE = "pytorch-fp32"  # what every engine is compared with
DEFAULT_SERVED = "openvino-f32"  # what configs/cpu.pbtxt runs, if nothing else is asked for
_FP32_NAMES = ("fp32", "f32")  # libraries differ


@dataclass(frozen=True)
class Library:
    """How a library runs a model version.

    name: the first part of its engines' names. title: as tables name it. load: `module:function` in this folder, from
    (artefact, precision, threads) to LoadedEngine; its module imports the library.
    extra: the part of this software that the library comes with. runs_on: the processor it computes on.
    """

    name: str
    title: str
    load: str
    extra: Literal["training", "export", "server", "gpu", "dev"]
    runs_on: Literal["CPU", "GPU", "CPU or GPU"]


@dataclass(frozen=True)
class Engine:
    """A library in one precision.

    precision: in the library's own word. artefact: the file of the version folder that it runs.
    stored: element type of most weights in an ONNX artefact, by ONNX's name; empty for any.
    make: `module:function` in this folder, from (version folder, calibration, say) to nothing, that makes an
        artefact which is made only for those who ask.
    judged: whether the gate judges it. needed: a version is not promoted without it; other engines are left out when
        they fail, together with an artefact of their own. served: whether configs/cpu.pbtxt may name it, which
        model.py must know. measured: whether `swinunet benchmark` measures it.
    """

    library: Library
    precision: str
    artefact: str
    stored: str = ""
    make: str = ""
    judged: bool = False
    needed: bool = False
    served: bool = False
    measured: bool = False

    @property
    def name(self) -> str:
        """`<library>-<precision>`, as the command line names it."""
        return f"{self.library.name}-{self.precision}"

    @property
    def arithmetic(self) -> str:
        """The precision in the project's word, a key of TOLERANCES."""
        return "fp32" if self.precision in _FP32_NAMES else self.precision

    @property
    def served_precision(self) -> str:
        """The precision in the word of model.py."""
        return "f32" if self.precision in _FP32_NAMES else self.precision

    @property
    def tolerance(self) -> Tolerance:
        """What its precision may change."""
        return TOLERANCES[self.arithmetic]


ENGINES: dict[str, Engine] = {}


def register(engine: Engine) -> None:
    """Add an engine. Raises ValueError for a name that is taken, or a precision without a tolerance."""
    if engine.name in ENGINES:
        raise ValueError(f"engine {engine.name} is registered twice")
    if engine.arithmetic not in TOLERANCES:
        raise ValueError(
            f"engine {engine.name}: no tolerance for {engine.arithmetic}, only for {', '.join(TOLERANCES)}"
        )
    ENGINES[engine.name] = engine


def engine_named(name: str) -> Engine:
    """The engine of that name. Raises InputError, listing the names, if there is none."""
    if name not in ENGINES:
        raise InputError(f"no engine is named {name!r}; choose one of {', '.join(ENGINES)}")
    return ENGINES[name]


def judged_engines() -> tuple[Engine, ...]:
    """Those that the gate judges, in the order of its report."""
    return tuple(engine for engine in ENGINES.values() if engine.judged)


def served_engines() -> tuple[Engine, ...]:
    """Those that the CPU config may run."""
    return tuple(engine for engine in ENGINES.values() if engine.served)


def measured_engines() -> tuple[Engine, ...]:
    """Those that the benchmark measures, all of a library together."""
    libraries = list(dict.fromkeys(engine.library for engine in ENGINES.values()))
    measured = (engine for engine in ENGINES.values() if engine.measured)
    return tuple(sorted(measured, key=lambda engine: libraries.index(engine.library)))


def choose_judged(names: Sequence[str]) -> tuple[Engine, ...]:
    """Judged engines by name; a library's name stands for all its precisions. Raises InputError for other names."""
    chosen: list[Engine] = []
    for name in names:
        found = [engine for engine in judged_engines() if name in (engine.name, engine.library.name)]
        if not found:
            names_known = [engine.name for engine in judged_engines()]
            libraries = ", ".join(dict.fromkeys(engine.library.name for engine in judged_engines()))
            raise InputError(
                f"no engine is named {name!r}; choose from {libraries} (every precision), or one of "
                f"{', '.join(names_known)}{did_you_mean(name, names_known)}"
            )
        chosen += found
    return tuple(dict.fromkeys(chosen))


def choose_served(name: str) -> Engine:
    """The engine of that name, which the CPU config may run. Raises InputError for other names."""
    known = {engine.name: engine for engine in served_engines()}
    if name not in known:
        raise InputError(
            f"the CPU config cannot serve {name!r}; choose one of {', '.join(known)}{did_you_mean(name, known)}"
        )
    return known[name]


def load_engine(name: str, folder: Path, threads: int) -> LoadedEngine:
    """Load an engine from a version folder, computing on `threads` CPU cores where it runs on a CPU.

    Raises InputError if there is no such engine, its artefact is missing, or it cannot run on this machine;
    MissingExtraError if its library is not installed.
    """
    engine = engine_named(name)
    began = time.perf_counter()
    try:
        load = pkgutil.resolve_name(f"swinunet.export.engines.{engine.library.load}")
        import_s = time.perf_counter() - began
        loaded: LoadedEngine = load(folder / engine.artefact, engine.precision, threads)
    except ModuleNotFoundError as error:
        extra = engine.library.extra
        raise MissingExtraError(f"{error.name} is not installed; pip install 'swinunet[{extra}]'") from None
    return dataclasses.replace(loaded, import_s=import_s)


_EAGER = Library("pytorch", "PyTorch eager", "pytorch:load_eager", "training", "CPU or GPU")
_COMPILED = Library("torch-compile", "torch.compile", "pytorch:load_compiled", "training", "CPU or GPU")
_TORCHSCRIPT = Library("torchscript", "TorchScript", "pytorch:load_torchscript", "training", "CPU or GPU")
_ONNXRUNTIME = Library("onnxruntime", "ONNX Runtime", "onnx_runtime:load_cpu", "server", "CPU")
_OPENVINO = Library("openvino", "OpenVINO", "open_vino:load", "server", "CPU")
_CUDA = Library("onnxruntime-cuda", "ONNX Runtime CUDA", "onnx_runtime:load_cuda", "gpu", "GPU")
_ORT_TENSORRT = Library("onnxruntime-tensorrt", "ONNX Runtime TensorRT", "onnx_runtime:load_tensorrt", "gpu", "GPU")
_TENSORRT = Library("tensorrt", "TensorRT", "tensor_rt:load", "gpu", "GPU")


def _cpu(
    library: Library, precision: str, artefact: str, stored: str = "", *, make: str = "", needed: bool = False
) -> Engine:
    """An engine for CPUs, which is judged and measured and may be served."""
    return Engine(library, precision, artefact, stored, make, judged=True, needed=needed, served=True, measured=True)


for _engine in (
    Engine(_EAGER, "fp32", CHECKPOINT_FILE, measured=True),
    Engine(_EAGER, "bf16", CHECKPOINT_FILE, measured=True),
    Engine(_EAGER, "fp16", CHECKPOINT_FILE),
    Engine(_COMPILED, "fp32", CHECKPOINT_FILE, measured=True),
    Engine(_COMPILED, "bf16", CHECKPOINT_FILE, measured=True),
    Engine(_COMPILED, "fp16", CHECKPOINT_FILE),
    Engine(_TORCHSCRIPT, "fp32", CHECKPOINT_FILE, measured=True),
    Engine(_TORCHSCRIPT, "bf16", CHECKPOINT_FILE),
    Engine(_TORCHSCRIPT, "fp16", CHECKPOINT_FILE),
    _cpu(_ONNXRUNTIME, "fp32", GRAPH_FILE, "FLOAT", needed=True),
    _cpu(_OPENVINO, "f32", GRAPH_FILE, "FLOAT"),
    _cpu(_OPENVINO, "bf16", GRAPH_FILE, "FLOAT"),
    _cpu(_ONNXRUNTIME, "fp16", FP16_GRAPH_FILE, "FLOAT16"),
    _cpu(_ONNXRUNTIME, "int8", INT8_GRAPH_FILE, make="artefacts:make_onnxruntime_int8"),
    _cpu(_OPENVINO, "int8", OPENVINO_INT8_FILE, make="artefacts:make_openvino_int8"),
    Engine(_CUDA, "fp32", GRAPH_FILE, "FLOAT"),
    Engine(_CUDA, "fp16", FP16_GRAPH_FILE, "FLOAT16", measured=True),
    Engine(_ORT_TENSORRT, "fp32", GRAPH_FILE, "FLOAT"),
    Engine(_ORT_TENSORRT, "fp16", FP16_GRAPH_FILE, "FLOAT16"),
    Engine(_ORT_TENSORRT, "int8", INT8_GRAPH_FILE),
    Engine(_TENSORRT, "fp16", PLAN_FILE, make="artefacts:make_tensorrt_plan", judged=True, measured=True),
    Engine(_TENSORRT, "int8", PLAN_FILE),
):
    register(_engine)
