"""The server of `swinunet view`: it gives its results to who has the key, and nothing else to anybody."""

from __future__ import annotations

import http.client
import json
import re
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import pytest
from made_up_tree import write_tree

from swinunet.client.viewer.results_tree import results_below
from swinunet.client.viewer.reviews import REVIEW_NAME
from swinunet.client.viewer.server import ViewServer
from swinunet.foundation.errors import InputError, OutputError


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ViewServer]:
    """On three results, with a secret beside them."""
    root = write_tree(tmp_path / "results", outputs="json")
    (root / "secret.txt").write_text("secret")
    (root / "anna" / "note.txt").write_text("secret")
    with ViewServer(root, results_below(root)) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def ask(
    server: ViewServer, path: str, method: str = "GET", body: object = None, **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers of one request with the server's cookie, unless `Cookie` says otherwise."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=300)
    sent = {"Cookie": f"swinunet_view={server.key}", "Content-Type": "application/json"} | headers
    connection.request(method, path, None if body is None else json.dumps(body), sent)
    answer = connection.getresponse()
    return answer.status, answer.read(), dict(answer.getheaders())


def test_the_key_opens_and_becomes_a_cookie(server: ViewServer) -> None:
    status, _, headers = ask(server, f"/?key={server.key}", Cookie="")
    assert (status, headers["Location"]) == (303, "/")
    assert headers["Set-Cookie"] == f"swinunet_view={server.key}; HttpOnly; SameSite=Strict; Path=/"
    status, page, headers = ask(server, "/")
    assert status == 200
    assert headers["Cache-Control"] == "no-store"
    assert b"&lt;b&gt;bert" in page
    assert b"<b>bert" not in page.replace(b"\\u003cb>bert", b"")


@pytest.mark.parametrize(
    "headers", [{"Cookie": ""}, {"Cookie": "swinunet_view=guess"}, {"Host": "evil.example"}, {"Origin": "http://evil"}]
)
@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("GET", "/results/anna/report.json"), ("POST", "/review")])
def test_others_get_nothing(
    server: ViewServer, tmp_path: Path, headers: dict[str, str], method: str, path: str
) -> None:
    body = {"result": "anna", "decision": "accepted", "comment": ""} if method == "POST" else None
    status, said, _ = ask(server, path, method, body, **headers)
    assert status == 403
    assert b"anna" not in said
    assert not (tmp_path / "results" / REVIEW_NAME).exists()


@pytest.mark.parametrize(
    "path",
    [
        "/secret.txt", "/results/anna/note.txt", "/results/../secret.txt", "/results/%2e%2e/secret.txt",
        "/results/anna/..%2f..%2fsecret.txt", "/results/nobody/report.json", "/results/",
    ],
)  # fmt: skip
def test_only_outputs_of_its_results_are_served(server: ViewServer, path: str) -> None:
    status, said, _ = ask(server, path)
    assert status == 404
    assert b"secret" not in said


def test_a_report_is_served_by_its_name(server: ViewServer, tmp_path: Path) -> None:
    status, said, headers = ask(server, "/results/ward%203%2Fcarl/report.json")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert said == (tmp_path / "results" / "ward 3" / "carl" / "report.json").read_bytes()


@pytest.mark.parametrize(
    "body",
    [
        {"result": "nobody", "decision": "accepted", "comment": ""},
        {"result": "anna", "decision": "perhaps", "comment": ""},
        {"result": "anna", "decision": "accepted", "comment": "x" * 2001},
        {"result": "anna", "decision": "accepted"},
        ["anna"],
    ],
)
def test_what_is_no_mark_is_refused(server: ViewServer, tmp_path: Path, body: object) -> None:
    assert ask(server, "/review", "POST", body)[0] == 400
    assert not (tmp_path / "results" / REVIEW_NAME).exists()


def test_a_mark_must_be_json_and_short(server: ViewServer) -> None:
    mark = {"result": "anna", "decision": "accepted", "comment": ""}
    assert ask(server, "/review", "POST", mark, **{"Content-Type": "text/plain"})[0] == 404
    assert ask(server, "/review", "POST", "x" * 30_000)[0] == 413
    assert ask(server, "/review", "POST", mark)[0] == 200


def test_a_mark_of_an_earlier_result_is_not_shown(server: ViewServer, tmp_path: Path) -> None:
    ask(server, "/review", "POST", {"result": "anna", "decision": "accepted", "comment": "fine"})
    assert b'value="fine"' in ask(server, "/")[1]
    table = tmp_path / "results" / REVIEW_NAME
    table.write_text(re.sub(r"fine,20\d\d", "fine,2001", table.read_text()))
    assert b'value="fine"' not in ask(server, "/")[1]


def test_it_listens_on_loopback_only(server: ViewServer) -> None:
    assert server.socket.getsockname()[0] == "127.0.0.1"
    with pytest.raises(OutputError, match=f"--port {server.server_port}: cannot listen there"):
        ViewServer(server.reviews.path.parent, [], server.server_port)
    with socket.socket() as other:
        other.settimeout(300)
        assert other.connect_ex(("127.0.0.2", server.server_port)) != 0


def test_the_door_is_private_and_closes(server: ViewServer) -> None:
    with server.door() as address:
        file = Path(url2pathname(urlsplit(address).path))
        assert unquote(server.key) in file.read_text()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert not file.parent.exists()


def test_flags_come_first_and_a_broken_report_is_one(tmp_path: Path) -> None:
    root = write_tree(tmp_path, outputs="json")
    (root / "anna" / "report.json").write_text("{")
    (root / ".hidden").mkdir()
    (root / ".hidden" / "report.json").write_text("{")
    found = results_below(root)
    assert [each.name for each in found] == ["anna", "ward 3/carl", "<b>bert"]
    assert "not a report" in found[0].flags[0]
    assert any("cut" in flag for flag in found[1].flags)


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no results here"):
        results_below(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        results_below(tmp_path / "nowhere")
