"""Memory is bounded by a setting, not by the data set; what lies in a file gives the same batches."""

from __future__ import annotations

import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from blobs import SPEC, write_blobs
from labelled_folders import make_cases, write_plain

from swinunet.foundation.errors import InputError, OutputError
from swinunet.training.data.array_file import ArrayFile
from swinunet.training.data.cases import load_case
from swinunet.training.data.folders import DataFolder
from swinunet.training.loop.batch_loader import BatchLoader
from swinunet.training.loop.distributed import ProcessGroup
from swinunet.training.loop.run_cases import RunCases, load_run_cases
from swinunet.training.loop.settings import TrainSettings
from swinunet.training.loop.trainer import train, validate
from swinunet.training.loop.volume_batch_loader import VolumeBatchLoader
from swinunet.training.network.checkpoint import load_checkpoint

SETTINGS = TrainSettings(batch_size=4, empty_share=1)


def loaded(root: Path, folder: Path, memory_mib: int) -> RunCases:
    folder.mkdir(exist_ok=True)
    cases = list(DataFolder.open(root).cases)
    return load_run_cases((cases[:-1], cases[-1:]), (SPEC, SPEC), folder, memory_mib)


def feed(cases: RunCases) -> BatchLoader:
    return BatchLoader(cases.training, SETTINGS, torch.device("cpu"), SPEC.context_slices, ProcessGroup())


