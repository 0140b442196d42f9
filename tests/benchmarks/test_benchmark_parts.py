"""The parts of `swinunet benchmark`: what is computed from what was measured."""

from __future__ import annotations

import itertools
import json
import os
import signal
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from swinunet.benchmarks.measure.chain import STAGES, job_of, read_trace, union, without, write_chain_series
from swinunet.benchmarks.measure.children import Child, ChildError
from swinunet.benchmarks.measure.gpu import Gpu, GpuResult, GpuRow, take_in
from swinunet.benchmarks.measure.perf_analyzer import PerfAnalyzerError, find_perf_analyzer
from swinunet.benchmarks.measure.plan import BASELINE, choose_engines, choose_sizes, engines
from swinunet.benchmarks.measure.standard import standard_network, standard_subject
from swinunet.benchmarks.measure.subject import SLICES, Subject, find_subject, real_slices
from swinunet.client.dicom import read_volume, scan_folder, select_series
from swinunet.foundation.errors import InputError
from swinunet.serving import ServingError
from swinunet.training.network.checkpoint import load_checkpoint

S = 1_000_000_000  # ns

moments = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)).map(lambda pair: (min(pair), max(pair))))


@given(moments, moments)
def test_intervals_are_sets_of_moments(some: list[tuple[int, int]], taken: list[tuple[int, int]]) -> None:
    def as_set(intervals: list[tuple[int, int]]) -> set[int]:
        return set(itertools.chain.from_iterable(range(*each) for each in intervals))

    joined = union(some)
    assert as_set(joined) == as_set(some)
    assert all(a[1] < b[0] for a, b in itertools.pairwise(joined))
    assert as_set(without(joined, union(taken))) == as_set(some) - as_set(taken)


