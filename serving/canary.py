"""The canary: a request with a known answer. Triton's own `ready` stays true over a dead or miscomputing backend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

from swinunet.foundation.errors import ServingError
from swinunet.foundation.triton_channel import IMAGE_INPUT, IMAGE_TYPE, channel_options

CANARY_FILE = "canary.npz"  # `image` float16 [B, C, H, W], `labels` uint8 [B, H, W]; written by export
MIN_AGREEMENT = 0.99  # of all pixels: precision may move a border, nothing more
MIN_FOREGROUND_AGREEMENT = 0.9  # of pixels that are foreground in the canary: mostly background, zeros would pass


@dataclass(frozen=True)
class ServedModel:
    """A model version that Triton has loaded, or failed to (`reason` is Triton's)."""

    name: str
    version: str
    state: str
    reason: str


@contextmanager
def connect(url: str, headers: Mapping[str, str] | None = None) -> Iterator[grpcclient.InferenceServerClient]:
    """A gRPC client of a server on this machine. headers: metadata of every call.

    Raises ServingError for whatever the server refuses.
    """
    # A connection of its own: one that is shared with a client of this process may still wait to try again.
    options = [*channel_options(), ("grpc.use_local_subchannel_pool", 1)]
    client = grpcclient.InferenceServerClient(url, channel_args=options)
    client.register_plugin(_Headers(dict(headers or {})))
    try:
        yield client
    except InferenceServerException as error:
        raise ServingError(f"Triton at {url}: {' '.join(str(error.message()).split())}") from None
    finally:
        client.close()


class _Headers(grpcclient.InferenceServerClientPlugin):
    """Puts the headers into every call."""

    def __init__(self, headers: dict[str, str]) -> None:
        self._headers = headers

    def __call__(self, request: Any) -> None:
        request.headers = {**(request.headers or {}), **self._headers}


def served_models(client: grpcclient.InferenceServerClient, timeout: float) -> list[ServedModel]:
    """What the server says of each model version in its repository."""
    index = client.get_model_repository_index(client_timeout=timeout)
    return [ServedModel(model.name, model.version, model.state, model.reason) for model in index.models]


def check_model(client: grpcclient.InferenceServerClient, repository: Path, model: ServedModel, timeout: float) -> bool:
    """Check that `model` is ready and answers its canary. Returns False if it has no canary to answer.

    Raises ServingError or InferenceServerException if it is not ready, does not answer or answers wrongly, or if its
    canary has no structure to find.
    """
    name = f"model {model.name} version {model.version or '?'}"
    if model.state != "READY":
        raise ServingError(f"{name} is {model.state or 'not loaded'}: {' '.join(model.reason.split())}")
    path = repository / model.name / model.version / CANARY_FILE
    if not path.is_file():
        if not client.is_model_ready(model.name, model.version, client_timeout=timeout):
            raise ServingError(f"{name} is not ready")
        return False
    try:
        with np.load(path, allow_pickle=False) as canary:
            image, expected = canary["image"], canary["labels"]
    except Exception as error:  # NumPy, zipfile and zlib raise their own on a damaged file
        raise ServingError(f"{path} cannot be read ({type(error).__name__}); export the model again") from None
    if not (expected > 0).any():
        raise ServingError(
            f"{path} has no structure in it, so a server that finds nothing would pass; export the model again, with "
            "images that have some (--data)"
        )
    config = client.get_model_config(model.name, model.version, client_timeout=timeout).config
    size = config.max_batch_size or len(image)  # 0: the model does not batch, and takes what its inputs' shape says
    parts = [image[start : start + size] for start in range(0, len(image), size)]
    _compare(name, np.concatenate([_infer(client, model, part, timeout) for part in parts]), expected)
    return True


def _infer(
    client: grpcclient.InferenceServerClient, model: ServedModel, image: np.ndarray, timeout: float
) -> np.ndarray:
    tensor = grpcclient.InferInput(IMAGE_INPUT, image.shape, IMAGE_TYPE)
    tensor.set_data_from_numpy(image)
    outputs = [grpcclient.InferRequestedOutput("labels")]
    try:
        answer = client.infer(model.name, [tensor], model.version, outputs=outputs, client_timeout=timeout)
        return np.asarray(answer.as_numpy("labels"))
    except InferenceServerException as error:
        reason = " ".join(str(error.message()).split())
    except ValueError as error:  # fewer bytes than its shape says: what a NumPy 1 stub sends under NumPy 2
        reason = f"labels do not fit their shape ({error})"
    raise ServingError(f"model {model.name} version {model.version} fails its canary: {reason}")


def _compare(name: str, labels: np.ndarray, expected: np.ndarray) -> None:
    if labels.shape != expected.shape:
        raise ServingError(f"{name} fails its canary: labels are {labels.shape}, expected {expected.shape}")
    agreement = float((labels == expected).mean())
    structures = expected > 0
    found = float((labels == expected)[structures].mean()) if structures.any() else 0.0
    if agreement < MIN_AGREEMENT or found < MIN_FOREGROUND_AGREEMENT:
        raise ServingError(
            f"{name} fails its canary: {agreement:.1%} of all labels and {found:.1%} of the foreground agree, expected "
            f"{MIN_AGREEMENT:.0%} and {MIN_FOREGROUND_AGREEMENT:.0%}; the backend miscomputes"
        )
