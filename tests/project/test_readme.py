"""The Python that the README shows does what it says."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import numpy as np
import pytest
from dicom_series import make_series, save

from swinunet.client import TritonModel, load_input, segment_volume_async
from swinunet.serving import TritonServer

README = Path(__file__).resolve().parents[2] / "README.md"


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A series in `study/` of the working folder, as the README has it."""
    stored = np.random.default_rng(0).integers(0, 1000, (5, 20, 20)).astype(np.uint16)
    monkeypatch.chdir(tmp_path)
    return save(tmp_path / "study", make_series(stored, pixel_spacing_mm=(1.0, 1.0)))


def test_the_example_runs_and_its_job_in_asyncio_finds_the_same(study: Path, small_triton: TritonServer) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert '"localhost:8001"' in example
    names: dict[str, object] = {}
    exec(example.replace("localhost:8001", small_triton.url), names)
    found = names["found"]
    assert {measured.segment.label.name for measured in found.measurements} == {"above 0.5", "above 1.5"}
    assert found.mask.any()

    async def together() -> list[np.ndarray]:
        with TritonModel(small_triton.url) as model:
            volumes = [load_input(study, model.spec).study] * 3
            return [each.mask for each in await asyncio.gather(*(segment_volume_async(v, model) for v in volumes))]

    for mask in asyncio.run(together()):
        np.testing.assert_array_equal(mask, found.mask)