def test_a_job_counts_each_moment_once() -> None:
    # One request: sent at 1 s, queued at 2, computing 3 to 7, answered at 8. The client makes slices meanwhile, 4 to 5.
    seconds = dict.fromkeys(("read", "decode", "measure", "judge", "nifti", "seg", "sr", "png"), 0.1)
    spans = {
        "preprocess": [(0, S), (4 * S, 5 * S)],
        "wait": [(S, 4 * S), (5 * S, 8 * S)],
        "restore": [(8 * S, 8 * S + S // 2)],
    }
    reply = {
        "wall_s": 10.0,
        "seconds": {**seconds, "preprocess": 2.0, "restore": 0.5},
        "spans": spans,
        "peak_mib": 100.0,
    }
    request = {"QUEUE_START": 2 * S, "COMPUTE_START": 3 * S, "COMPUTE_INPUT_END": 3 * S, "COMPUTE_OUTPUT_START": 7 * S}
    job = job_of("a", reply, [request])
    assert job.exposed_s["compute"] == pytest.approx(4)
    assert job.exposed_s["preprocess"] == pytest.approx(1)
    assert job.exposed_s["queue"] == pytest.approx(1)
    assert job.exposed_s["wire"] == pytest.approx(2)
    assert job.exposed_s["restore"] == pytest.approx(0.5)
    assert tuple(job.exposed_s) == STAGES
    assert sum(job.exposed_s.values()) == pytest.approx(10)
    assert job.compute_share == pytest.approx(0.4)


def test_a_trace_is_read_by_job(tmp_path: Path) -> None:
    entries = [
        {"id": 1, "model_name": "m"},  # the canary has no identifier
        {"id": 1, "timestamps": [{"name": "QUEUE_START", "ns": 1}]},
        {"id": 2, "model_name": "m", "request_id": "1c0de-1"},
        {"id": 2, "timestamps": [{"name": "QUEUE_START", "ns": 5}]},
        {"id": 2, "timestamps": [{"name": "COMPUTE_START", "ns": 7}]},
    ]
    path = tmp_path / "trace.json"
    path.write_text(json.dumps(entries))
    assert read_trace(path) == {"1c0de": [{"QUEUE_START": 5, "COMPUTE_START": 7}]}


def test_a_trace_that_was_not_written_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    for text in (None, "[{"):
        if text is not None:
            path.write_text(text)
        with pytest.raises(ServingError, match="no readable trace"):
            read_trace(path)


def test_the_chain_series_is_the_brain_on_another_grid(tmp_path: Path) -> None:
    volume = read_volume(select_series(scan_folder(write_chain_series(tmp_path / "series", 5)), modality="MR")).volume
    assert volume.shape == (512, 512, 5)
    assert volume.spacing_mm == pytest.approx((233 / 512, 233 / 512, 189 / 5), rel=1e-4)
    assert volume.voxels.max() > 150
    # The brain's middle stays where it is: within a slice of the template's own centre of mass.
    centre = np.argwhere(volume.voxels > 50).mean(axis=0)
    found = (volume.affine @ [*centre, 1])[:3]
    assert found == pytest.approx([0, 19, 10], abs=15)


@pytest.fixture(scope="module")
def standard(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return standard_subject("tiny", tmp_path_factory.mktemp("standard") / "repository")


def test_the_standard_network_is_the_same_every_time_and_sees_more_than_background(standard: Subject) -> None:
    network, spec, _ = standard_network("tiny")
    with np.load(standard.folder / "canary.npz") as canary, torch.inference_mode():
        labels = network(torch.from_numpy(canary["image"]).float()).argmax(1).byte().numpy()
        assert np.array_equal(labels, canary["labels"])
    assert len(np.unique(labels)) > 3
    assert standard.spec.num_classes == spec.num_classes == 9


def test_the_gpus_part_runs_and_the_roofline_is_the_longer_of_two(standard: Subject, tmp_path: Path) -> None:
    slices = tmp_path / "slices.npy"
    with np.load(standard.folder / "canary.npz") as canary:
        np.save(slices, canary["image"])
    found, row = GpuResult(), GpuRow("fp32", compiled=False, batch=3)
    with ExitStack() as stack:
        gpu = Gpu(found, standard.folder, slices, device="cpu")
        gpu.load(stack, size=64, copied=2**16)
        gpu.measure(row, 0.01)
    assert found.reason is None
    assert len(row.p50_ms) == 1
    weights = sum(
        weight.nbytes for weight in load_checkpoint(standard.folder / "checkpoint.safetensors")[0].parameters()
    )
    assert row.gb * 1e9 > weights + 3 * 9 * 32 * 32 * 4  # the logits are written too
    take_in(row, {"latencies_s": [1.0], "gflop": 10.0, "gb": 1.0}, {"gflop_per_s": 100.0, "gb_per_s": 20.0})
    assert (row.roofline_ms, row.bound) == (100.0, "operations")
    take_in(row, {"latencies_s": [1.0], "gflop": 10.0, "gb": 1.0}, {"gflop_per_s": 1000.0, "gb_per_s": 20.0})
    assert (row.roofline_ms, row.bound) == (50.0, "bytes")


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
def test_without_a_gpu_it_says_so(standard: Subject, tmp_path: Path) -> None:
    found = GpuResult()
    with ExitStack() as stack:
        Gpu(found, standard.folder, tmp_path / "slices.npy").load(stack)
    assert "no GPU that torch" in (found.reason or "")


def test_a_version_folder_names_a_model(standard: Subject) -> None:
    assert find_subject(Path("nowhere"), str(standard.folder)).folder == standard.folder


def test_choices() -> None:
    assert choose_engines("openvino-bf16") == (BASELINE, *(e for e in engines() if e.key == "openvino-bf16"))
    assert choose_sizes("8,1,8", "--batches") == (1, 8)
    for wrong in ("", "a", "1.5", "65", "-1"):
        with pytest.raises(InputError, match="--batches"):
            choose_sizes(wrong, "--batches")
    with pytest.raises(InputError, match="--engines"):
        choose_engines(" , ")


def test_perf_analyzer_is_fetched_only_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PerfAnalyzerError, match="fetch it with --perf-analyzer"):
        find_perf_analyzer(fetch=False)
    assert not any(tmp_path.iterdir())


def test_a_worker_that_dies_is_an_error_with_the_signal() -> None:
    with Child("engine_worker") as child:
        os.kill(child.pid, signal.SIGSEGV)
        with pytest.raises(ChildError, match="ended with SIGSEGV"):
            child.ask("labels", 30, path="nowhere.npy")


def test_a_worker_refuses_in_one_line() -> None:
    order = {"folder": "nowhere", "threads": 1, "slices": "nowhere.npy"}
    with Child("engine_worker") as child:
        with pytest.raises(ChildError, match="FileNotFoundError") as caught:
            child.ask("load", 60, loader="onnxruntime", precision="fp32", **order)
        assert "\n" not in str(caught.value)
        with pytest.raises(ChildError, match="FileNotFoundError"):  # and lives on
            child.ask("load", 60, loader="onnxruntime", precision="fp32", **order)


def test_slices_are_real_different_and_begin_with_the_canary(repository: Path) -> None:
    subject = find_subject(repository, None)
    slices, origin = real_slices(subject)
    assert slices.dtype == np.float16
    assert slices.shape == (SLICES, subject.spec.context_slices, *subject.spec.input_size)
    with np.load(subject.folder / "canary.npz") as canary:
        assert np.array_equal(slices[: len(canary["image"])], canary["image"])
    assert len({each.tobytes() for each in slices}) == SLICES
    assert "canary" in origin
