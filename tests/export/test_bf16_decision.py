"""In what a network is computed, by what the processor can: decided from a list, so that every machine tests both."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from swinunet.export.engines.open_vino import float_precision
from swinunet.export.repository import triton_config
from swinunet.foundation.errors import InputError

WITHOUT, WITH = ["WINOGRAD", "FP32", "INT8", "BIN"], ["BF16", "WINOGRAD", "FP32", "INT8", "BIN"]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """model.py, imported where there is no Triton."""
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", ModuleType("triton_python_backend_utils"))
    monkeypatch.setitem(sys.modules, "openvino_telemetry", sys.modules.get("openvino_telemetry"))
    path = Path(triton_config.__file__).with_name("python_backend_model.py")
    source = importlib.util.spec_from_file_location("served_model", path)
    assert source is not None
    assert source.loader is not None
    module = importlib.util.module_from_spec(source)
    source.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("precision", "capabilities", "expected"),
    [
        ("auto", WITHOUT, "f32"),
        ("auto", WITH, "bf16"),
        ("int8", WITHOUT, "f32"),
        ("int8", WITH, "bf16"),
        ("f32", WITHOUT, "f32"),
        ("f32", WITH, "f32"),
        ("bf16", WITH, "bf16"),
    ],
)
def test_what_is_served_is_computed_in_what_the_processor_has(
    served: ModuleType, precision: str, capabilities: list[str], expected: str
) -> None:
    assert served._float_precision(precision, capabilities) == expected
    if precision != "auto":  # which the gate asks for by name
        assert float_precision(precision, capabilities) == expected


def test_the_gate_does_not_judge_bf16_without_the_instructions() -> None:
    with pytest.raises(InputError, match=r"no bf16 instructions .*openvino-f32"):
        float_precision("bf16", WITHOUT)
