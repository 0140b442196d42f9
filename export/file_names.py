"""Names of the files in a version folder, each said once.

`serving` reads canary.npz and model.plan and names them itself, as it imports nothing of export; a test compares.
"""

from __future__ import annotations

CHECKPOINT_FILE = "checkpoint.safetensors"
GRAPH_FILE = "model.onnx"  # float32; the other graphs are made from it
FP16_GRAPH_FILE = "model_fp16.onnx"
INT8_GRAPH_FILE = "model_int8.onnx"  # for ONNX Runtime and TensorRT
OPENVINO_INT8_FILE = "openvino_int8.xml"  # its weights lie in the .bin beside it
PLAN_FILE = "model.plan"  # TensorRT's
TIMING_CACHE_FILE = "model.plan.timing"  # what TensorRT measured; makes the next build on this GPU faster

MODEL_PY_FILE = "model.py"
CANARY_FILE = "canary.npz"
LOAD_TEST_FILE = "perf_analyzer.json"  # a slice of the canary, as NVIDIA's perf_analyzer reads it
MODEL_CARD_FILE = "MODEL_CARD.md"
GATE_JSON_FILE, GATE_MARKDOWN_FILE = "gate.json", "GATE.md"
NOTES_FILE = "NOTES.md"  # beside a checkpoint: ends the model card
