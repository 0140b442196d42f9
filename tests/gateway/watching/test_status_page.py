"""The status page through the gateway's own web server: who is let in, what is shown, and what a form may do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from PIL import Image
from sqlalchemy import insert, select

from swinunet.gateway.config.peers import WebConfig
from swinunet.gateway.ledger.audit import record
from swinunet.gateway.ledger.clock import Clock
from swinunet.gateway.ledger.database import Ledger
from swinunet.gateway.ledger.schema import deliveries, jobs, results
from swinunet.gateway.names import shown_uid
from swinunet.gateway.network.web.server import WebServer
from swinunet.gateway.watching.sessions import Sessions
from swinunet.gateway.watching.watch import metrics_route, open_routes, status_routes
from swinunet.serving.ports import choose_port

TOKEN, STUDY = "correct horse battery staple", "1.2.826.0.1.3680043.8.498.77"
FAILED, RUNNING = 1, 2


def fill(ledger: Ledger, spool: Path) -> None:
    job = {
        "study_uid": STUDY, "revision": 1, "route": "heads", "model": "small", "images": 6, "attempts": 1,
        "set_at": 0.0, "due": 0.0, "fence": 1, "created": 1_764_000_000.0,
    }  # fmt: skip
    folder = spool / "results" / "1-1"
    folder.mkdir(parents=True)
    Image.new("RGB", (8, 8), (10, 200, 30)).save(folder / "overlay.png")
    with ledger.write() as connection:
        connection.execute(insert(jobs).values(job | {
            "state": "failed", "reason": "PACS refuses <script>alert(1)</script>", "folder": "results/1-1",
        }))  # fmt: skip
        connection.execute(insert(jobs).values(job | {"state": "running", "reason": ""}))
        connection.execute(
            insert(results).values(job_id=FAILED, kind="seg", position=0, file="x", twin=False, sop_instance_uid="1.2")
        )
        connection.execute(insert(deliveries).values(
            job_id=FAILED, result_id=1, destination="PACS", position=0, state="failed", attempts=3, set_at=0.0, due=0.0,
            fence=1, reason="0xA700",
        ))  # fmt: skip
        record(connection, 1_764_000_001.0, "instances_received", True, study=STUDY, instances=6, sender="MODALITY")
        record(connection, 1_764_000_009.0, "job_ended", False, study=STUDY, job=RUNNING, state="running", reason="")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    made = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    fill(made, tmp_path)
    return made


@pytest.fixture
def address(ledger: Ledger, tmp_path: Path) -> Iterator[str]:
    yield from served(ledger, tmp_path, TOKEN)


def served(ledger: Ledger, spool: Path, token: str | None) -> Iterator[str]:
    config = WebConfig(port=choose_port("HTTP", None))
    routes = [
        *status_routes(ledger, spool, token, secure=False),
        *open_routes({"ledger": lambda: None, "models": lambda: "no canary was answered"}),
        metrics_route(ledger, spool, Clock(), lambda: 0),
    ]
    server = WebServer(config, routes)
    server.start()
    try:
        yield f"http://127.0.0.1:{config.port}"
    finally:
        server.stop()


def log_in(address: str) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    answer = session.post(f"{address}/status/login", data={"token": TOKEN})
    assert (answer.status_code, answer.url) == (200, f"{address}/status")
    return session


def form_token(page: str) -> str:
    return page.partition('name="form_token" value="')[2].partition('"')[0]


@pytest.mark.parametrize("path", ["/status", "/status/jobs/1", "/status/jobs/1/overlay.png"])
def test_nothing_is_shown_to_who_has_not_logged_in(address: str, path: str) -> None:
    for cookies in ({}, {"swinunet_session": "99999999999.0000"}, {"swinunet_session": "nonsense"}):
        answer = requests.get(address + path, cookies=cookies, allow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/status/login")
        assert shown_uid(STUDY) not in answer.text


def test_a_wrong_token_is_told_so(address: str) -> None:
    answer = requests.post(f"{address}/status/login", data={"token": "wrong"})
    assert answer.status_code == 401
    assert "This is not the token" in answer.text
    assert "set-cookie" not in answer.headers


def test_the_cookie_is_not_for_scripts_nor_for_other_sites(address: str) -> None:
    answer = requests.post(f"{address}/status/login", data={"token": TOKEN}, allow_redirects=False)
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert TOKEN not in cookie


def test_the_queue_shows_states_and_escapes_what_peers_said(address: str) -> None:
    page = log_in(address).get(f"{address}/status").text
    assert shown_uid(STUDY) in page
    assert STUDY not in page
    assert "PACS refuses &lt;script&gt;" in page
    assert "<script" not in page
    failed = log_in(address).get(f"{address}/status?state=failed").text
    assert "/status/jobs/1" in failed
    assert "/status/jobs/2" not in failed


def test_a_job_has_its_history_its_deliveries_and_its_picture(address: str) -> None:
    session = log_in(address)
    page = session.get(f"{address}/status/jobs/{FAILED}").text
    assert "sender MODALITY, instances 6" in page
    assert "0xA700" in page
    assert "job ended" not in page  # that is of the other job
    picture = session.get(f"{address}/status/jobs/{FAILED}/overlay.png")
    assert picture.headers["content-type"] == "image/png"
    assert session.get(f"{address}/status/jobs/{RUNNING}/overlay.png").status_code == 404
    assert session.get(f"{address}/status/jobs/77").status_code == 404


def test_a_job_is_tried_again_by_a_form_of_the_page_alone(address: str, ledger: Ledger) -> None:
    session = log_in(address)
    retry = f"{address}/status/jobs/{FAILED}/retry"
    token = form_token(session.get(f"{address}/status/jobs/{FAILED}").text)
    assert session.post(retry).status_code == 403
    assert session.post(retry, data={"form_token": "0" * 64}).status_code == 403
    answer = session.post(retry, data={"form_token": token}, headers={"Origin": "http://elsewhere.example"})
    assert answer.status_code == 403
    assert session.get(retry).status_code == 405
    with ledger.read() as connection:
        assert connection.scalar(select(jobs.c.state).where(jobs.c.id == FAILED)) == "failed"
    assert session.post(retry, data={"form_token": token}).status_code == 200
    with ledger.read() as connection:
        assert connection.scalar(select(jobs.c.state).where(jobs.c.id == FAILED)) == "delivering"
    assert "only what failed" in session.post(retry, data={"form_token": token}).text


def test_pages_forbid_everything_that_they_do_not_use(address: str) -> None:
    headers = log_in(address).get(f"{address}/status").headers
    assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'self'; img-src 'self'")
    assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")


def test_without_a_token_everyone_is_let_in(ledger: Ledger, tmp_path: Path) -> None:
    for address in served(ledger, tmp_path, None):
        page = requests.get(f"{address}/status").text
        assert shown_uid(STUDY) in page
        retried = requests.post(f"{address}/status/jobs/{FAILED}/retry", data={"form_token": form_token(page)})
        assert retried.status_code == 403  # the queue has no form here; the job's page has
        token = form_token(requests.get(f"{address}/status/jobs/{FAILED}").text)
        assert requests.post(f"{address}/status/jobs/{FAILED}/retry", data={"form_token": token}).status_code == 200


def test_a_session_runs_out_and_dies_with_its_process() -> None:
    now = [1000.0]
    sessions = Sessions(TOKEN, lambda: now[0])
    cookie = sessions.new_cookie()
    assert sessions.is_cookie(cookie)
    assert not Sessions(TOKEN, lambda: now[0]).is_cookie(cookie)
    now[0] += 13 * 3600
    assert not sessions.is_cookie(cookie)
    assert not sessions.is_cookie(None)


def test_health_says_what_is_wrong(address: str) -> None:
    assert requests.get(f"{address}/healthz").text == "ok\n"
    ready = requests.get(f"{address}/readyz")
    assert ready.status_code == 503
    assert ready.json() == {"ready": False, "checks": {"ledger": "ok", "models": "no canary was answered"}}
    assert "swinunet_gateway_jobs" in requests.get(f"{address}/metrics").text
