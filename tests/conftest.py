"""What the tests share: a real Triton on the shipped model, and a small model for everything that breaks servers."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser_pages import open_browser
from server_traces import traces
from small_model import write_small_repository

from swinunet import serving
from swinunet.foundation.paths import default_repository
from swinunet.serving import TritonServer

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what runs in its background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the commands that tests interrupt inherit it


@pytest.fixture(scope="session")
def tritonserver() -> serving.locate.Installation:
    """The installed tritonserver; tests that need one skip without it."""
    try:
        return serving.find_tritonserver()
    except serving.ServingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The model repository that the project ships."""
    return default_repository()


@pytest.fixture(scope="session")
def triton(tritonserver: object, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A server on the shipped repository, one for the whole run. Do not break it.

    Triton's Python backend gives up a model's process that did not run for a second, and may end over its late answer:
    on a machine that is that busy the server is started again, and clients try again.
    """
    log_file = tmp_path_factory.mktemp("triton") / "triton.log"
    with TritonServer(repository, log_file=log_file) as server, server.started_again_if_it_dies():
        yield server


@pytest.fixture(scope="session")
def small_triton(tritonserver: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A server of the small model, one for the whole run. Do not break it."""
    small = write_small_repository(tmp_path_factory.mktemp("small") / "repository")
    with TritonServer(small) as server, server.started_again_if_it_dies():
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The system's Chromium without a window (playwright's `Browser`), for one module: its event loop ends with it."""
    with open_browser() as found:
        yield found


@pytest.fixture
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test whose servers leave shared memory or a private folder behind; those of the run are left out."""
    for lasting in {"triton", "small_triton"} & set(request.fixturenames):
        request.getfixturevalue(lasting)
    before = traces()
    yield
    assert traces() == before


@pytest.fixture
def small_repository(tmp_path: Path) -> Path:
    """A repository with one model whose answer is plain arithmetic (`small_labels`), to be broken at will."""
    return write_small_repository(tmp_path / "repository")
