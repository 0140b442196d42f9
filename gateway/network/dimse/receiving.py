"""A C-STORE request that we receive, whoever opened the association: its bytes to a file, the file to the intake."""

from __future__ import annotations

import errno
import logging
from pathlib import Path
from typing import cast

from pynetdicom import evt
from pynetdicom.dimse_primitives import C_STORE

from swinunet.gateway.contract import Answer, Intake, ReceivedInstance, Sender
from swinunet.gateway.network.part10 import file_head, incoming_file, uids_of

logger = logging.getLogger(__name__)

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def receive(event: evt.Event, sender: Sender, intake: Intake, incoming: Path) -> Answer:
    """What to tell the peer; never raises. incoming: the spool's folder of incoming files."""
    try:
        return intake.refusal() or intake.accept(_written(event, sender, incoming), sender)
    except OSError as error:
        logger.error("an instance could not be written (%s)", error.strerror or type(error).__name__)
        return Answer.OUT_OF_SPACE if error.errno in _NO_ROOM else Answer.FAILED
    except Exception as error:  # whatever the bytes of a peer provoke
        logger.error("an instance could not be taken (%s)", type(error).__name__)
        return Answer.FAILED


def _written(event: evt.Event, sender: Sender, incoming: Path) -> ReceivedInstance:
    request = cast(C_STORE, event.request)
    syntax = event.context.transfer_syntax
    data_set = request.DataSet.getbuffer() if request.DataSet else memoryview(b"")
    sop_class_uid, sop_instance_uid = uids_of(data_set, syntax)
    head = file_head(
        sop_class_uid or str(request.AffectedSOPClassUID),
        sop_instance_uid or str(request.AffectedSOPInstanceUID),
        syntax,
        sender.name,
    )
    with incoming_file(incoming) as (path, file):
        file.write(head)
        file.write(data_set)
    return ReceivedInstance(sop_class_uid, sop_instance_uid, str(syntax), path)
