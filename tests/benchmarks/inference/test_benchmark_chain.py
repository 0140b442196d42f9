"""The whole chain: how its stages are told apart, and the series that goes through it."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swinunet.benchmarks.inference.chain import STAGES, job_of, read_trace, write_chain_series
from swinunet.benchmarks.inference.intervals import union, without
from swinunet.client.dicom import read_volume, scan_folder, select_series
from swinunet.serving import ServingError

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
