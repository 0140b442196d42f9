"""A checkpoint with another spec: what a spec says beside the network (boxes, series rules) needs no training."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from swinunet.export.file_names import CHECKPOINT_FILE, NOTES_FILE
from swinunet.foundation.errors import CheckpointError, InputError
from swinunet.imaging import ModelSpec
from swinunet.training.data.split_file import SPLIT_FILE
from swinunet.training.network.checkpoint import load_checkpoint, save_checkpoint

# What the weights were trained with, and on: another value would make them another model.
_OF_THE_WEIGHTS = (
    "modality", "plane", "context_slices", "context_step_mm", "input_size", "spacing_mm", "intensity", "modalities",
    "intensities", "larger_slices", "pixel_mm",
)  # fmt: skip


@contextmanager
def with_spec(checkpoint: Path, spec_file: Path | None) -> Iterator[Path]:
    """The checkpoint itself, or a copy in a folder of its own that has the spec of a file; what lies beside it, too.

    Provenance, and the volumes that labels had in training, stay the checkpoint's. Raises CheckpointError for one
    without a spec, SpecError for a broken file, InputError where the file cannot be read or describes other weights.
    """
    if spec_file is None:
        yield checkpoint
        return
    network, own = load_checkpoint(checkpoint)
    if own is None:
        raise CheckpointError(f"{checkpoint}: holds no model spec, so nobody could serve it; train it first")
    spec = respecified(own, _read(spec_file), str(spec_file))
    with tempfile.TemporaryDirectory(prefix="swinunet-export-") as made:
        for name in (SPLIT_FILE, NOTES_FILE):
            if checkpoint.with_name(name).is_file():
                shutil.copyfile(checkpoint.with_name(name), Path(made) / name)
        save_checkpoint(Path(made) / CHECKPOINT_FILE, network, spec)
        yield Path(made) / CHECKPOINT_FILE


def respecified(own: ModelSpec, wanted: ModelSpec, origin: str) -> ModelSpec:
    """`wanted` for weights that were trained with `own`. origin: names the file in errors."""
    for name in _OF_THE_WEIGHTS:
        if getattr(own, name) != getattr(wanted, name):
            raise InputError(
                f"{origin}: {name} is {getattr(wanted, name)}, the weights were trained with {getattr(own, name)}; "
                "train again, or leave it as it is"
            )
    if [label.name for label in own.labels] != [label.name for label in wanted.labels]:
        raise InputError(f"{origin}: its labels are not those that the weights were trained with; train again")
    seen = {label.name: label.volume_ml for label in own.labels}
    labels = tuple(dataclasses.replace(label, volume_ml=label.volume_ml or seen[label.name]) for label in wanted.labels)
    return dataclasses.replace(wanted, labels=labels, provenance=own.provenance)


def _read(path: Path) -> ModelSpec:
    try:
        return ModelSpec.from_json(path.read_text(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({type(error).__name__}); give the JSON file of a spec") from None
