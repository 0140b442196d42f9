"""Processes that read and decode files: what they return, and one line for each way they can fail."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import numpy as np
import pytest
from dicom_series import make_series, read, save
from fuzz_mutations import mutated
from fuzz_reading import write_input
from pydicom.uid import RLELossless

from swinunet.client.dicom.header import read_header
from swinunet.client.dicom.sources import find_sources
from swinunet.client.dicom.workers import call_in_process, map_in_processes
from swinunet.foundation.errors import InputError


def test_headers_are_read_in_processes_and_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1})
    sources = find_sources(save(tmp_path, make_series(np.zeros((40, 2, 2), np.uint16))))
    assert list(map_in_processes(read_header, sources, fewest=2, chunk=4)) == [read_header(one) for one in sources]


def test_a_process_that_dies_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1})
    with pytest.raises(InputError, match="a process that reads DICOM files died"):
        list(map_in_processes(die, [1, 2, 3, 4], fewest=2, chunk=1))


def die(task: object) -> None:
    os._exit(3)


def test_a_call_may_kill_its_process_and_the_next_one_has_another() -> None:
    with pytest.raises(InputError, match="died"):
        call_in_process(die, 3)
    assert call_in_process(abs, -3) == 3
    with pytest.raises(TypeError):
        call_in_process(abs, "a")
    assert call_in_process(abs, -4) == 4


def hang(task: object) -> None:
    time.sleep(600)


def test_a_call_that_hangs_is_stopped_and_the_next_one_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    assert call_in_process(abs, -3) == 3
    with monkeypatch.context() as limited:
        limited.setattr("swinunet.client.dicom.workers.LIMIT_S", 0.2)
        with pytest.raises(InputError, match=r"^a process that reads DICOM files gave no answer for 0\.2 s; "):
            call_in_process(hang, 3)
    assert call_in_process(abs, -4) == 4


STOPS = {"dies": (die, "died (status 3)", 60.0), "hangs": (hang, "gave no answer for 0.2 s", 0.2)}


@pytest.mark.parametrize("how", STOPS)
@pytest.mark.parametrize("syntax", ["jpeg-baseline", "jpeg-ls", "jpeg-2000"])
def test_a_frame_that_stops_its_decoder_is_one_refused_file(
    syntax: str, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode, said, limit_s = STOPS[how]
    folder = write_input(*mutated(f"{syntax}/truncate/100"), tmp_path)
    read(folder)
    monkeypatch.setattr("swinunet.client.dicom.frames._decode_in_c", decode)
    monkeypatch.setattr("swinunet.client.dicom.workers.LIMIT_S", limit_s)
    refused = f"IM0000.dcm: its pixels cannot be decoded: the process that decodes its compressed pixel data {said}"
    with pytest.raises(InputError, match=re.escape(refused)):
        read(folder)


@pytest.mark.parametrize("how", STOPS)
def test_a_series_whose_slices_stop_a_process_is_named(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode, said, limit_s = STOPS[how]
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1})
    monkeypatch.setattr("swinunet.client.dicom.volume._decode_all", decode)
    monkeypatch.setattr("swinunet.client.dicom.workers.LIMIT_S", limit_s)
    slices = make_series(np.zeros((48, 2, 2), np.uint16))
    for ds in slices:
        ds.compress(RLELossless, generate_instance_uid=False)
    uid = slices[0].SeriesInstanceUID
    with pytest.raises(InputError, match=re.escape(f"series {uid}: a process that reads DICOM files {said}")):
        read(save(tmp_path, slices))
