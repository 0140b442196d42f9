"""Real containers by podman, with storage of their own, and images of ours built on a Debian base.

As root. Building takes minutes and gigabytes, so tests that need it skip unless SWINUNET_TEST_IMAGE=1 asks for them.
SWINUNET_DEBIAN_ROOT names a folder that debootstrap made; without it one is made. SWINUNET_CONTAINER_STORAGE names a
folder whose images are kept for the next run; without it they go.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from floors import ROOT

BASE = "docker.io/library/debian:bookworm-slim"
CPU_IMAGE, SERVICES_IMAGE = "localhost/swinunet-cpu", "localhost/swinunet-services"
_PROGRAMS = ("podman", "runc", "debootstrap")
_NETWORK = (Path("/usr/lib/podman/netavark"), Path("/usr/lib/podman/aardvark-dns"))
# crun fails on limits that it may not raise, and without systemd there are no cgroups of its kind and no journal.
_CONTAINERS = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
log_driver = "k8s-file"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
_STORAGE = """
[storage]
driver = "{driver}"
graphroot = "{place}/storage"
runroot = "{place}/run"
"""
# Debian's Prometheus and Orthanc, in place of the images that Compose names and that cannot be had everywhere.
_SERVICES = f"""
FROM {BASE}
RUN apt-get update && apt-get install --yes --no-install-recommends prometheus orthanc wget && \\
    rm -rf /var/lib/apt/lists/* /etc/orthanc/*.json && \\
    install -d -o nobody /prometheus && install -d -o orthanc /var/lib/orthanc/db
"""
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")  # for a network whose proxy has a certificate of its own


def why_no_containers(*, compose: bool = False) -> str:
    """Why containers cannot be tested here; empty if they can. compose: with podman-compose and its networks."""
    if os.environ.get("SWINUNET_TEST_IMAGE") != "1":
        return "SWINUNET_TEST_IMAGE=1 builds the images (make container-test)"
    if os.geteuid():
        return "only root builds images here"
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if compose:
        missing += [path.name for path in _NETWORK if not path.is_file()]
        missing += [] if shutil.which("iptables") else ["iptables"]
        missing += [] if find_spec("podman_compose") else ["podman-compose (PyPI)"]
    return f"not installed: {', '.join(missing)}" if missing else ""


class Podman:
    """Podman whose images and containers lie in `place`."""

    def __init__(self, place: Path) -> None:
        place.mkdir(parents=True, exist_ok=True)
        (place / "containers.conf").write_text(_CONTAINERS)
        driver = os.environ.get("SWINUNET_STORAGE_DRIVER", "overlay")
        (place / "storage.conf").write_text(_STORAGE.format(driver=driver, place=place))
        self.environment = {
            **os.environ,
            "CONTAINERS_CONF": str(place / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(place / "storage.conf"),
        }

    def __call__(self, *arguments: object) -> str:
        """The output of a command that succeeds."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
        return done.stdout

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """A command that may fail."""
        command = ["podman", *map(str, arguments)]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)

    def has(self, image: str) -> bool:
        """Whether an image is there."""
        return self.run("image", "exists", image).returncode == 0

    def remove_everything(self) -> None:
        """Images and containers."""
        self.run("system", "reset", "--force")


def build_cpu_image(podman: Podman, temporary: Callable[[str], Path]) -> str:
    """The image of deploy/cpu.Dockerfile. temporary: makes a folder of that name. Returns the image's name."""
    _import_base(podman, temporary)
    _build(podman, ROOT / "deploy" / "cpu.Dockerfile", CPU_IMAGE, ROOT)
    return CPU_IMAGE


def build_services_image(podman: Podman, temporary: Callable[[str], Path]) -> str:
    """An image with Debian's Prometheus and Orthanc. Returns its name."""
    if not podman.has(SERVICES_IMAGE):
        _import_base(podman, temporary)
        folder = temporary("services")
        (folder / "Dockerfile").write_text(_SERVICES)
        _build(podman, folder / "Dockerfile", SERVICES_IMAGE, folder)
    return SERVICES_IMAGE


def _build(podman: Podman, dockerfile: Path, image: str, context: Path) -> None:
    podman(
        *("build", "--isolation", "chroot", "--network", "host", "--pull=never"),
        *("--file", dockerfile, "--tag", image, context),
    )


def _import_base(podman: Podman, temporary: Callable[[str], Path]) -> None:
    """A Debian that stands for the one of Docker's registry."""
    if podman.has(BASE):
        return
    root = Path(os.environ.get("SWINUNET_DEBIAN_ROOT") or temporary("debian"))
    if not (root / "etc" / "debian_version").is_file():
        subprocess.run(["debootstrap", "--variant=minbase", "bookworm", root], check=True, capture_output=True)
    trusted = []
    if _CERTIFICATES.is_file():
        shutil.copyfile(_CERTIFICATES, root / "etc" / "proxy.crt")  # the package ca-certificates writes its own
        names = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
        trusted = [f"--change=ENV {name}=/etc/proxy.crt" for name in names]
    tar = temporary("tar") / "base.tar"
    subprocess.run(["tar", "--one-file-system", "-C", root, "-cf", tar, "."], check=True)
    podman("import", *trusted, tar, BASE)
    tar.unlink()
