"""A version folder in a real Triton: what a client would get, over gRPC."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tritonclient.grpc as grpcclient

from swinunet.export.engines.loaded_engine import Outputs
from swinunet.export.repository.served_configs import Configs
from swinunet.foundation.errors import ParityError
from swinunet.serving import TritonServer
from swinunet.serving.canary import connect
from swinunet.serving.checksums import PROOF_FILE

_TIMEOUT_S = 120.0


@contextmanager
def served_model(folder: Path, name: str, version: int, configs: Configs) -> Iterator[Callable[[np.ndarray], Outputs]]:
    """Serve the version in `folder` from a repository of its own, and infer through it (image float16 [B, C, H, W]).

    `folder` is only read. Raises ServingError if Triton is not installed, does not start, or fails its canary.
    """
    with tempfile.TemporaryDirectory(prefix="swinunet-gate-") as made:
        model = Path(made) / name
        model.mkdir()
        configs.write(model)
        link_version(folder, model / str(version))
        with TritonServer(Path(made)) as server, connect(server.url) as client:
            yield lambda image: infer(client, name, version, image)


def link_version(folder: Path, target: Path) -> None:
    """Make `target` a version folder of links to the files of `folder`, without the proof.

    model.py is copied: Python would leave its __pycache__ beside the original.
    """
    target.mkdir()
    for path in folder.iterdir():
        if path.suffix == ".py":
            shutil.copyfile(path, target / path.name)
        elif path.is_file() and path.name != PROOF_FILE:  # what the files compute is judged, not what they are
            (target / path.name).symlink_to(path.resolve())


def infer(client: grpcclient.InferenceServerClient, name: str, version: int, image: np.ndarray) -> Outputs:
    """Both outputs for image, float16 [B, C, H, W]. Raises ParityError if another version than `version` answers."""
    tensor = grpcclient.InferInput("image", image.shape, "FP16")
    tensor.set_data_from_numpy(image)
    wanted = [grpcclient.InferRequestedOutput(output) for output in Outputs._fields]
    answer = client.infer(name, [tensor], str(version), outputs=wanted, client_timeout=_TIMEOUT_S)
    answered = answer.get_response().model_version
    if answered != str(version):
        raise ParityError(f"version {answered or '?'} of {name} answered for version {version}")
    return Outputs(*(np.asarray(answer.as_numpy(output)) for output in Outputs._fields))
