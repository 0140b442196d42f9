"""The configuration: the example runs, every wrong key is named in one line."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from swinunet.foundation.errors import InputError
from swinunet.gateway.config.example import EXAMPLE
from swinunet.gateway.config.peers import DimsePeer, FolderPeer
from swinunet.gateway.config.reading import parse_config, read_config
from swinunet.gateway.config.secrets import ledger_url, read_secret

LEAST: dict[str, Any] = {
    "spool": "spool",
    "peers": [{"name": "out", "kind": "folder", "folder": "out"}],
    "routes": [{"name": "all", "destinations": ["out"]}],
}


def refused(**changes: Any) -> str:
    with pytest.raises(InputError) as caught:
        parse_config(LEAST | changes, "gateway.toml")
    said = str(caught.value)
    assert "\n" not in said
    assert said.startswith("gateway.toml: ")
    return said.removeprefix("gateway.toml: ")


def test_the_example_is_read_and_stays_on_this_machine(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text(EXAMPLE)
    config = read_config(tmp_path / "gateway.toml")
    assert config.spool == tmp_path / "gateway_spool"
    assert config.listener
    assert config.web
    assert (config.listener.host, config.web.host) == ("127.0.0.1", "127.0.0.1")
    assert config.peers == (FolderPeer("results", tmp_path / "gateway_results"),)


def test_what_the_example_has_as_comments_is_valid_too() -> None:
    """Every commented line of TOML, taken in."""
    lines = []
    for line in EXAMPLE.splitlines():
        body = line.removeprefix("# ")
        is_key = body != line and (body.startswith("[") or " = " in body.partition("#")[0])
        lines.append(body if is_key else line)
    content = tomllib.loads("\n".join(lines))
    config = parse_config(content, "example")
    assert {peer.name: peer.kind for peer in config.peers} == {
        "results": "folder", "pacs": "dimse", "archive": "dicomweb",
    }  # fmt: skip
    assert isinstance(config.peer("pacs"), DimsePeer)
    assert config.webhook
    assert config.listener
    assert config.listener.tls


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"listener": {"ae_titel": "X"}}, "listener.ae_titel: there is no such key"),
        ({"listener": {"ae_title": "SEVENTEEN_LETTERS"}}, "an AE title has at most 16 characters"),
        ({"listener": {"port": 70000}}, "listener.port = '70000': input should be less than or equal to 65535"),
        ({"listener": {"port": "ten"}}, "listener.port = 'ten': input should be a valid integer"),
        ({"listener": {"tls": {"key": "k.pem"}}}, "listener.tls: certificate and key belong together"),
        ({"peers": [{"name": "a", "kind": "ftp"}]}, "'dimse', 'dicomweb', 'folder'"),
        ({"peers": [*LEAST["peers"], *LEAST["peers"]]}, "peers: two are called 'out'"),
        ({"routes": []}, "routes: none is given"),
        ({"routes": [{"name": "a", "destinations": ["pacs"]}]}, "there is no peer 'pacs'; the peers are: out"),
        ({"routes": [{"name": "a/b", "destinations": ["out"]}]}, "routes[0].name = 'a/b'"),
        ({"routes": [{"name": "a", "destinations": ["out"], "outputs": ["seg"]}]}, "outputs must hold json"),
        ({"routes": [{"name": "a", "destinations": ["out"], "outputs": ["sr", "json"]}]}, "add seg"),
        ({"routes": [{"name": "a", "destinations": ["out"], "rois": ["left=1"]}]}, "routes[0].rois[0]"),
        (
            {"routes": [{"name": "a", "destinations": ["out"], "complete": {"count_from": "out"}}]},
            "count_from 'out' is a folder; expected a PACS",
        ),
        (
            {"routes": [{"name": "a", "destinations": ["out"], "complete": {"longest_wait_s": 1}}]},
            "longest_wait_s (1) must not be less than study_silence_s (60)",
        ),
        ({"disk": {"most_used_percent": 101}}, "disk.most_used_percent = '101'"),
        ({"models": {"url": "a:1", "repository": "m"}}, "models: give url"),
        ({"spool": None}, "spool: "),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], said: str) -> None:
    assert said in refused(**changes)


def test_every_wrong_key_is_named_at_once() -> None:
    said = refused(listener={"port": 0, "nme": 1}, disk={"least": 3}, spol="x")
    for key in ("listener.port", "listener.nme", "disk.least", "spol"):
        assert f"{key}" in said
    assert said.count(";") == 3


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"spool = ", "no TOML"), (b"\xff\xfe", "not a TOML file"), (None, "cannot read the configuration")],
)
def test_a_file_that_is_no_configuration(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "gateway.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_config(path)


def test_secrets_are_for_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("word\n")
    path.chmod(0o644)
    with pytest.raises(InputError, match="others can read this secret"):
        read_secret(path)
    path.chmod(0o600)
    assert read_secret(path) == "word"
    path.write_text("\n")
    with pytest.raises(InputError, match="is empty"):
        read_secret(path)


def test_a_password_comes_from_its_file_and_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("s/e@cret")
    path.chmod(0o600)
    ledger = {"url": "postgresql://gateway@db.hospital/ledger", "password_file": str(path)}
    config = parse_config(LEAST | {"ledger": ledger}, "gateway.toml")
    assert ledger_url(config) == "postgresql://gateway:s%2Fe%40cret@db.hospital/ledger"
    assert "cret" not in repr(config)
