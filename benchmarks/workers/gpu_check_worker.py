"""The process of one row of `make gpu-check`: builds an engine, compares it with the checkpoint, and measures it.

Another order prepares a model version for all rows: a copy that engines may build in, slices, and expected outputs.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from swinunet.benchmarks.measure.processes import serve_orders
from swinunet.benchmarks.workers.engine_worker import EngineWorker
from swinunet.foundation.errors import ParityError

_OUTPUTS = ("labels", "probabilities")


class GpuCheckWorker(EngineWorker):
    """An engine worker that builds and compares, too."""

    def prepare(self, *, source: str, recipe: str, target: str) -> dict[str, Any]:
        """Make a repository at `target` with the newest version in folder `source`, or recipe's network, untrained.

        Beside it, in `target`: slices.npy, float16 [N, C, H, W], and expected.npz, which `compare` reads.
        """
        from swinunet.benchmarks.inference.model_version import find_version, real_slices
        from swinunet.benchmarks.inference.untrained import export_untrained
        from swinunet.export.gate.tensors import feeds, run, torch_runner
        from swinunet.training.network.checkpoint import load_checkpoint

        folder = Path(target)
        if source:
            given = find_version(Path(source).parent, Path(source).name)
            _link_files(given.folder, folder / given.spec.name / given.folder.name)
            version = find_version(folder, given.spec.name)
        else:
            version = export_untrained(recipe, folder)
        slices, origin = real_slices(version)
        network, _ = load_checkpoint(version.folder / "checkpoint.safetensors")
        expected = run(torch_runner(network.eval()), feeds(slices))
        np.save(folder / "slices.npy", slices)
        named = {f"{name}_{len(each[name])}": each[name] for each in expected for name in _OUTPUTS}
        np.savez(folder / "expected.npz", **named)
        return {"folder": str(version.folder), "title": version.title, "slices": origin}

    def build(self, *, engine: str, folder: str, max_batch: int, compute_capability: str) -> dict[str, Any]:
        """Build what `engine` runs, for batches 1 to `max_batch`, in a version folder. size: of what was built, bytes.

        engine: tensorrt-fp16, or tensorrt-rtx, which is only built.
        """
        from swinunet.export.engines.tensorrt_plan import build_plan
        from swinunet.export.engines.tensorrt_rtx import build_ahead
        from swinunet.export.file_names import FP16_GRAPH_FILE, PLAN_FILE

        version = Path(folder)
        if engine == "tensorrt-rtx":
            built = build_ahead(version / FP16_GRAPH_FILE, max_batch, compute_capability)
            return {"size": len(built.plan), "description": f"{built.layers} layers for {compute_capability}"}
        record = build_plan(version, "fp16", "make gpu-check", max_batch_size=max_batch)
        return {"size": (version / PLAN_FILE).stat().st_size, "description": f"TensorRT {record.tensorrt}"}

    def compare(self, *, engine: str, expected: str) -> dict[str, Any]:
        """The gate's comparison of tensors with the checkpoint in float32 on a CPU; failures: what is beyond tolerance.

        expected: the .npz of `prepare`.
        """
        from swinunet.export.engines.registry import REFERENCE, engine_named
        from swinunet.export.gate.tensors import WireRunner, compare, feeds, run

        stored, images = dict(np.load(expected)), feeds(self.slices)
        reference = WireRunner(REFERENCE, lambda image: {name: stored[f"{name}_{len(image)}"] for name in _OUTPUTS})
        candidate = WireRunner(engine, lambda image: self.engine.run(image)._asdict())
        try:
            figures = compare(run(candidate, images), run(reference, images))
        except ParityError as error:
            return {"tensors": [], "failures": [str(error)], "description": self.engine.describe()}
        failures = [reason for each in figures for reason in each.failures(engine_named(engine).tolerance)]
        tensors = [asdict(each) for each in figures]
        return {"tensors": tensors, "failures": failures, "description": self.engine.describe()}


def _link_files(source: Path, target: Path) -> None:
    """A version folder of links, beside which an engine's own files can be written; an old plan stays out."""
    target.mkdir(parents=True)
    for path in source.iterdir():
        if path.is_file() and not path.name.startswith("model.plan"):
            (target / path.name).symlink_to(path.resolve())


if __name__ == "__main__":
    worker = GpuCheckWorker()
    serve_orders(
        {
            "prepare": worker.prepare,
            "build": worker.build,
            "load": worker.load,
            "compare": worker.compare,
            "measure": worker.measure,
        }
    )
