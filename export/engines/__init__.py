"""Engines that run a model version in this process: what the gate proves, and what the benchmark measures.

registry       every engine by name, what it runs and how it is loaded
loaded_engine  what all of them take and return
artefacts      the files that engines run, made from model.onnx
pytorch, onnx_runtime, open_vino, tensor_rt    one library each
tensorrt_builder               an engine from a graph, by whichever TensorRT
tensorrt_plan, tensorrt_rtx    plans for the GPU of this machine, and for one that is not here
"""
