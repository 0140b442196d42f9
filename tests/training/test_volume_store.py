"""A run reads each file once: the volumes that were examined are those that are preprocessed."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from blobs import SPEC, write_blobs

from swinunet.imaging import Volume
from swinunet.training.data.folders import CasePaths, DataFolder
from swinunet.training.data.volume_store import VolumeStore, read_volumes
from swinunet.training.loop.settings import TrainSettings
from swinunet.training.loop.trainer import train

_OPENED: Counter[str] = Counter()


@pytest.fixture(scope="module", autouse=True)
def _count_opened_files() -> None:
    """Count every file that Python opens; an audit hook stays to the end of the process."""

    def count(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and str(arguments[0]).endswith(".nii.gz"):
            _OPENED[Path(str(arguments[0])).name] += 1

    sys.addaudithook(count)


@pytest.fixture
def cases(tmp_path: Path) -> tuple[CasePaths, ...]:
    return DataFolder.open(write_blobs(tmp_path / "Task99_Blob")).cases


def test_a_run_reads_every_file_once(cases: tuple[CasePaths, ...], tmp_path: Path) -> None:
    _OPENED.clear()
    for paths in cases:
        read_volumes(paths)
    once = _OPENED.copy()
    assert len(once) == len(cases)
    _OPENED.clear()
    train(tmp_path / "Task99_Blob", tmp_path / "run", SPEC, TrainSettings(recipe="tiny", epochs=1, batch_size=16))
    assert once == _OPENED


def test_what_was_kept_is_handed_over_once(cases: tuple[CasePaths, ...]) -> None:
    store, volumes = VolumeStore(), read_volumes(cases[0])
    store.keep(cases[0], volumes)
    assert store.take(cases[0]) is volumes
    again = store.take(cases[0])
    assert again is not volumes
    assert_same(again.labels, volumes.labels)
    assert_same(again.study[0], volumes.study[0])


def test_no_more_is_kept_than_the_limit(cases: tuple[CasePaths, ...]) -> None:
    first, second, third = (read_volumes(paths) for paths in cases[:3])
    assert first.nbytes == 24 * 26 * 10 * (4 + 1)
    store = VolumeStore(limit_bytes=2 * first.nbytes)
    for paths, volumes in zip(cases, (first, second, third), strict=False):
        store.keep(paths, volumes)
    assert store.take(cases[2]) is not third
    assert store.take(cases[0]) is first
    store.keep(cases[2], third)
    assert store.take(cases[2]) is third
    store.clear()
    assert store.take(cases[1]) is not second


def assert_same(one: Volume, other: Volume) -> None:
    np.testing.assert_array_equal(one.voxels, other.voxels)
    np.testing.assert_array_equal(one.affine, other.affine)
