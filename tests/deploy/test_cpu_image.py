"""The CPU image, built by the project's own Dockerfile from a Debian base, segments the demo's head."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from containers import Podman, why_no_containers

from swinunet.samples.mni152 import HIPPOCAMPUS_BOXES, read_mni152, write_series

pytestmark = pytest.mark.skipif(bool(why_no_containers()), reason=why_no_containers() or "-")


def test_it_segments_the_demos_head_with_a_root_that_nobody_can_write(
    podman: Podman, cpu_image: str, tmp_path: Path
) -> None:
    """Without a network, as a user who owns nothing, on a read-only root: client and Triton in one container."""
    write_series(read_mni152(), tmp_path / "study")
    out = tmp_path / "out"
    out.mkdir()
    for path in (*tmp_path.parents[:3], tmp_path, out):
        path.chmod(0o755)
    out.chmod(0o777)
    boxes = [f"--roi={side}={','.join(map(str, box))}" for side, box in HIPPOCAMPUS_BOXES.items()]
    podman(
        *("run", "--rm", "--read-only", "--tmpfs", "/tmp:mode=1777", "--network", "none", "--shm-size", "512m"),
        *("--cap-drop", "all", "--security-opt", "no-new-privileges"),
        *("--volume", f"{tmp_path / 'study'}:/study:ro", "--volume", f"{out}:/out", cpu_image),
        *("segment", "/study", "--output", "/out", "--model", "swin_unet_hippocampus", *boxes),
    )
    [report] = out.rglob("report.json")
    found = json.loads(report.read_text())
    millilitres = [each["volume_ml"] for each in found["structures"]]
    assert len(millilitres) == 4
    assert all(0.5 < volume < 4 for volume in millilitres)
    assert next(out.rglob("segmentation.dcm")).stat().st_size > 1000
