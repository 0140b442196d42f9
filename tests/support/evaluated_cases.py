"""What the tests of `swinunet evaluate` share: labelled cases, and predictions that are wrong in known ways."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import swinunet.cli
from swinunet.evaluation.predictions import FolderPredictor
from swinunet.evaluation.result import Evaluation
from swinunet.evaluation.run import evaluate
from swinunet.evaluation.selection import select_cases
from swinunet.imaging import Volume, write_nifti

Run = Callable[..., tuple[int, str, str]]
AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])
CASES = 12


def verb_runner(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`swinunet evaluate ...` as a user runs it, without the price of a process: exit status, output, errors."""

    def evaluate_verb(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["swinunet", "evaluate", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            swinunet.cli.main()
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    return evaluate_verb


def refused(done: tuple[int, str, str], says: str) -> None:
    """One clear line on standard error and status 1."""
    status, _, errors = done
    assert status == 1
    assert says in errors
    assert len(errors.strip().splitlines()) == 1, errors


def write_msd(root: Path, images: list[Volume], labels: list[Volume], names: list[str]) -> Path:
    """A folder in the Decathlon's layout with two classes."""
    for folder, volumes in (("imagesTr", images), ("labelsTr", labels)):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for name, volume in zip(names, volumes, strict=True):
            write_nifti(volume, root / folder / f"{name}.nii.gz")
    listed = [{part[:5]: f"./{part}Tr/{name}.nii.gz" for part in ("images", "labels")} for name in names]
    listed = [{"image": each["image"], "label": each["label"]} for each in listed]
    said = {"name": "Blocks", "modality": {"0": "MRI"}, "labels": {"0": "background", "1": "left", "2": "right"}}
    (root / "dataset.json").write_text(json.dumps({**said, "training": listed}))
    return root


def blocks(case: int) -> np.ndarray:
    """Reference of a case: two blocks; from case 10 on the second is absent."""
    labels = np.zeros((16, 14, 10), np.uint8)
    labels[2:6, 3 : 8 + case % 3, 2:7] = 1
    if case < 10:
        labels[9 : 12 + case % 2, 3:10, 2:7] = 2
    return labels


def write_blocks(root: Path) -> Path:
    """Twelve cases, c00 to c11, whose images nobody reads."""
    labels = [Volume(blocks(case), AFFINE) for case in range(CASES)]
    images = [Volume(each.voxels.astype(np.float32), AFFINE) for each in labels]
    return write_msd(root, images, labels, [f"c{case:02}" for case in range(CASES)])


def predictions(folder: Path, change: Callable[[int, np.ndarray], np.ndarray]) -> Path:
    """A folder of label maps: the references, changed. Every other one as `swinunet segment` writes it."""
    for case in range(CASES):
        path = folder / (f"c{case:02}/mask.nii.gz" if case % 2 else f"c{case:02}.nii.gz")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_nifti(Volume(change(case, blocks(case)), AFFINE), path)
    return folder


def shifted(case: int, labels: np.ndarray) -> np.ndarray:
    return np.roll(labels, 1 + (case % 4 == 0), axis=1)


def barely_shifted(case: int, labels: np.ndarray) -> np.ndarray:
    return np.roll(labels, case % 2, axis=1)


def failing(case: int, labels: np.ndarray) -> np.ndarray:
    """Case 0 misses class 1; case 11, where class 2 is absent, has some of it."""
    labels = labels.copy()
    if case == 0:
        labels[labels == 1] = 0
    if case == 11:
        labels[10:12, 10:12, 5:7] = 2
    return labels


def judged(msd: Path, folder: Path) -> Evaluation:
    selection = select_cases(msd)
    return evaluate(FolderPredictor(folder, selection.cases), selection, resamples=500)


def shipped(repository: Path, file: str) -> Path:
    """A file of the newest version of the shipped model."""
    return max(repository.glob(f"*/[0-9]*/{file}"), key=lambda path: int(path.parent.name))