def peak_bytes(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_four_times_the_images_take_the_same_memory(tmp_path: Path) -> None:
    """Preprocessing, an epoch and a pass over the validation cases; with memory for all, the peak grows with them."""

    def work(count: int, memory_mib: int) -> int:
        root = tmp_path / str(count)
        if not root.exists():
            write_plain(root, make_cases(count, shape=(24, 26, 60)))

        def epoch() -> None:
            cases = loaded(root, tmp_path / "run", memory_mib)
            for _ in feed(cases).epoch(1):
                pass

        return peak_bytes(epoch)

    work(5, 0)  # what is imported and cached once
    few, many = work(5, 0), work(20, 0)
    assert many < 1.25 * few
    assert work(20, 64) > 2 * work(5, 64)


def test_batches_from_a_file_are_the_same_bits(tmp_path: Path) -> None:
    root = write_blobs(tmp_path / "data")
    held, stored = (loaded(root, tmp_path / "run", memory_mib) for memory_mib in (64, 0))
    assert isinstance(held.training[0].images, np.ndarray)
    assert not isinstance(stored.training[0].images, np.ndarray)
    for ours, theirs in zip(feed(held).epoch(1), feed(stored).epoch(1), strict=True):
        assert torch.equal(ours.image, theirs.image)
        assert torch.equal(ours.labels, theirs.labels)
        assert ours.cases == theirs.cases
    for ours, theirs in zip(held.validation, stored.validation, strict=True):
        for name in ("images", "labels", "sagittal", "annotated"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
        np.testing.assert_array_equal(ours.study[0].voxels, theirs.study[0].voxels)
        np.testing.assert_array_equal(ours.native_labels.voxels, theirs.native_labels.voxels)


def test_a_run_within_no_memory_ends_with_the_same_weights_and_leaves_no_file(tmp_path: Path) -> None:
    root = write_blobs(tmp_path / "data")
    weights = []
    for memory_mib in (4096, 0):
        run = tmp_path / f"run_{memory_mib}"
        settings = TrainSettings(
            recipe="tiny", epochs=1, batch_size=16, precision="fp32", device="cpu", memory_mib=memory_mib
        )
        weights.append(load_checkpoint(train(root, run, SPEC, settings))[0])
        assert not [path.name for path in run.iterdir() if path.name.startswith(".")]
    one, other = (network.state_dict() for network in weights)
    assert all(torch.equal(one[name], other[name]) for name in one)
    cases = loaded(root, tmp_path / "again", 0).validation
    np.testing.assert_array_equal(*(validate(network, cases, SPEC.num_classes) for network in weights))


def test_augmented_volumes_within_no_memory_are_the_same_bits(tmp_path: Path) -> None:
    root = write_blobs(tmp_path / "data")
    settings = SETTINGS.changed({"augment_volumes": "head"})
    cases = list(DataFolder.open(root).cases)
    (tmp_path / "run").mkdir()
    batches = []
    for memory_mib in (64, 0):
        found = load_run_cases((cases[:-1], cases[-1:]), (SPEC, SPEC), tmp_path / "run", memory_mib, whole_volumes=True)
        assert [case.name for case in found.volumes] == [case.name for case in cases[:-1]]
        assert found.training == []
        loader = VolumeBatchLoader(found.volumes, settings, torch.device("cpu"), SPEC, ProcessGroup())
        batches.append(list(loader.epoch(1)))
    for ours, theirs in zip(*batches, strict=True):
        assert torch.equal(ours.image, theirs.image)
        assert torch.equal(ours.labels, theirs.labels)
        assert ours.cases == theirs.cases


def test_two_processes_share_the_work_and_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each preprocesses its half; what they hand each other is where the slices are, not the slices."""
    root, alone = write_blobs(tmp_path / "data"), loaded(write_blobs(tmp_path / "same"), tmp_path / "run", 64)
    paths = list(DataFolder.open(root).cases)
    handed: list[bytes] = []

    class Exchange(ProcessGroup):
        def all_gather(self, value: object) -> list[object]:
            handed.append(pickle.dumps(value))
            return [pickle.loads(each) for each in handed]  # noqa: S301 - our own

        def barrier(self) -> None:
            pass

    (tmp_path / "both").mkdir()
    monkeypatch.setattr(ArrayFile, "unlink", lambda file: None)
    for rank in range(2):  # the first finds nobody else's part yet
        group = Exchange(rank, 2, rank, 2)
        found = load_run_cases((paths[:-1], paths[-1:]), (SPEC, SPEC), tmp_path / "both", 64, group)
    assert all(len(each) < 20_000 for each in handed)
    assert [case.name for case in found.training] == [case.name for case in alone.training]
    for ours, theirs in zip(found.training, alone.training, strict=True):
        np.testing.assert_array_equal(ours.images[0:10], theirs.images[0:10])
        np.testing.assert_array_equal(ours.labels[3], theirs.labels[3])
    assert [case.name for case in found.validation] == [case.name for case in alone.validation]


def test_an_array_in_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    file, random = ArrayFile(tmp_path / "arrays"), np.random.default_rng(0)
    arrays = [
        random.normal(size=shape).astype(kind) for shape, kind in (((5, 3, 2), "f2"), ((4,), "f8"), ((0, 3), "u1"))
    ]
    turned = random.integers(0, 9, (3, 4, 5)).astype(np.uint8).transpose(2, 0, 1)
    stored = [file.append(array) for array in (*arrays, turned)]
    file.unlink()
    assert not file.path.exists()
    for array, kept in zip((*arrays, turned), stored, strict=True):
        np.testing.assert_array_equal(kept.whole(), array)
        assert kept.whole().dtype == array.dtype
    np.testing.assert_array_equal(stored[0][3], arrays[0][3])
    np.testing.assert_array_equal(stored[0][1:4], arrays[0][1:4])
    with pytest.raises(IndexError):
        stored[0][5]


def test_a_file_that_cannot_be_written_or_was_cut_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        ArrayFile(tmp_path / "file" / "arrays").append(np.zeros(3))
    file = ArrayFile(tmp_path / "arrays")
    kept = file.append(np.zeros((4, 1000)))
    with file.path.open("r+b") as opened:
        opened.truncate(100)
    with pytest.raises(InputError, match="ends at byte 100"):
        kept.whole()


def test_a_case_that_cannot_be_used_leaves_no_file(tmp_path: Path) -> None:
    root = write_blobs(tmp_path / "data")
    (root / "imagesTr" / "blob_3.nii.gz").write_bytes(b"")
    with pytest.raises(InputError, match="blob_3"):
        loaded(root, tmp_path / "run", 0)
    assert not list((tmp_path / "run").iterdir())


def test_slices_know_what_a_case_knows(tmp_path: Path) -> None:
    root = write_blobs(tmp_path / "data")
    first = load_case(DataFolder.open(root).cases[0], SPEC)
    kept = loaded(root, tmp_path / "run", 0).training[0]
    for name in ("sagittal", "annotated", "labelled"):
        np.testing.assert_array_equal(getattr(kept, name), getattr(first, name))
    assert kept.label_ml == first.label_ml
