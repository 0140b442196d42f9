"""An instance gets its success when its file is synced and in the ledger; what is refused leaves nothing."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gateway_runs import hand_over, make_study, part10_files
from pydicom.dataset import Dataset
from pydicom.uid import (
    BasicTextSRStorage,
    CTImageStorage,
    RTStructureSetStorage,
    SegmentationStorage,
)
from sqlalchemy import func, select

from swinunet.client.results.identity import MANUFACTURER, MODEL_NAME
from swinunet.gateway.config.settings import DiskConfig
from swinunet.gateway.contract import Answer, ReceivedInstance, Sender
from swinunet.gateway.intake import intake as intake_module
from swinunet.gateway.intake.intake import DurableIntake, remove_strangers, remove_unfinished
from swinunet.gateway.intake.watermark import DiskRoom, shortage
from swinunet.gateway.ledger.database import Ledger
from swinunet.gateway.ledger.schema import instances, open_associations, series, studies
from swinunet.gateway.spool import Spool

ROOMY = DiskConfig(least_free_gb=0, most_used_percent=100)
OWNER = "tester"


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    made = Spool.prepare(tmp_path / "spool")
    made.make_incoming(OWNER)
    return made


@pytest.fixture
def intake(spool: Spool, ledger: Ledger) -> Iterator[DurableIntake]:
    made = DurableIntake(spool, ledger, ROOMY, OWNER)
    made.start()
    yield made
    made.stop()


def rows(ledger: Ledger, table: Any) -> list[Any]:
    with ledger.read() as connection:
        return list(connection.execute(select(table)))


def stored_files(spool: Spool) -> list[Path]:
    return sorted((spool.root / "instances").rglob("*.dcm"))


def test_what_is_stored_is_the_file_as_it_came(
    intake: DurableIntake, spool: Spool, ledger: Ledger, tmp_path: Path
) -> None:
    study = make_study(4)
    files = part10_files(tmp_path / "in", study)
    assert hand_over(intake, spool.incoming(OWNER), files) == [Answer.STORED] * 4
    found = {row.sop_instance_uid: row for row in rows(ledger, instances)}
    assert found.keys() == {each.SOPInstanceUID for each in study}
    for file, each in zip(files, study, strict=True):
        row = found[each.SOPInstanceUID]
        assert (spool.root / row.file).read_bytes() == file.read_bytes()
        assert (row.study_uid, row.series_uid, row.kind) == (each.StudyInstanceUID, each.SeriesInstanceUID, "image")
        assert (row.sender_name, row.sender_kind, row.revision) == ("SCU", "dimse", None)
    (of_study,) = rows(ledger, studies)
    assert (of_study.state, of_study.images, of_study.revision) == ("receiving", 4, 0)
    (of_series,) = rows(ledger, series)
    assert (of_series.modality, of_series.description, of_series.images) == ("MR", "t1 axial", 4)
    assert list(spool.incoming(OWNER).iterdir()) == []


def test_no_name_in_the_spool_is_the_patients(intake: DurableIntake, spool: Spool, tmp_path: Path) -> None:
    study = make_study(1)
    hand_over(intake, spool.incoming(OWNER), part10_files(tmp_path / "in", study))
    for path in spool.root.rglob("*"):
        for value in (study[0].StudyInstanceUID, study[0].SOPInstanceUID, "SECRET"):
            assert value not in path.name
        assert path.stat().st_mode & 0o077 == 0 or path.suffix == ".dcm"  # in folders that are closed


def test_a_copy_is_a_success_and_stored_once(
    intake: DurableIntake, spool: Spool, ledger: Ledger, tmp_path: Path
) -> None:
    files = part10_files(tmp_path / "in", make_study(2))
    hand_over(intake, spool.incoming(OWNER), files)
    assert hand_over(intake, spool.incoming(OWNER), files) == [Answer.DUPLICATE] * 2
    assert len(rows(ledger, instances)) == len(stored_files(spool)) == 2
    (study,) = rows(ledger, studies)
    assert study.images == 2
    assert study.activity == 4  # its sender is not done


def test_many_associations_that_bring_the_same(
    intake: DurableIntake, spool: Spool, ledger: Ledger, tmp_path: Path
) -> None:
    files = part10_files(tmp_path / "in", make_study(5))
    answers: list[Answer] = []

    def bring() -> None:
        answers.extend(hand_over(intake, spool.incoming(OWNER), files))

    threads = [threading.Thread(target=bring) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.name for answer in answers) == ["DUPLICATE"] * 35 + ["STORED"] * 5
    assert len(rows(ledger, instances)) == len(stored_files(spool)) == 5
    assert rows(ledger, open_associations) == []
    (study,) = rows(ledger, studies)
    assert (study.images, study.activity) == (5, 40)


def test_an_open_association_is_known_until_it_ends(
    intake: DurableIntake, spool: Spool, ledger: Ledger, tmp_path: Path
) -> None:
    hand_over(intake, spool.incoming(OWNER), part10_files(tmp_path / "in", make_study(1)), end=False)
    ((association, _, owner),) = rows(ledger, open_associations)
    assert owner == OWNER
    intake.association_ended(Sender("dimse", "SCU", "127.0.0.1", association))
    assert rows(ledger, open_associations) == []


def without(keyword: str) -> Dataset:
    (made,) = make_study(1)
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    delattr(made, keyword)
    return made


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"])
def test_a_data_set_without_a_uid_is_invalid(
    intake: DurableIntake, spool: Spool, ledger: Ledger, tmp_path: Path, keyword: str, caplog: pytest.LogCaptureFixture
) -> None:
    without(keyword).save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert hand_over(intake, spool.incoming(OWNER), [tmp_path / "a.dcm"]) == [Answer.INVALID]
    assert f"it lacks the {keyword}" in caplog.text
    nothing_is_left(spool, ledger)


@pytest.mark.parametrize("uid", ["1.2." + "3" * 61, "1.2.x", "../../etc"])
def test_a_data_set_with_a_uid_that_is_none_is_invalid(
    intake: DurableIntake, spool: Spool, ledger: Ledger, tmp_path: Path, uid: str
) -> None:
    (made,) = make_study(1)
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.StudyInstanceUID = uid
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert hand_over(intake, spool.incoming(OWNER), [tmp_path / "a.dcm"]) == [Answer.INVALID]
    nothing_is_left(spool, ledger)


@pytest.mark.parametrize("content", [b"", b"nothing of DICOM" * 20, b"\0" * 128 + b"DICM" + b"\xff" * 50])
def test_what_is_no_dicom_is_invalid(
    intake: DurableIntake, spool: Spool, ledger: Ledger, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "a.dcm").write_bytes(content)
    assert hand_over(intake, spool.incoming(OWNER), [tmp_path / "a.dcm"]) == [Answer.INVALID]
    nothing_is_left(spool, ledger)


def test_another_sop_class_than_announced_is_invalid(
    intake: DurableIntake, spool: Spool, ledger: Ledger, tmp_path: Path
) -> None:
    (file,) = part10_files(tmp_path / "in", make_study(1))
    path = spool.incoming(OWNER) / "x.dcm"
    shutil.copy(file, path)
    sender = Sender("dimse", "SCU", "127.0.0.1", "a")
    answer = intake.accept(ReceivedInstance(CTImageStorage, "", "1.2.840.10008.1.2.1", path), sender)
    assert answer is Answer.INVALID
    nothing_is_left(spool, ledger)


def nothing_is_left(spool: Spool, ledger: Ledger) -> None:
    assert rows(ledger, instances) == rows(ledger, studies) == []
    assert stored_files(spool) == list(spool.incoming(OWNER).iterdir()) == []


@pytest.mark.parametrize(
    ("sop_class", "maker", "kind"),
    [
        (SegmentationStorage, "Somebody", "segmentation"),
        ("1.2.840.10008.5.1.4.1.1.66.7", "Somebody", "segmentation"),  # label map
        (RTStructureSetStorage, "Somebody", "segmentation"),
        (SegmentationStorage, MANUFACTURER, "own_result"),
        (BasicTextSRStorage, "Somebody", "other"),
        ("1.2.840.99.1", "Somebody", "image"),  # whether it has planes is not for the intake to say
        (CTImageStorage, "Somebody", "image"),
    ],
)
def test_what_is_no_image_makes_no_study_wait(
    intake: DurableIntake, spool: Spool, ledger: Ledger, tmp_path: Path, sop_class: str, maker: str, kind: str
) -> None:
    (made,) = make_study(1, Manufacturer=maker, ManufacturerModelName=MODEL_NAME, SOPClassUID=sop_class)
    assert hand_over(intake, spool.incoming(OWNER), part10_files(tmp_path / "in", [made])) == [Answer.STORED]
    (row,) = rows(ledger, instances)
    assert row.kind == kind
    (study,) = rows(ledger, studies)
    assert study.state == ("receiving" if kind == "image" else "complete")


@pytest.mark.parametrize(
    ("disk", "words"),
    [
        (DiskConfig(least_free_gb=10**9, most_used_percent=100), "free"),
        (DiskConfig(least_free_gb=0, most_used_percent=1e-9), "used"),
    ],
)
def test_above_the_watermark_nothing_is_taken(
    spool: Spool, ledger: Ledger, tmp_path: Path, disk: DiskConfig, words: str
) -> None:
    intake = DurableIntake(spool, ledger, disk, OWNER)
    intake.start()
    files = part10_files(tmp_path / "in", make_study(1))
    assert intake.refusal() is Answer.OUT_OF_SPACE
    assert hand_over(intake, spool.incoming(OWNER), files) == [Answer.OUT_OF_SPACE]
    intake.stop()
    nothing_is_left(spool, ledger)


def test_the_watermark_in_numbers() -> None:
    assert shortage(DiskRoom(6 * 10**9, 0.849), 5, 85) == ""
    assert shortage(DiskRoom(4 * 10**9, 0.5), 5, 85) == "4.0 GB are free, the watermark is 5 GB"
    assert shortage(DiskRoom(50 * 10**9, 0.86), 5, 85) == "86 % of the disk are used, the watermark is 85 %"


@pytest.mark.parametrize(
    ("number", "answer"),
    [(errno.ENOSPC, Answer.OUT_OF_SPACE), (errno.EDQUOT, Answer.OUT_OF_SPACE), (errno.EIO, Answer.FAILED)],
)
@pytest.mark.parametrize("step", ["sync_file", "sync_folder"])
def test_a_disk_that_fails_while_an_instance_is_stored(
    intake: DurableIntake, spool: Spool, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    number: int, answer: Answer, step: str,
) -> None:  # fmt: skip
    def fail(_path: Path) -> None:
        raise OSError(number, os.strerror(number))

    files = part10_files(tmp_path / "in", make_study(1))
    monkeypatch.setattr(intake_module, step, fail)
    assert hand_over(intake, spool.incoming(OWNER), files) == [answer]
    monkeypatch.undo()
    assert rows(ledger, instances) == []
    assert stored_files(spool) == []
    assert hand_over(intake, spool.incoming(OWNER), files) == [Answer.STORED]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """On a file system of 3 MiB some instances are stored, and then a sender is told that there is no room."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("this machine does not let root mount")
    try:
        spool = Spool.prepare(disk / "spool")
        ledger = Ledger(f"sqlite:///{disk / 'ledger.sqlite'}")
        intake = DurableIntake(spool, ledger, ROOMY, OWNER)
        intake.start()
        files = part10_files(tmp_path / "in", make_study(60, ICCProfile=b"\0" * 100_000))
        answers = []
        incoming = spool.make_incoming(OWNER)
        for file in files:
            try:
                answers += hand_over(intake, incoming, [file])
            except OSError:  # the network's own write finds it full first
                answers.append(Answer.OUT_OF_SPACE)
                for path in incoming.iterdir():
                    path.unlink()
        intake.stop()
        assert set(answers) == {Answer.STORED, Answer.OUT_OF_SPACE}
        found = rows(ledger, instances)
        assert len(found) == answers.count(Answer.STORED)
        for row in found:
            assert (spool.root / row.file).stat().st_size == row.bytes
        assert len(stored_files(spool)) == len(found)
        ledger.close()
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


