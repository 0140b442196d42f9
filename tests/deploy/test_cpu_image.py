"""The CPU image, built by the project's own Dockerfile from a Debian base, segments the demo's head.

Building takes minutes and a gigabyte, so it is done where SWINUNET_TEST_IMAGE=1 asks for it, as root, with podman.
SWINUNET_DEBIAN_ROOT names a folder that debootstrap made; without it one is made.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from floors import ROOT

from swinunet.samples.mni152 import HIPPOCAMPUS_BOXES, read_mni152, write_series

NEEDED = ("podman", "runc", "debootstrap")
missing = [name for name in NEEDED if shutil.which(name) is None]
pytestmark = [
    pytest.mark.skipif(os.environ.get("SWINUNET_TEST_IMAGE") != "1", reason="SWINUNET_TEST_IMAGE=1 builds the image"),
    pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)} (Debian)"),
]
# crun fails on limits that it may not raise, and without systemd there are no cgroups of its kind and no journal.
CONTAINERS = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
log_driver = "k8s-file"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
# For a network whose proxy has a certificate of its own.
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory):
    """Podman with storage of its own."""
    place = tmp_path_factory.mktemp("podman")
    (place / "containers.conf").write_text(CONTAINERS)
    environment = {**os.environ, "CONTAINERS_CONF": str(place / "containers.conf")}
    base = [
        "podman",
        "--root",
        str(place / "storage"),
        "--runroot",
        str(place / "run"),
        "--storage-driver",
        os.environ.get("SWINUNET_STORAGE_DRIVER", "overlay"),
    ]

    def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        command = [*base, *map(str, arguments)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, **options)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
        return done

    yield run
    subprocess.run([*base, "system", "reset", "--force"], env=environment, capture_output=True, check=False)


@pytest.fixture(scope="module")
def image(podman, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of the image, built from a Debian base that stands for the one of Docker's registry."""
    root = Path(os.environ.get("SWINUNET_DEBIAN_ROOT") or tmp_path_factory.mktemp("debian"))
    if not (root / "etc" / "debian_version").is_file():
        subprocess.run(["debootstrap", "--variant=minbase", "bookworm", root], check=True, capture_output=True)
    trusted = []
    if Path(CERTIFICATES).is_file():
        shutil.copyfile(CERTIFICATES, root / "etc" / "proxy.crt")  # the package ca-certificates writes its own
        names = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
        trusted = [f"--change=ENV {name}=/etc/proxy.crt" for name in names]
    tar = tmp_path_factory.mktemp("tar") / "base.tar"
    subprocess.run(["tar", "--one-file-system", "-C", root, "-cf", tar, "."], check=True)
    podman("import", *trusted, tar, "docker.io/library/debian:bookworm-slim")
    tar.unlink()
    podman(
        *("build", "--isolation", "chroot", "--network", "host", "--pull=never"),
        *("--file", ROOT / "deploy" / "cpu.Dockerfile", "--tag", "swinunet-cpu", ROOT),
    )
    return "swinunet-cpu"


def test_it_segments_the_demos_head_with_a_root_that_nobody_can_write(podman, image: str, tmp_path: Path) -> None:
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
        *("--volume", f"{tmp_path / 'study'}:/study:ro", "--volume", f"{out}:/out", image),
        *("segment", "/study", "--output", "/out", "--model", "swin_unet_hippocampus", *boxes),
    )
    [report] = out.rglob("report.json")
    found = json.loads(report.read_text())
    millilitres = [each["volume_ml"] for each in found["structures"]]
    assert len(millilitres) == 4
    assert all(0.5 < volume < 4 for volume in millilitres)
    assert next(out.rglob("segmentation.dcm")).stat().st_size > 1000
