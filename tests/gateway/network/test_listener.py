"""The DIMSE server: real senders, what is written, who is let in, and what peers are told."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pydicom
import pytest
from dicom_nodes import Orthanc, dcmtk, require_dcmtk, wait_until
from gateway_intakes import KeepingIntake

from swinunet.foundation.errors import InputError, PeerError
from swinunet.gateway.config.peers import AllowedSender
from swinunet.gateway.contract import Answer
from swinunet.gateway.network.dimse.association import DimseAddress, open_association
from swinunet.gateway.network.dimse.contexts import verification_context
from swinunet.gateway.network.dimse.listener import DicomListener, is_allowed
from swinunet.gateway.network.dimse.sender import echo, send_by_dimse
from swinunet.samples.closed_network import LOOPBACK

from .conftest import TIMEOUTS, StartListener, address_of


def uids_of(files: list[Path]) -> set[str]:
    return {str(pydicom.dcmread(file).SOPInstanceUID) for file in files}


def dcmsend(listener: DicomListener, files: list[Path], *options: object) -> subprocess.CompletedProcess[str]:
    return dcmtk("dcmsend", *options, "-aec", "GATEWAY", LOOPBACK, listener.port, *files)


def test_echoscu_is_answered(start_listener: StartListener, intake: KeepingIntake) -> None:
    listener = start_listener(intake)
    done = dcmtk("echoscu", "-aec", "GATEWAY", LOOPBACK, listener.port)
    assert done.returncode == 0, done.stderr


def test_ipv6_is_spoken_where_there_is_one(start_listener: StartListener, intake: KeepingIntake) -> None:
    try:
        listener = start_listener(intake, host="::1")
    except InputError as error:
        pytest.skip(str(error))
    assert echo(DimseAddress("GATEWAY", "::1", listener.port), "SENDER", TIMEOUTS).accepted
    wait_until(lambda: intake.ended, "the end of the association")
    assert intake.ended[0].address == "::1"


@pytest.mark.parametrize("program", ["storescu", "dcmsend"])
def test_every_instance_is_a_whole_file_with_its_own_uids(
    start_listener: StartListener, intake: KeepingIntake, instances: list[Path], program: str
) -> None:
    listener = start_listener(intake)
    done = dcmtk(program, "-aet", "MODALITY", "-aec", "GATEWAY", LOOPBACK, listener.port, *instances)
    assert done.returncode == 0, done.stderr
    assert intake.uids == dict.fromkeys(uids_of(instances), 1)
    sent = {str(ds.SOPInstanceUID): ds for ds in map(pydicom.dcmread, instances)}
    for instance in intake.instances:
        written = pydicom.dcmread(instance.path)
        assert written == sent[instance.sop_instance_uid]
        assert written.file_meta.MediaStorageSOPInstanceUID == instance.sop_instance_uid == written.SOPInstanceUID
        assert written.file_meta.MediaStorageSOPClassUID == instance.sop_class_uid == written.SOPClassUID
        assert written.file_meta.TransferSyntaxUID == instance.transfer_syntax_uid
        assert instance.path.stat().st_mode & 0o777 == 0o600
    assert {sender.name for sender in intake.senders} == {"MODALITY"}
    assert {sender.address for sender in intake.senders} == {LOOPBACK}
    wait_until(lambda: len(intake.ended) == 1, "the end of the association")
    assert {sender.association for sender in intake.senders} == {intake.ended[0].association}


def test_eight_associations_at_once_lose_nothing(
    start_listener: StartListener, intake: KeepingIntake, instances: list[Path]
) -> None:
    require_dcmtk()
    listener = start_listener(intake)
    command = ["dcmsend", "-aec", "GATEWAY", LOOPBACK, str(listener.port), *map(str, instances)]
    senders = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(8)]
    assert [sender.wait(timeout=300) for sender in senders] == [0] * 8
    assert intake.uids == dict.fromkeys(uids_of(instances), 8)
    wait_until(lambda: len(intake.ended) == 8, "the ends of the associations")
    assert len({sender.association for sender in intake.senders}) == 8


def test_orthanc_sends_a_study(
    start_listener: StartListener, intake: KeepingIntake, instances: list[Path], orthanc: Orthanc
) -> None:
    listener = start_listener(intake)
    orthanc.upload(instances)
    orthanc.know_modality("gateway", "GATEWAY", listener.port)
    orthanc.rest("POST", "modalities/gateway/echo", {})
    (study,) = orthanc.find("Study")
    orthanc.rest("POST", "modalities/gateway/store", {"Resources": [study], "Synchronous": True})
    assert intake.uids == dict.fromkeys(uids_of(instances), 1)
    assert {sender.name for sender in intake.senders} == {"ORTHANC"}


@pytest.mark.parametrize("answer", [Answer.OUT_OF_SPACE, Answer.INVALID, Answer.FAILED, Answer.DUPLICATE])
def test_the_sender_hears_what_the_intake_answers(
    start_listener: StartListener, instances: list[Path], answer: Answer
) -> None:
    listener = start_listener(KeepingIntake(answer))
    (outcome,) = send_by_dimse(address_of(listener), "SENDER", TIMEOUTS, instances[:1])
    assert outcome.status == answer.dimse
    assert outcome.accepted == answer.is_success


def test_a_refusal_comes_before_anything_is_written(
    start_listener: StartListener, instances: list[Path], tmp_path: Path
) -> None:
    intake = KeepingIntake(refuses=Answer.OUT_OF_SPACE)
    outcomes = send_by_dimse(address_of(start_listener(intake)), "SENDER", TIMEOUTS, instances[:2])
    assert [outcome.status for outcome in outcomes] == [0xA700, 0xA700]
    assert intake.instances == []
    assert list((tmp_path / "incoming").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told_as_a_failure_and_heals(
    start_listener: StartListener, intake: KeepingIntake, instances: list[Path], tmp_path: Path
) -> None:
    listener = start_listener(intake)
    incoming = tmp_path / "incoming"
    incoming.rmdir()
    assert [o.status for o in send_by_dimse(address_of(listener), "SENDER", TIMEOUTS, instances[:1])] == [0xC000]
    incoming.mkdir()
    assert [o.status for o in send_by_dimse(address_of(listener), "SENDER", TIMEOUTS, instances[:1])] == [0]


def test_who_is_not_in_the_list_is_rejected(start_listener: StartListener, intake: KeepingIntake) -> None:
    allow = (AllowedSender("MODALITY"), AllowedSender("ELSEWHERE", "10.0.0.0/8"))
    address = address_of(start_listener(intake, allow=allow))
    assert echo(address, "MODALITY", TIMEOUTS).accepted
    for calling_ae in ("STRANGER", "ELSEWHERE", "modality"):
        outcome = echo(address, calling_ae, TIMEOUTS)
        assert not outcome.accepted
        assert outcome.retry
        assert "rejects the association (calling ae title not recognised)" in outcome.words
    assert echo(DimseAddress("ANOTHER", LOOPBACK, address.port), "MODALITY", TIMEOUTS).words.count("called ae title")


def test_an_address_is_matched_by_its_network_and_from_ipv6_too() -> None:
    allowed = (AllowedSender("A", "10.1.0.0/16"), AllowedSender("B", "fd00::/8"))
    assert is_allowed(allowed, "A", "10.1.2.3")
    assert is_allowed(allowed, "A", "::ffff:10.1.2.3")
    assert is_allowed(allowed, "B", "fd00::1")
    assert not is_allowed(allowed, "A", "10.2.2.3")
    assert not is_allowed(allowed, "B", "10.1.2.3")
    assert is_allowed((), "ANYONE", "192.0.2.1")


def test_one_association_above_the_limit_is_rejected_and_the_next_is_not(
    start_listener: StartListener, intake: KeepingIntake
) -> None:
    listener = start_listener(intake, associations=2)
    address = address_of(listener)
    contexts = [verification_context()]
    first, second = (open_association(address, "SENDER", contexts, TIMEOUTS) for _ in range(2))
    with pytest.raises(PeerError, match="local limit exceeded"):
        open_association(address, "SENDER", contexts, TIMEOUTS)
    first.release()
    wait_until(lambda: listener.association_count == 1, "the end of the first association")
    open_association(address, "SENDER", contexts, TIMEOUTS).release()
    second.release()


def test_a_port_in_use_is_one_line(start_listener: StartListener, intake: KeepingIntake) -> None:
    listener = start_listener(intake)
    with pytest.raises(InputError, match=rf"cannot listen for DICOM at 127.0.0.1:{listener.port} \(Address already"):
        start_listener(intake, port=listener.port)


def test_stopping_aborts_what_is_open_and_tells_the_intake(
    start_listener: StartListener, intake: KeepingIntake
) -> None:
    listener = start_listener(intake)
    association = open_association(address_of(listener), "SENDER", [verification_context()], TIMEOUTS)
    listener.stop()
    assert len(intake.ended) == 1
    wait_until(lambda: not association.is_established, "the abort at the peer")
    with pytest.raises(PeerError, match="cannot connect"):
        open_association(DimseAddress("GATEWAY", LOOPBACK, association.acceptor.address_info.port), "S",
                         [verification_context()], TIMEOUTS)  # fmt: skip
