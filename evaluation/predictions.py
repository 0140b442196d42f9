"""What is judged: the Predictor protocol, the identity of a model, and a folder of label maps made beforehand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from swinunet.foundation.errors import InputError
from swinunet.imaging import ModelSpec, Volume, read_nifti_labels
from swinunet.training.data.cases import CasePaths

Kind = Literal["checkpoint", "onnx", "served", "predictions"]
_FORMS = ("{case}.nii.gz", "{case}.nii", "{case}/mask.nii.gz", "{case}/mask.nii")


@dataclass(frozen=True)
class ModelIdentity:
    """Which model was judged. source: as the user named it.

    sha256: of the file; of a served model, of the checkpoint it was exported from; of predictions, of all the files.
    spec: the ModelSpec as JSON, None for predictions. engine: what computed it, such as "torch 2.13.0".
    """

    kind: Kind
    name: str
    version: str
    source: str
    sha256: str
    engine: str
    spec: dict[str, Any] | None = None

    @property
    def title(self) -> str:
        """Name, version and kind, for people."""
        version = f" version {self.version}" if self.version else ""
        return f"{self.name}{version} ({self.kind}{f', {self.engine}' if self.engine else ''})"


class Predictor(Protocol):
    """Gives label maps. class_names: of foreground labels, None where the model does not say."""

    identity: ModelIdentity
    class_names: tuple[str, ...] | None

    def __call__(self, case: CasePaths) -> Volume:
        """The label map of a case on the grid of its image: uint8 [I, J, K]."""
        ...


def spec_as_dict(spec: ModelSpec) -> dict[str, Any]:
    """A spec as the JSON object that it travels as."""
    return dict(json.loads(spec.to_json()))


class FolderPredictor:
    """Label maps by case name: CASE.nii.gz, or CASE/mask.nii.gz as `swinunet segment` writes it.

    Raises InputError, before any work, if a case has no file.
    """

    class_names: tuple[str, ...] | None = None

    def __init__(self, folder: Path, cases: Sequence[CasePaths]) -> None:
        found = {case.name: _find(folder, case.name) for case in cases}
        self._files = {name: path for name, path in found.items() if path is not None}
        if missing := [name for name in found if name not in self._files]:
            forms = " or ".join(form.format(case=missing[0]) for form in (_FORMS[0], _FORMS[2]))
            raise InputError(
                f"{folder}: no prediction for {len(missing)} of {len(found)} cases, the first is {missing[0]}; "
                f"expected {forms}"
            )
        digest = hashlib.sha256()
        for name, path in sorted(self._files.items()):
            with path.open("rb") as file:
                digest.update(name.encode() + hashlib.file_digest(file, "sha256").digest())
        self.identity = ModelIdentity(
            kind="predictions",
            name=folder.resolve().name,
            version="",
            source=str(folder),
            sha256=digest.hexdigest(),
            engine="",
        )

    def __call__(self, case: CasePaths) -> Volume:
        """The prediction of `case`. Raises InputError if its file cannot be read as labels."""
        return read_nifti_labels(self._files[case.name], assume_ras=case.assume_ras)


def _find(folder: Path, case: str) -> Path | None:
    paths = (folder / form.format(case=case) for form in _FORMS)
    return next((path for path in paths if path.is_file()), None)
