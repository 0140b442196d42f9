"""A DICOMweb service on loopback: QIDO-RS for studies, two a page, and WADO-RS of a study, as multipart."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pydicom

PAGE = 2


def study_files(folder: Path) -> tuple[str, list[bytes]]:
    """StudyInstanceUID of the study in a folder, and its files."""
    files = [path.read_bytes() for path in sorted(folder.iterdir())]
    return str(pydicom.dcmread(io.BytesIO(files[0])).StudyInstanceUID), files


@contextmanager
def dicomweb_service(
    studies: Mapping[str, list[bytes]], asked: Callable[[str, int], None] = lambda uid, port: None
) -> Iterator[str]:
    """The address of a service of these studies, by their UIDs.

    asked: called before a study is sent, with its UID and the port of whoever asked for it.
    """

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            address = urlsplit(self.path)
            if address.path == "/web/studies":
                first = int(parse_qs(address.query).get("offset", ["0"])[0])
                page = sorted(studies)[first : first + PAGE]
                found = [{"0020000D": {"vr": "UI", "Value": [uid]}} for uid in page]
                self._answer(200 if found else 204, "application/dicom+json", json.dumps(found).encode())
                return
            uid = address.path.removeprefix("/web/studies/")
            if uid not in studies:
                self._answer(404, "text/plain", b"")
                return
            asked(uid, self.client_address[1])
            parts = b"".join(
                b"--X\r\nContent-Type: application/dicom\r\n\r\n" + each + b"\r\n" for each in studies[uid]
            )
            self._answer(200, 'multipart/related; type="application/dicom"; boundary=X', parts + b"--X--")

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            body = b"" if status == 204 else body
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"dicomweb+http://127.0.0.1:{server.server_port}/web"
    finally:
        server.shutdown()
        server.server_close()
