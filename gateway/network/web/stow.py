"""STOW-RS (PS3.18 10.5): instances by HTTP, streamed to the spool, for the same intake as C-STORE."""

from __future__ import annotations

import asyncio
import errno
import logging
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from swinunet.gateway.contract import Answer, Intake, ReceivedInstance, Reference, Sender
from swinunet.gateway.network.dimse.contexts import RECEIVED_TRANSFER_SYNTAXES, STORAGE_CLASSES
from swinunet.gateway.network.part10 import study_of_file, uids_of_file
from swinunet.gateway.network.web import store_response
from swinunet.gateway.network.web.multipart import ContentType, MultipartError, PartFiles
from swinunet.gateway.network.web.store_response import StoreResponse

logger = logging.getLogger(__name__)

PREFIX = "/dicom-web"
_SILENCE_S = 60.0  # without a byte of the body after which a request is given up
_LOOK_BYTES = 64 << 20  # of a body between two looks at the disk
_BAD_REQUEST, _TIMED_OUT, _UNSUPPORTED, _NOT_ACCEPTABLE, _NO_ROOM = 400, 408, 415, 406, 507
_NO_ROOM_ERRORS = (errno.ENOSPC, errno.EDQUOT)
_CLASSES, _SYNTAXES = frozenset(STORAGE_CLASSES), frozenset(RECEIVED_TRANSFER_SYNTAXES)


class StowServer:
    """The Store transaction. incoming: the spool's folder of incoming files. sender_name: who holds the token."""

    def __init__(self, intake: Intake, incoming: Path, sender_name: str = "STOW-RS") -> None:
        self._intake, self._incoming, self._sender_name = intake, incoming, sender_name

    def routes(self) -> list[Route]:
        """POST to /dicom-web/studies and to /dicom-web/studies/{study}."""
        return [
            Route(f"{PREFIX}/studies", self.store, methods=["POST"]),
            Route(f"{PREFIX}/studies/{{study}}", self.store, methods=["POST"]),
        ]

    async def store(self, request: Request) -> Response:
        """Take every instance of the request, or none of one that does not come whole."""
        media_type = _answered_as(request.headers.get("accept", ""))
        if media_type is None:
            return _plain(_NOT_ACCEPTABLE, f"this answers as {store_response.JSON} or {store_response.XML}")
        try:
            boundary = ContentType.parse(request.headers.get("content-type", "")).boundary()
        except MultipartError as error:
            return _plain(_UNSUPPORTED, str(error))
        refusal = await run_in_threadpool(self._intake.refusal)
        if refusal is not None:
            return _plain(refusal.http, "no instance can be taken now")
        return await self._received(request, boundary, media_type)

    async def _received(self, request: Request, boundary: str, media_type: str) -> Response:
        address = request.client.host if request.client else ""
        sender = Sender("stow", self._sender_name, address, uuid.uuid4().hex)
        try:
            with PartFiles(self._incoming, boundary) as parts:
                await self._read(request, parts)
                response = await run_in_threadpool(self._taken, parts, sender, request.path_params.get("study"))
        except MultipartError as error:
            return _plain(_BAD_REQUEST, f"{error}; nothing of it was stored")
        except TimeoutError:
            return _plain(_TIMED_OUT, f"no byte for {_SILENCE_S:g} s; nothing of it was stored")
        except ClientDisconnect:
            logger.info("a STOW-RS request ended early; nothing of it was stored")
            return _plain(_BAD_REQUEST, "the request ended early")
        except OSError as error:
            logger.error("a STOW-RS request could not be written (%s)", error.strerror or type(error).__name__)
            answer = Answer.OUT_OF_SPACE if error.errno in _NO_ROOM_ERRORS else Answer.FAILED
            return _plain(answer.http, "the request could not be written; nothing of it was stored")
        finally:
            await run_in_threadpool(self._intake.association_ended, sender)
        return Response(response.body(media_type), response.status, media_type=media_type)

    async def _read(self, request: Request, parts: PartFiles) -> None:
        """The body, to the parts' files. Raises MultipartError, TimeoutError, ClientDisconnect and OSError."""
        since_look = 0
        async for piece in _pieces(request):
            parts.write(piece)
            since_look += len(piece)
            if since_look >= _LOOK_BYTES:
                since_look = 0
                if await run_in_threadpool(self._intake.refusal) is not None:
                    raise OSError(errno.ENOSPC, "the disk has filled up to its watermark")
        parts.finish()

    def _taken(self, parts: PartFiles, sender: Sender, study: str | None) -> StoreResponse:
        """Each part to the intake, in their order."""
        response = StoreResponse()
        for path in list(parts.paths):
            sop_class, sop_instance, syntax = uids_of_file(path)
            reference = Reference(sop_class, sop_instance) if sop_class else None
            reason = None
            if reference is None:
                reason = store_response.CANNOT_UNDERSTAND
            elif sop_class not in _CLASSES:
                reason = store_response.CLASS_NOT_SUPPORTED
            elif syntax not in _SYNTAXES:
                reason = store_response.SYNTAX_NOT_SUPPORTED
            elif study is not None and study_of_file(path) != study:
                reason = store_response.WRONG_STUDY
            if reason is not None:
                response.add(reference, Answer.INVALID, reason)
                continue
            parts.paths.remove(path)  # from here it is the intake's
            answer = self._intake.accept(ReceivedInstance(sop_class, sop_instance, syntax, path), sender)
            response.add(reference, answer)
        if not (response.stored or response.failed or response.others):
            raise MultipartError("the body has no part")
        return response


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    stream = request.stream()
    while True:
        try:
            piece = await asyncio.wait_for(anext(stream), _SILENCE_S)
        except StopAsyncIteration:
            return
        yield piece


def _answered_as(accept: str) -> str | None:
    """The media type of the answer: JSON unless only XML is accepted; None if neither is."""
    accepted = {ContentType.parse(each).media_type for each in accept.split(",")}
    if not accept.strip() or accepted & {store_response.JSON, "application/json", "application/*", "*/*"}:
        return store_response.JSON
    return store_response.XML if accepted & {store_response.XML, "application/xml", "text/xml"} else None


def _plain(status: int, words: str) -> Response:
    return PlainTextResponse(words + "\n", status)
