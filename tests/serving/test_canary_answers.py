"""The canary finds a backend that answers nothing but background, however little foreground there is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from answering_server import answering_server

from swinunet.serving import ServingError
from swinunet.serving.canary import ServedModel, check_model, connect

MODEL = ServedModel("small", "1", "READY", "")
LABELS = np.zeros((2, 32, 32), np.uint8)
LABELS[:, 10:12, 10:14] = 1  # 0.8 % of the pixels: zeros would agree with 99.2 % of them


def write_canary(repository: Path, labels: np.ndarray) -> None:
    (repository / "small" / "1").mkdir(parents=True)
    np.savez(repository / "small" / "1" / "canary.npz", image=np.zeros((2, 1, 32, 32), np.float16), labels=labels)


def check(repository: Path, answer: np.ndarray) -> bool:
    with answering_server(answer, "1") as url, connect(url) as client:
        return check_model(client, repository, MODEL, 10)


def test_the_right_labels_pass(tmp_path: Path) -> None:
    write_canary(tmp_path, LABELS)
    assert check(tmp_path, LABELS)


def test_a_server_that_takes_fewer_slices_at_once_gets_them_one_by_one(tmp_path: Path) -> None:
    write_canary(tmp_path, LABELS)
    with answering_server(LABELS, "1", max_batch_size=1) as url, connect(url) as client:
        assert check_model(client, tmp_path, MODEL, 10)


def test_background_alone_does_not_pass_for_a_small_structure(tmp_path: Path) -> None:
    write_canary(tmp_path, LABELS)
    with pytest.raises(ServingError, match=r"99\.2% of all labels and 0\.0% of the foreground agree"):
        check(tmp_path, LABELS * 0)


def test_a_canary_without_a_structure_proves_nothing(tmp_path: Path) -> None:
    write_canary(tmp_path, LABELS * 0)
    with pytest.raises(ServingError, match=r"canary.npz has no structure in it, .*; export the model again"):
        check(tmp_path, LABELS * 0)


def test_foreground_at_the_wrong_place_does_not_pass(tmp_path: Path) -> None:
    write_canary(tmp_path, LABELS)
    with pytest.raises(ServingError, match=r"of the foreground agree, expected 99% and 90%; the backend miscomputes"):
        check(tmp_path, np.roll(LABELS, 1, axis=2))


def test_most_of_the_foreground_is_enough(tmp_path: Path) -> None:
    large = np.zeros((2, 32, 32), np.uint8)
    large[:, 8:18, 8:18] = 2
    almost = large.copy()
    almost[:, 8, 8:17] = 0  # 9 of 100 pixels: precision may move a border
    write_canary(tmp_path, large)
    assert check(tmp_path, almost)


def test_foreground_everywhere_does_not_pass(tmp_path: Path) -> None:
    write_canary(tmp_path, LABELS)
    wrong = LABELS.copy()
    wrong[:, :4] = 1  # an eighth of the image beside the structure, which is all right
    with pytest.raises(ServingError, match=r"87\.5% of all labels and 100\.0% of the foreground agree"):
        check(tmp_path, wrong)
