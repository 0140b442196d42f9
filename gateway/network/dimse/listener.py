"""The DIMSE server: C-STORE and C-ECHO, and storage commitment in both directions, for the peers that are let in."""

from __future__ import annotations

import ipaddress
import logging
import os
import ssl
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from swinunet.foundation.errors import InputError
from swinunet.gateway.config.peers import AllowedSender, ListenerConfig
from swinunet.gateway.contract import Commitments, Intake, Sender
from swinunet.gateway.network.dimse.association import DimseTimeouts, GuardedAssociation
from swinunet.gateway.network.dimse.commitment import (
    INVALID_ARGUMENT,
    PROCESSING_FAILURE,
    SUCCESS,
    answer_to_report,
    references_of,
)
from swinunet.gateway.network.dimse.contexts import accepted_contexts
from swinunet.gateway.network.dimse.receiving import receive
from swinunet.gateway.network.dimse.server import AssociationServer, bound_address
from swinunet.gateway.network.tls import server_context

logger = logging.getLogger(__name__)

_REJECTED_PERMANENT, _BY_SERVICE_USER, _CALLING_AE_NOT_RECOGNISED = 1, 1, 3  # PS3.8 9.3.4


class DicomListener:
    """Receives instances for an `Intake`; each is answered with what the intake says.

    incoming: the spool's folder of incoming files. commitments: None answers every storage commitment request with a
    failure. Threads: one to accept, two for each association.
    """

    def __init__(
        self, config: ListenerConfig, intake: Intake, commitments: Commitments | None, *, incoming: Path
    ) -> None:
        self._config, self._intake, self._commitments, self._incoming = config, intake, commitments, incoming
        self._timeouts = DimseTimeouts(association=min(30.0, config.idle_s), silence=config.idle_s)
        self._server: AssociationServer | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Bind the port and serve; returns when peers can connect.

        Raises InputError for a port that is in use or not allowed, an address that is not ours, and a certificate
        that cannot be used.
        """
        config = self._config
        tls: ssl.SSLContext | None = server_context(config.tls) if config.tls else None
        ae = AE(config.ae_title)
        self._timeouts.apply(ae)
        ae.maximum_associations = config.associations
        ae.require_called_aet = True
        handlers: list[tuple[Any, Callable[..., Any]]] = [
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_ACCEPTED, self._accepted),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_N_ACTION, self._commitment_requested),
            (evt.EVT_N_EVENT_REPORT, self._commitment_reported),
        ]
        try:
            self._server = AssociationServer(ae, (config.host, config.port), self._timeouts, tls, handlers)
        except OSError as error:
            raise InputError(
                f"cannot listen for DICOM at {config.host}:{config.port} ({os.strerror(error.errno or 0)}); "
                "stop what listens there, or set another host or port"
            ) from None
        ae._servers.append(self._server)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="DICOM listener")
        self._thread.daemon = True
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        assert self._server is not None
        return bound_address(self._server).port

    @property
    def association_count(self) -> int:
        """How many associations are open now."""
        return len(self._server.active_associations) if self._server else 0

    def stop(self, grace_s: float = 10.0) -> None:
        """Accept no more, abort what is open, and wait until its threads are gone, `grace_s` at most for each."""
        server, self._server = self._server, None
        if server is None:
            return
        associations = server.active_associations
        server.shutdown()
        for association in associations:
            association.abort(block=False)
        for association in associations:
            association.join(timeout=grace_s / 2)
            association._kill = True  # of one whose peer does not close
        for association in associations:
            association.join(timeout=grace_s / 2)

    def _requested(self, event: evt.Event) -> None:
        """Reject who is not let in; else offer what we have of what is proposed.

        Our own AE title is let in from this machine itself: `swinunet gateway fetch` calls so.
        """
        association = cast(GuardedAssociation, event.assoc)
        request, caller = association.requestor.primitive, association.requestor.address_info
        assert request is not None
        assert caller is not None
        assert association.acceptor.address_info is not None
        calling_ae, address = str(request.calling_ae_title).strip(), caller.address
        ours = calling_ae == self._config.ae_title and address == association.acceptor.address_info.address
        if not (ours or is_allowed(self._config.allow, calling_ae, address)):
            logger.warning("an association was rejected: its AE title and address are not in the list of those allowed")
            association.acse.send_reject(_REJECTED_PERMANENT, _BY_SERVICE_USER, _CALLING_AE_NOT_RECOGNISED)
            association.kill()
            return
        association.acceptor.supported_contexts = accepted_contexts(request.presentation_context_definition_list)

    def _accepted(self, event: evt.Event) -> None:
        association = cast(GuardedAssociation, event.assoc)
        sender = _sender_of(association)
        association.when_ended = lambda: self._intake.association_ended(sender)

    def _store(self, event: evt.Event) -> int:
        sender = _sender_of(cast(GuardedAssociation, event.assoc))
        return receive(event, sender, self._intake, self._incoming).dimse

    def _commitment_requested(self, event: evt.Event) -> tuple[int, Dataset | None]:
        """An N-ACTION of the Storage Commitment Push Model (PS3.4 J.3.2)."""
        try:
            transaction_uid, references = references_of(event.action_information)
        except Exception:  # pydicom raises whatever the bytes provoke
            return INVALID_ARGUMENT, None
        sender = _sender_of(cast(GuardedAssociation, event.assoc))
        if self._commitments is None or not self._commitments.requested(transaction_uid, references, sender):
            return PROCESSING_FAILURE, None
        return SUCCESS, None

    def _commitment_reported(self, event: evt.Event) -> tuple[int, Dataset | None]:
        """An N-EVENT-REPORT of the Storage Commitment Push Model (PS3.4 J.3.3)."""
        sender = _sender_of(cast(GuardedAssociation, event.assoc))
        return answer_to_report(event, sender, self._commitments.reported if self._commitments else None)


def is_allowed(allowed: tuple[AllowedSender, ...], calling_ae: str, address: str) -> bool:
    """Whether a caller of this AE title may come from this IP address; an empty list lets anyone in."""
    caller = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(caller, "ipv4_mapped", None)
    return not allowed or any(
        each.ae_title == calling_ae and (each.address is None or (mapped or caller) in each.address) for each in allowed
    )


def _sender_of(association: GuardedAssociation) -> Sender:
    """One object for the life of the association; its identity is made up on the first call."""
    if association.sender is None:
        requestor = association.requestor
        address = requestor.address_info.address if requestor.address_info else ""
        association.sender = Sender("dimse", requestor.ae_title.strip(), address, uuid.uuid4().hex)
    return association.sender
