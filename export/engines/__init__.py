"""Engines that run a model version in this process: what the gate proves, and what the benchmark measures.

table          every engine by name, and how to load one
contract       what all of them take and return
pytorch, onnx_runtime, open_vino, tensor_rt    one library each
"""

from swinunet.export.engines.contract import Loaded, Outputs
from swinunet.export.engines.table import ENGINES, LOADERS, EngineName, Loader, engine, load_engine

__all__ = ["ENGINES", "LOADERS", "EngineName", "Loaded", "Loader", "Outputs", "engine", "load_engine"]
