"""Finds, starts, checks and stops a real Triton.

with TritonServer(Path("model_repository"), config_name="cpu") as server:
    print(server.url)
"""

from serving.errors import ServingError
from serving.locate import find_tritonserver
from serving.server import TritonServer

__all__ = ["ServingError", "TritonServer", "find_tritonserver"]
