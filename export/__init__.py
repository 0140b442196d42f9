"""Checkpoint -> ONNX -> parity -> model_repository."""
