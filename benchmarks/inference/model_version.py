"""What is measured: one model version of a repository, its spec, and real slices for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from swinunet.foundation.errors import CheckpointError, InputError, MissingExtraError
from swinunet.foundation.nearest import did_you_mean
from swinunet.imaging import SPEC_KEY, ModelSpec

SLICES = 16  # different ones, taken in turn


@dataclass(frozen=True)
class ModelVersion:
    """What is measured. `folder` is <repository>/<name>/<version>."""

    repository: Path
    folder: Path
    spec: ModelSpec

    @property
    def title(self) -> str:
        """Name and version."""
        return f"{self.spec.name} version {self.folder.name}"


def spec_name(recipe: str) -> str:
    """What a recipe's untrained network is called as a model."""
    return recipe.replace("-", "_")


def find_version(repository: Path, name: str | None) -> ModelVersion:
    """The newest version of model `name` of a repository, or the version folder `name`; None takes the only model.

    Raises InputError if the repository, the model or its ONNX file is not there, SpecError for an unreadable spec.
    """
    if name is not None and (given := Path(name)).is_dir() and given.resolve().name.isdigit():
        return _read_version(given.resolve())
    models = _models(repository)
    listed = ", ".join(sorted(models)) or "none"
    if name is None and len(models) > 1:
        raise InputError(f"{repository} has several models ({listed}); choose one with --model")
    if not models or (name is not None and name not in models):
        wanted = f"model {name!r}" if name else "model"
        raise InputError(
            f"{repository} has no {wanted} (there is: {listed}); make one with `swinunet export`"
            f"{did_you_mean(name or '', models)}"
        )
    return _read_version(models[name or next(iter(models))])


def _read_version(folder: Path) -> ModelVersion:
    """A version folder, <repository>/<name>/<version>."""
    path = folder / "model.onnx"
    try:
        properties = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    except FileNotFoundError:
        raise InputError(f"{path} is missing; export the model again") from None
    except Exception as error:  # protobuf raises its own
        raise InputError(f"{path} is not a readable ONNX file ({type(error).__name__}); export it again") from None
    return ModelVersion(folder.parent.parent, folder, ModelSpec.from_json(properties.get(SPEC_KEY, ""), str(path)))


def gflop(version: ModelVersion) -> float:
    """GFLOP of one slice, as `recipes.gflop` counts them; 0 where the checkpoint is missing or broken."""
    from swinunet.training.network.checkpoint import load_checkpoint
    from swinunet.training.network.recipes import gflop as count

    try:
        network, _ = load_checkpoint(version.folder / "checkpoint.safetensors")
    except CheckpointError:
        return 0.0
    return count(network.config)


def real_slices(version: ModelVersion) -> tuple[np.ndarray, str]:
    """SLICES slices of real images, float16 [N, C, H, W], and where they are from, in words.

    The canary's (chosen by export for their foreground) come first, then some spread over the MNI152 brain; where that
    is not installed, the canary's are all. Raises InputError if there are none.
    """
    parts, origins = [], []
    canary = version.folder / "canary.npz"
    if canary.is_file():
        parts.append(_canary(canary)[:SLICES])
        origins.append(f"{len(parts[0])} of the model's canary")
    wanted = SLICES - sum(map(len, parts))
    if wanted and (brain := _brain(version.spec)) is not None:
        known = {each.tobytes() for part in parts for each in part}  # a canary may be of this brain
        others = [index for index, each in enumerate(brain) if each.tobytes() not in known]
        chosen = brain[[others[int(at)] for at in np.linspace(0, len(others) - 1, wanted + 2)[1:-1]]]
        parts.append(chosen)
        origins.append(f"{len(chosen)} of the MNI152 T1 brain")
    if not parts:
        raise InputError(
            f"{version.folder} has no canary.npz and nilearn's MNI152 brain is not installed: no real slices to "
            "measure with; pip install nilearn"
        )
    return np.ascontiguousarray(np.concatenate(parts)), " and ".join(origins)


def _models(repository: Path) -> dict[str, Path]:
    """Newest version folder of each model in `repository`."""
    if not repository.is_dir():
        raise InputError(f"{repository} is no folder; expected a Triton model repository (`swinunet export` makes one)")
    found = {}
    for model in sorted(path for path in repository.iterdir() if path.is_dir()):
        versions = [path for path in model.iterdir() if path.is_dir() and path.name.isdigit()]
        if versions:
            found[model.name] = max(versions, key=lambda path: int(path.name))
    return found


def _canary(path: Path) -> np.ndarray:
    try:
        with np.load(path, allow_pickle=False) as canary:
            return np.asarray(canary["image"], np.float16)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} cannot be read ({error}); export the model again") from None


def _brain(spec: ModelSpec) -> np.ndarray | None:
    """Slices of the MNI152 brain, float16 [N, C, H, W], or None where it is not installed."""
    try:
        from swinunet.export.sample_slices import sample_slices

        return sample_slices(spec, None)
    except (MissingExtraError, ModuleNotFoundError):
        return None
