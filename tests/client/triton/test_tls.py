"""TLS, mutual TLS and headers against a real Triton, and what is said when they do not fit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from breakable_triton import small_study, unchecked
from certificates import Authority
from command_line import run_swinunet
from small_model import write_small_repository

from swinunet.client import ServerOptions, Timeouts, Tls, TritonModel, parse_headers, parse_timeouts, segment_volume
from swinunet.foundation.errors import InputError, ServerError
from swinunet.imaging import write_nifti

HASTY = Timeouts(connect=3, request=5, outage=1)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("strangers"))


def tls_server(authority: Authority, repository: Path, *options: str) -> Iterator[str]:
    pem = authority.issue("server")
    files = (f"--grpc-server-cert={pem.certificate}", f"--grpc-server-key={pem.key}")
    root = f"--grpc-root-cert={authority.certificate}"
    with unchecked(write_small_repository(repository), ("--grpc-use-ssl=true", *files, root, *options)) as server:
        yield server.url


@pytest.fixture(scope="module")
def tls_url(tritonserver: object, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from tls_server(authority, tmp_path_factory.mktemp("tls") / "repository")


@pytest.fixture(scope="module")
def mutual_url(tritonserver: object, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Mutual TLS, and a gateway's header on inference."""
    gate = "--grpc-restricted-protocol=inference:gate=open sesame"
    repository = tmp_path_factory.mktemp("mutual") / "repository"
    yield from tls_server(authority, repository, "--grpc-use-ssl-mutual=true", gate)


def test_tls(tls_url: str, authority: Authority) -> None:
    volume = small_study(8)
    with TritonModel(tls_url, options=ServerOptions(HASTY, Tls(authority.certificate))) as model:
        assert np.unique(segment_volume(volume, model).mask).tolist() == [0, 1, 2]


def test_without_tls_or_with_another_ca_nobody_answers(tls_url: str, authority: Authority, stranger: Authority) -> None:
    with pytest.raises(ServerError, match="do not trust each other's certificates; check --tls-ca"):
        TritonModel(tls_url, options=ServerOptions(HASTY, Tls(stranger.certificate)))
    with pytest.raises(ServerError, match="give --tls if, and only if, the server speaks TLS"):
        TritonModel(tls_url, options=ServerOptions(HASTY))


def test_mutual_tls_and_a_header(mutual_url: str, authority: Authority, stranger: Authority) -> None:
    ours, theirs = authority.issue("client"), stranger.issue("client")
    tls, volume = Tls(authority.certificate, ours.certificate, ours.key), small_study(8)
    header = parse_headers(["Triton-GRPC-Protocol-Gate=open sesame"])
    with TritonModel(mutual_url, options=ServerOptions(HASTY, tls, header)) as model:
        assert np.unique(segment_volume(volume, model).mask).tolist() == [0, 1, 2]
        assert "sesame" not in repr(model.options)
    with (
        TritonModel(mutual_url, options=ServerOptions(HASTY, tls)) as model,
        pytest.raises(ServerError, match="wants a header that was not given"),
    ):
        segment_volume(volume, model)
    for wrong in (Tls(authority.certificate), Tls(authority.certificate, theirs.certificate, theirs.key)):
        with pytest.raises(ServerError, match=r"no Triton answers|do not trust"):
            TritonModel(mutual_url, options=ServerOptions(HASTY, wrong))


def test_the_command_line_speaks_tls_and_prints_no_header(
    mutual_url: str,
    authority: Authority,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_nifti(small_study(8), tmp_path / "case.nii.gz")
    pem = authority.issue("client")
    secured = ("--tls-ca", authority.certificate, "--tls-cert", pem.certificate, "--tls-key", pem.key)
    command = ("segment", tmp_path / "case.nii.gz", "-o", tmp_path / "out", "--url", mutual_url, *secured)
    for header, expected in (("open sesame", 0), ("closed sesame", 1)):
        status, out, err = run_swinunet(
            capfd, monkeypatch, *command, "--header", f"triton-grpc-protocol-gate={header}", "--overwrite"
        )
        assert (status, "sesame" in out + err) == (expected, False), err
    assert "wants a header" in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"ca": "missing.pem"}, "missing.pem: cannot read"),
        ({"ca": "text.pem"}, "text.pem: no PEM file"),
        ({"certificate": "text.pem"}, "both the certificate"),
        ({"key": "text.pem"}, "both the certificate"),
    ],
)
def test_certificates_that_cannot_be_used(tmp_path: Path, files: dict[str, str], says: str) -> None:
    (tmp_path / "text.pem").write_text("hello")
    with pytest.raises(InputError, match=says):
        Tls(**{name: tmp_path / file for name, file in files.items()})


@pytest.mark.parametrize(
    "text", ["secret", "=secret", "a b=secret", "grpc-x=secret", "x-bin=secret", "x=secret\n", "x=secrét"]
)
def test_headers_that_cannot_travel_are_refused_without_their_value(text: str) -> None:
    with pytest.raises(InputError, match="--header") as caught:
        parse_headers([text])
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["5", "connect", "connect=", "connect=soon", "connect=0", "job=nan", "job=inf", "a=5"])
def test_timeouts_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match="expected NAME=SECONDS"):
        parse_timeouts([text])


def test_timeouts_and_headers_as_written() -> None:
    assert parse_timeouts(["connect=2", "job=0.5"]) == Timeouts(connect=2, job=0.5)
    assert parse_headers(["X-Key=a=b", "y="]) == {"x-key": "a=b", "y": ""}
