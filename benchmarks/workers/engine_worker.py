"""The process of one engine: loads it once, then runs it when told to."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from swinunet.benchmarks.measure.machine import peak_mib
from swinunet.benchmarks.measure.processes import serve_orders
from swinunet.benchmarks.measure.samples import LabelComparison, latency_sample
from swinunet.export.engines.loaded_engine import LoadedEngine
from swinunet.export.engines.registry import load_engine

if TYPE_CHECKING:
    from swinunet.imaging.study_slices import Output

_DICE_CASES = 10  # labelled cases at most, the first by name
_DICE_BATCH = 8  # slices


class EngineWorker:
    """Holds the engine and the slices, float16 [N, C, H, W]."""

    engine: LoadedEngine
    slices: np.ndarray

    def __init__(self) -> None:
        self._met: set[int] = set()  # batches that the engine has run: it compiles for a new one

    def load(self, *, loader: str, precision: str, folder: str, threads: int, slices: str) -> dict[str, Any]:
        """Load the engine up to its first answer."""
        before = peak_mib()
        self.slices = np.load(slices)
        began = time.perf_counter()
        self.engine = load_engine(f"{loader}-{precision}", Path(folder), threads)
        self.engine.run(self.slices[:1])
        load_s = time.perf_counter() - began - self.engine.import_s
        return {
            "description": self.engine.describe(),
            "import_s": self.engine.import_s,
            "load_s": load_s,
            "process_mib": before,
        }

    def labels(self, *, path: str) -> dict[str, Any]:
        """Write this engine's labels of all slices, uint8 [N, H, W], made one slice at a time, to `path` (.npy)."""
        found = [self.engine.run(self.slices[index : index + 1]).labels.copy() for index in range(len(self.slices))]
        np.save(path, np.concatenate(found))
        return {}

    def dice(self, *, data: str, spec: str, split: str) -> dict[str, Any]:
        """Mean Dice over classes and the first labelled cases of a folder, on the cases' own grids.

        split: split.json of the model's run; its training cases are left out.
        """
        from swinunet.export.gate.evidence import unseen_cases
        from swinunet.imaging import ModelSpec
        from swinunet.training.data.cases import load_case
        from swinunet.training.data.folders import DataFolder
        from swinunet.training.metrics.case_scores import dice

        read = ModelSpec.from_json(spec, "the model")
        scores = []
        for paths in unseen_cases(DataFolder.open(Path(data)), Path(split))[0][:_DICE_CASES]:
            case = load_case(paths, read)
            mask = case.predict(self._ask, _DICE_BATCH)
            scores.append(dice(mask, case.native_labels.voxels, read.num_classes))
        return {"dice": float(np.nanmean(scores))}

    def _ask(self, image: np.ndarray, output: Output) -> np.ndarray:
        found: np.ndarray = getattr(self.engine.run(image), output)
        return found

    def measure(self, *, batch: int, seconds: float, reference: str | None) -> dict[str, Any]:
        """Run for `seconds` at one batch, and compare every answer with the reference, outside the timed part."""
        expected = None if reference is None else np.load(reference)
        parts = _parts(len(self.slices), batch)
        images = [np.ascontiguousarray(self.slices[part]) for part in parts]
        wanted = [None if expected is None else expected[part] for part in parts]
        self._warm_up(images)
        latencies_s: list[float] = []
        comparison = LabelComparison()
        end = time.perf_counter() + seconds
        while not latencies_s or time.perf_counter() < end:
            turn = len(latencies_s) % len(images)
            began = time.perf_counter()
            labels = self.engine.run(images[turn]).labels
            latencies_s.append(time.perf_counter() - began)
            if (right := wanted[turn]) is not None:
                comparison.add(labels, right)
        measured = latency_sample(latencies_s, batch * len(latencies_s), sum(latencies_s), peak_mib())
        return {"sample": asdict(measured), "comparison": asdict(comparison)}

    def _warm_up(self, images: list[np.ndarray]) -> None:
        """Untimed: the batch if it is new to the engine, then two slices, as the caches were another engine's."""
        if len(images[0]) not in self._met:
            self._met.add(len(images[0]))
            self.engine.run(images[0])
        for index in range(2):
            self.engine.run(self.slices[index % len(self.slices)][None])


def _parts(slices: int, batch: int) -> list[np.ndarray]:
    """Indices of the slices in each batch: all slices in turn, going round where they do not divide."""
    return [np.arange(start, start + batch) % slices for start in range(0, max(slices, batch), batch)]


if __name__ == "__main__":
    worker = EngineWorker()
    serve_orders({"load": worker.load, "labels": worker.labels, "dice": worker.dice, "measure": worker.measure})
