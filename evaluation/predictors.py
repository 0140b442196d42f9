"""The predictor that a model's name stands for: a checkpoint, an ONNX file, a model on Triton, or a folder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from swinunet.evaluation.predictions import FolderPredictor, Kind, ModelIdentity, Predictor, spec_as_dict
from swinunet.foundation.errors import CheckpointError, InputError, ServerError
from swinunet.foundation.files import sha256_of_file
from swinunet.imaging import SPEC_KEY, ModelSpec, Volume
from swinunet.imaging.study_slices import Output
from swinunet.training.data.cases import CasePaths, PredictSlices, load_case

if TYPE_CHECKING:
    from swinunet.client import TritonModel

BATCH = 8  # slices

_ADDRESS = re.compile(r"(?P<url>[A-Za-z0-9_.\-]+:\d{1,5}|\[[0-9A-Fa-f:]+\]:\d{1,5})(/(?P<name>[A-Za-z0-9_\-]+))?")
_FORMS = "a checkpoint (.safetensors), an ONNX file (.onnx), HOST:PORT[/model] of Triton, or a folder of predictions"


_ADVICE = {
    "choose one with --model": "name one of them, as in HOST:PORT/MODEL",
    ", or omit --url to start one here (and give --tls if, and only if, the server speaks TLS)": "",
}


@contextmanager
def open_predictor(model: str, cases: Sequence[CasePaths]) -> Iterator[Predictor]:
    """The predictor that `model` names; a connection to a server is closed at the end.

    Raises InputError if it is none of the four kinds, and what reading it raises.
    """
    path = Path(model)
    if path.is_dir():
        yield FolderPredictor(_require_predictions(path), cases)
    elif path.suffix == ".safetensors":
        yield checkpoint_predictor(path)
    elif path.suffix == ".onnx":
        yield onnx_predictor(path)
    elif (address := _ADDRESS.fullmatch(model)) is not None:
        from swinunet.client import TritonModel

        with _advising_our_options(), TritonModel(address["url"], address["name"]) as served:
            yield ServedPredictor(served, model)
    else:
        raise InputError(f"{model}: no such model; expected {_FORMS}")


@contextmanager
def _advising_our_options() -> Iterator[None]:
    """The client's messages name options of `swinunet segment`; here the model's address says the same."""
    try:
        yield
    except ServerError as error:
        said = str(error)
        for theirs, ours in _ADVICE.items():
            said = said.replace(theirs, ours)
        raise type(error)(said) from None


def checkpoint_predictor(path: Path) -> SlicePredictor:
    """The network of a checkpoint, in PyTorch on the CPU, float32. Raises CheckpointError."""
    import torch

    from swinunet.training.loop.validation import predict_slices
    from swinunet.training.network.checkpoint import load_checkpoint

    network, spec = load_checkpoint(path)
    if spec is None:
        raise CheckpointError(f"{path}: holds no model spec, so it is not known what it segments; train it first")

    def predict(image: np.ndarray, output: Output) -> np.ndarray:
        return predict_slices(network, image, output)

    return SlicePredictor(
        _identity("checkpoint", path, spec, sha256_of_file(path), f"torch {torch.__version__}"), spec, predict
    )


def onnx_predictor(path: Path) -> SlicePredictor:
    """An exported graph, on ONNX Runtime's CPU provider. Raises InputError for a file that is none of ours."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises its own, several
        reason = "no such file" if not path.is_file() else f"not a readable ONNX file ({type(error).__name__})"
        raise InputError(f"{path}: {reason}; export the model again") from None
    found = session.get_modelmeta().custom_metadata_map.get(SPEC_KEY)
    if found is None or "labels" not in [output.name for output in session.get_outputs()]:
        raise InputError(f"{path}: an ONNX file, but no model of this software; make one with `swinunet export`")
    spec = ModelSpec.from_json(found, str(path))

    def predict(image: np.ndarray, output: Output) -> np.ndarray:
        return np.asarray(session.run([output], {"image": image})[0])

    engine = f"onnxruntime {onnxruntime.__version__}"
    return SlicePredictor(_identity("onnx", path, spec, sha256_of_file(path), engine), spec, predict)


class SlicePredictor:
    """A network that this process runs, on slices as its spec wants them."""

    def __init__(self, identity: ModelIdentity, spec: ModelSpec, predict: PredictSlices) -> None:
        self.identity = identity
        self.class_names: tuple[str, ...] | None = tuple(label.name for label in spec.labels)
        self._spec, self._predict = spec, predict

    def __call__(self, case: CasePaths) -> Volume:
        """Labels of a case on its native grid. Raises InputError, naming it, if it cannot be preprocessed."""
        loaded = load_case(case, self._spec)
        return Volume(loaded.predict(self._predict, BATCH), loaded.native_labels.affine)


class ServedPredictor:
    """A model on a Triton server, used as `swinunet segment` uses it. source: as the user named it."""

    def __init__(self, served: TritonModel, source: str) -> None:
        spec = served.spec
        self._served = served
        self.class_names: tuple[str, ...] | None = tuple(label.name for label in spec.labels)
        self.identity = ModelIdentity(
            kind="served",
            name=served.name,
            version=served.version,
            source=source,
            sha256=spec.provenance.checkpoint_sha256,
            engine="Triton",
            spec=spec_as_dict(spec),
        )

    def __call__(self, case: CasePaths) -> Volume:
        """Labels of a case on its native grid. Raises InputError for an unusable image, ServerError."""
        from swinunet.client import segment_volume

        found = segment_volume(case.read_images(self._served.spec.pixel_mm), self._served)
        return Volume(found.mask, found.volume.affine)


def _identity(kind: Kind, path: Path, spec: ModelSpec, sha256: str, engine: str) -> ModelIdentity:
    return ModelIdentity(kind, spec.name, str(spec.version), str(path), sha256, engine, spec_as_dict(spec))


def _require_predictions(folder: Path) -> Path:
    """Refuse a folder that holds a model: a run, or a version of a model repository."""
    for name in ("checkpoint.safetensors", "model.onnx"):
        if (folder / name).is_file():
            raise InputError(f"{folder}: a folder with a model in it, not with predictions; give {folder / name}")
    return folder
