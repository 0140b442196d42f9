"""Finds, starts, checks and stops a real Triton.

with TritonServer(Path("model_repository"), config_name="cpu") as server:
    print(server.url)
"""

from swinunet.foundation.errors import ServingError
from swinunet.serving.locate import find_tritonserver
from swinunet.serving.server import TritonServer

__all__ = ["ServingError", "TritonServer", "find_tritonserver"]
