"""The process of the client: a DICOM series in, results out, every stage timed."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from swinunet.benchmarks.measure.machine import peak_mib
from swinunet.benchmarks.measure.processes import serve_orders
from swinunet.client.dicom import read_volume, scan_folder, select_series
from swinunet.client.inputs import LoadedInput
from swinunet.client.job import run_job
from swinunet.client.rois import parse_roi
from swinunet.client.triton.model import ServedBatch, TritonModel

Interval = tuple[int, int]  # begin and end on the monotonic clock, ns: Triton's traces are on the same


class WatchedModel(TritonModel):
    """A served model that remembers when slices were made, waited for and put back.

    spans: intervals of each stage.
    """

    def __init__(self, url: str, name: str) -> None:
        super().__init__(url, name)
        self.spans: dict[str, list[Interval]] = {"preprocess": [], "wait": [], "restore": []}

    def predict(
        self, batches: Iterable[tuple[int, np.ndarray]], *options: Any, **named: Any
    ) -> Generator[ServedBatch, None, None]:
        """As TritonModel's."""
        answers = super().predict(self._watched(batches), *options, **named)
        while True:
            began, made = time.monotonic_ns(), len(self.spans["preprocess"])
            answer = next(answers, None)
            self._add_wait(began, self.spans["preprocess"][made:])
            if answer is None:
                return
            began = time.monotonic_ns()
            yield answer
            self.spans["restore"].append((began, time.monotonic_ns()))

    def _watched(self, batches: Iterable[tuple[int, np.ndarray]]) -> Iterator[tuple[int, np.ndarray]]:
        made = iter(batches)
        while True:
            began = time.monotonic_ns()
            batch = next(made, None)
            self.spans["preprocess"].append((began, time.monotonic_ns()))
            if batch is None:
                return
            yield batch

    def _add_wait(self, began: int, made: list[Interval]) -> None:
        """What lies between slices being made, since `began`, was spent sending and waiting."""
        for start, stop in made:
            self.spans["wait"].append((began, start))
            began = stop
        self.spans["wait"].append((began, time.monotonic_ns()))


class ChainWorker:
    """One client, job after job."""

    def run(self, *, url: str, model: str, series: str, out: str, rois: list[str]) -> dict[str, Any]:
        """The whole job, as `swinunet segment` does it. Replies with wall seconds, stages, spans and peak memory."""
        seconds: dict[str, float] = {}
        began = time.perf_counter()
        with WatchedModel(url, model) as served:
            with _timed(seconds, "read"):
                chosen = select_series(scan_folder(Path(series)), modality=served.spec.modality)
            with _timed(seconds, "decode"):
                dicom = read_volume(chosen)
            loaded = LoadedInput(Path(series), (dicom.volume,), dicom, seconds["read"] + seconds["decode"])
            done = run_job(loaded, Path(out), served, tuple(map(parse_roi, rois)))
        wall_s = time.perf_counter() - began
        later = {stage: spent for stage, spent in done.report.timings_s.items() if stage != "read"}
        return {
            "trace_id": done.report.trace,
            "wall_s": wall_s,
            "seconds": {**seconds, **later},
            "spans": served.spans,
            "volume_mib": dicom.volume.voxels.nbytes / 2**20,
            "slices": dicom.volume.shape[2],
            "peak_mib": peak_mib(),
        }


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - began


if __name__ == "__main__":
    serve_orders({"run": ChainWorker().run})
