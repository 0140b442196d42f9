"""The ONNX graph of a checkpoint: folded, in FP16, in int8."""
