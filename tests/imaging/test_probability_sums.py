"""Where sums of probabilities are kept, in memory or in a file, and that they are sums either way."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable
from typing import IO

import numpy as np
import pytest

from swinunet.foundation.errors import OutputError
from swinunet.imaging import probability_sums
from swinunet.imaging.probability_sums import ProbabilitySums
from swinunet.imaging.spec import Plane

LPS = np.eye(4)
MIB = 2**20


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> list[IO[bytes]]:
    """The temporary files that were made."""
    made: list[IO[bytes]] = []
    real: Callable[[], IO[bytes]] = tempfile.TemporaryFile

    def make() -> IO[bytes]:
        made.append(real())
        return made[-1]

    monkeypatch.setattr(probability_sums.tempfile, "TemporaryFile", make)
    return made


@pytest.mark.parametrize("shape", [(256, 64, 256), (256, 256, 64), (16, 1024, 256), (1, 4096, 1024)])
def test_sums_of_sixty_four_mib_are_in_memory(shape: tuple[int, int, int], files: list[IO[bytes]]) -> None:
    """Of four classes in float32."""
    ((at, found),) = ProbabilitySums(4, shape, LPS).slabs()
    assert found.nbytes == 64 * MIB
    assert (found.shape, found.dtype) == ((4, *shape), np.float32)
    assert at == slice(0, shape[0])
    assert not files


@pytest.mark.parametrize(
    ("classes", "shape", "slabs"),
    [
        (4, (257, 64, 256), [256, 1]),
        (4, (17, 1024, 256), [16, 1]),
        (5, (256, 64, 256), [204, 52]),
        (8, (256, 64, 256), [128, 128]),
        (4, (2, 4096, 1025), [1, 1]),  # one slice alone is more
    ],
)
def test_larger_sums_wait_in_a_file_and_are_made_in_slabs_of_sixty_four_mib(
    classes: int, shape: tuple[int, int, int], slabs: list[int], files: list[IO[bytes]]
) -> None:
    sums = ProbabilitySums(classes, shape, LPS)
    assert len(files) == 1
    ends = np.cumsum([0, *slabs])
    found = [(at, each.shape) for at, each in sums.slabs()]
    assert [at for at, _ in found] == [slice(int(a), int(b)) for a, b in itertools.pairwise(ends)]
    assert [made for _, made in found] == [(classes, depth, *shape[1:]) for depth in slabs]


def in_patient(plane: Plane, at: int, rows_and_columns: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """A slice as it lies in an LPS volume, zero elsewhere: [classes, I, J, K].

    As radiologists look at it: sagittal and coronal with the head up, which is K downwards; axial with anterior up.
    """
    found = np.zeros((len(rows_and_columns), *shape))
    if plane == "sagittal":
        found[:, at] = rows_and_columns[:, ::-1].transpose(0, 2, 1)
    elif plane == "coronal":
        found[:, :, at] = rows_and_columns[:, ::-1].transpose(0, 2, 1)
    else:
        found[:, :, :, at] = rows_and_columns.transpose(0, 2, 1)
    return found


@pytest.mark.parametrize("most_bytes", [2**26, 1, 4 * 2 * 4 * 6 * 2, 4 * 2 * 4 * 6 * 3 + 1])
@pytest.mark.parametrize("shape", [(5, 4, 6), (5, 1, 6), (5, 4, 1), (5, 1, 1), (1, 4, 6)])
def test_every_slice_is_added_where_it_lies(
    shape: tuple[int, int, int], most_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole in memory, or cut into slabs of one, two or three slices along I; each slice twice."""
    monkeypatch.setattr(probability_sums, "_MOST_BYTES", most_bytes)
    rng, sums, expected = np.random.default_rng(0), ProbabilitySums(2, shape, LPS), np.zeros((2, *shape))
    i, j, k = shape
    readings: list[tuple[Plane, int, tuple[int, int]]] = [
        ("sagittal", i, (k, j)),
        ("coronal", j, (k, i)),
        ("axial", k, (j, i)),
    ]
    for plane, count, size in readings * 2:
        for at in range(count):
            said = rng.integers(0, 65, (2, *size)).astype(np.float32) / 64  # whole numbers in float16
            sums.add(plane, at, said)
            expected += in_patient(plane, at, said, shape)
    slabs = list(sums.slabs())
    np.testing.assert_array_equal(np.concatenate([each for _, each in slabs], axis=1), expected)
    assert [at.start for at, _ in slabs] == [0, *(at.stop for at, _ in slabs[:-1])]
    assert slabs[-1][0].stop == i


def test_an_error_without_a_number_is_said_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def tell(self) -> int:
            return 0

        def write(self, content: bytes) -> int:
            raise OSError("full")

    monkeypatch.setattr(probability_sums, "_MOST_BYTES", 1)
    monkeypatch.setattr(probability_sums.tempfile, "TemporaryFile", Full)
    sums = ProbabilitySums(2, (4, 5, 6), LPS)
    with pytest.raises(OutputError) as caught:
        sums.add("axial", 0, np.zeros((2, 5, 4), np.float32))
    assert str(caught.value) == (
        f"{tempfile.gettempdir()}: cannot write (Success); probabilities of 2 classes in several planes wait there: "
        "set TMPDIR to a folder with more room"
    )