RECEIVER = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[5])
from gateway_runs import hand_over
from swinunet.gateway.config.settings import DiskConfig
from swinunet.gateway.intake.intake import DurableIntake
from swinunet.gateway.ledger.database import Ledger
from swinunet.gateway.spool import Spool
import threading
url, root, files, owner = sys.argv[1:5]
spool, ledger = Spool.prepare(Path(root)), Ledger(url)
intake = DurableIntake(spool, ledger, DiskConfig(0, 100), owner)
intake.start()
paths = sorted(Path(files).iterdir())
incoming = spool.make_incoming(owner)
def bring(mine):
    for path in mine:
        (answer,) = hand_over(intake, incoming, [path])
        os.write(1, f"{path.name} {answer.name}\\n".encode())
threads = [threading.Thread(target=bring, args=(paths[at::4],)) for at in range(4)]
[each.start() for each in threads]
[each.join() for each in threads]
"""


@pytest.mark.parametrize("after", [1, 7, 20])
def test_killed_in_the_midst_it_has_what_it_told_its_senders(
    ledger_url: str, ledger: Ledger, tmp_path: Path, after: int
) -> None:
    """By kill -9, four associations at once; then the next start leaves nothing that nobody was told of."""
    study = make_study(60)
    part10_files(tmp_path / "in", study)
    root = tmp_path / "spool"
    support = Path(__file__).parents[1] / "support"
    with subprocess.Popen(
        [sys.executable, "-P", "-c", RECEIVER, ledger_url, root, tmp_path / "in", "killed", support],
        stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout
        told = []
        for line in process.stdout:
            told += [line.split()[0]] if "STORED" in line else []
            if len(told) == after:
                process.kill()
        process.wait()
    spool = Spool(root)
    remove_unfinished(ledger, spool, "killed")
    remove_strangers(ledger, spool)
    found = {row.sop_instance_uid: row for row in rows(ledger, instances)}
    names = {f"IM{index:04d}": each.SOPInstanceUID for index, each in enumerate(study)}
    assert len(told) >= after
    for name in told:
        row = found[names[name]]
        assert (root / row.file).read_bytes() == (tmp_path / "in" / name).read_bytes()
    assert {spool.relative(path) for path in stored_files(spool)} == {row.file for row in found.values()}
    assert not (root / "incoming" / "killed").exists()
    with ledger.read() as connection:
        assert connection.scalar(select(func.sum(series.c.images))) == len(found)


def test_what_is_received_again_after_its_file_went_is_new(
    intake: DurableIntake, spool: Spool, ledger: Ledger, tmp_path: Path
) -> None:
    files = part10_files(tmp_path / "in", make_study(2))
    hand_over(intake, spool.incoming(OWNER), files)
    with ledger.write() as connection:
        connection.execute(instances.update().values(file="", revision=1))
        connection.execute(studies.update().values(state="complete", revision=1))
    for path in stored_files(spool):
        path.unlink()
    assert hand_over(intake, spool.incoming(OWNER), files) == [Answer.STORED] * 2
    assert {row.revision for row in rows(ledger, instances)} == {None}
    (study,) = rows(ledger, studies)
    assert study.state == "receiving"


def test_a_gateway_that_drains_refuses(intake: DurableIntake, spool: Spool, ledger: Ledger, tmp_path: Path) -> None:
    intake.drain()
    files = part10_files(tmp_path / "in", make_study(1))
    assert hand_over(intake, spool.incoming(OWNER), files) == [Answer.OUT_OF_SPACE]
    nothing_is_left(spool, ledger)
