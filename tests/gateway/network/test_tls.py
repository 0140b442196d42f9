"""TLS and mutual TLS on every server and client, and certificates that cannot be used."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
from pathlib import Path

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from dicom_nodes import dcmtk
from gateway_intakes import KeepingIntake

from swinunet.foundation.errors import InputError
from swinunet.gateway.config.peers import DimsePeer, TlsFiles, WebConfig, WebPeer
from swinunet.gateway.network.exposure import exposure_warning
from swinunet.gateway.network.peers import Peers
from swinunet.gateway.network.tls import client_context, server_context
from swinunet.gateway.network.web.server import WebServer
from swinunet.gateway.network.web.stow import StowServer
from swinunet.samples.closed_network import LOOPBACK, free_port

from .conftest import StartListener


class Authority:
    """A certificate authority that signs for 127.0.0.1; its files lie in `folder`."""

    def __init__(self, folder: Path, name: str = "hospital") -> None:
        self._folder, self._name = folder, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.ca = folder / f"{name}_ca.pem"
        self.ca.write_bytes(self._signed(self._key, name, authority=True))

    def files(self, name: str) -> TlsFiles:
        """Certificate and key of a node, and this authority."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate, key_file = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        certificate.write_bytes(self._signed(key, name))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return TlsFiles(certificate, key_file, self.ca)

    def _signed(self, key: ec.EllipticCurvePrivateKey, name: str, authority: bool = False) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self._name)])
        built = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(LOOPBACK))]), False)
            .sign(self._key, hashes.SHA256())
        )
        return built.public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def no_secret(path: Path) -> str:
    raise AssertionError(f"{path} is no secret of this test")


def test_mutual_tls_by_dimse_lets_in_who_has_a_certificate(
    start_listener: StartListener, intake: KeepingIntake, instances: list[Path], authority: Authority, tmp_path: Path
) -> None:
    listener = start_listener(intake, tls=authority.files("gateway"))
    stranger = Authority(tmp_path, "elsewhere").files("stranger")
    peers = Peers("SENDER", no_secret)

    def outcome_with(tls: TlsFiles | None) -> tuple[bool, bool]:
        (outcome,) = peers.send(DimsePeer("us", "GATEWAY", LOOPBACK, listener.port, tls=tls), instances[:1])
        return outcome.accepted, outcome.retry

    assert outcome_with(authority.files("sender")) == (True, False)
    for refused in (
        None,
        TlsFiles(ca=authority.ca),
        stranger,
        TlsFiles(stranger.certificate, stranger.key, authority.ca),
    ):
        assert outcome_with(refused) == (False, True)
    assert len(intake.instances) == 1


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_the_listener_speaks_tls_1_2_and_1_3(
    start_listener: StartListener, intake: KeepingIntake, authority: Authority, version: str
) -> None:
    ours = authority.files("gateway")
    listener = start_listener(intake, tls=TlsFiles(ours.certificate, ours.key))
    context = client_context(TlsFiles(ca=authority.ca))
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    with _connected(context, listener.port) as connection:
        assert connection.version() == version.replace("_", ".")


def _connected(context: ssl.SSLContext, port: int) -> ssl.SSLSocket:
    return context.wrap_socket(socket.create_connection((LOOPBACK, port), timeout=60), server_hostname=LOOPBACK)


def test_older_tls_is_refused(start_listener: StartListener, intake: KeepingIntake, authority: Authority) -> None:
    listener = start_listener(intake, tls=authority.files("gateway"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, OSError)):
        _connected(context, listener.port)


def test_dcmtk_sends_over_mutual_tls(
    start_listener: StartListener, intake: KeepingIntake, instances: list[Path], authority: Authority
) -> None:
    listener, ours = start_listener(intake, tls=authority.files("gateway")), authority.files("sender")
    tls = ["+tls", ours.key, ours.certificate, "+cf", ours.ca]
    done = dcmtk("storescu", *tls, "-aec", "GATEWAY", LOOPBACK, listener.port, instances[0])
    if "not supported" in done.stderr or "unknown option" in done.stderr.lower():
        pytest.skip("this dcmtk was built without TLS")
    assert done.returncode == 0, done.stderr
    assert len(intake.instances) == 1


def test_stow_over_mutual_tls(
    intake: KeepingIntake, instances: list[Path], authority: Authority, tmp_path: Path
) -> None:
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    ours, theirs = authority.files("gateway"), authority.files("sender")
    config = WebConfig(LOOPBACK, free_port(), tls=TlsFiles(ours.certificate, ours.key))
    server = WebServer(config, StowServer(intake, incoming).routes())
    server.start()
    url = f"https://{LOOPBACK}:{server.port}/dicom-web"
    try:
        (outcome,) = Peers("US", no_secret).send(WebPeer("us", url, ca=authority.ca), instances[:1])
        assert outcome.accepted, outcome.words
        other = Authority(tmp_path, "elsewhere")
        (outcome,) = Peers("US", no_secret).send(WebPeer("us", url, ca=other.ca), instances[:1])
        assert (outcome.accepted, outcome.retry) == (False, True)
        assert "its certificate is not trusted" in outcome.words
    finally:
        server.stop()
    mutual = WebServer(WebConfig(LOOPBACK, free_port(), tls=ours), StowServer(intake, incoming).routes())
    mutual.start()
    try:
        url = f"https://{LOOPBACK}:{mutual.port}/dicom-web/studies"
        certificate = (str(theirs.certificate), str(theirs.key))
        assert requests.post(url, verify=str(ours.ca), cert=certificate, timeout=60).status_code == 415
        with pytest.raises(requests.exceptions.ConnectionError):
            requests.post(url, verify=str(ours.ca), timeout=60)
    finally:
        mutual.stop()


def test_a_certificate_that_does_not_fit_its_key_is_one_line(authority: Authority) -> None:
    one, another = authority.files("one"), authority.files("another")
    for context in (server_context, client_context):
        with pytest.raises(InputError, match=r"one\.pem: this certificate does not fit the key .*another\.key"):
            context(TlsFiles(one.certificate, another.key))


def test_files_that_are_no_certificates_are_one_line(authority: Authority, tmp_path: Path) -> None:
    ours = authority.files("ours")
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("no certificate")
    for files, words in (
        (TlsFiles(garbage, ours.key), "no certificate and unencrypted key in PEM form"),
        (TlsFiles(ours.certificate, tmp_path / "gone.key"), "gone.key: TLS certificate and key cannot be read"),
        (TlsFiles(ours.certificate, ours.key, garbage), "garbage.pem: no certificate in PEM form"),
        (TlsFiles(ours.certificate, ours.key, tmp_path / "gone.pem"), "gone.pem: TLS authority cannot be read"),
        (TlsFiles(), "TLS of a server needs certificate and key"),
    ):
        with pytest.raises(InputError, match=words):
            server_context(files)


def test_a_key_with_a_password_is_refused_and_no_password_is_asked_for(authority: Authority, tmp_path: Path) -> None:
    ours = authority.files("ours")
    key = ec.generate_private_key(ec.SECP256R1())
    encryption = serialization.BestAvailableEncryption(b"password")
    locked = tmp_path / "locked.key"
    locked.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))
    with pytest.raises(InputError, match="unencrypted key"):
        server_context(TlsFiles(ours.certificate, locked))


def test_one_loud_line_where_others_can_listen_in() -> None:
    said = exposure_warning("the DICOM listener", "0.0.0.0", 104, encrypted=False)
    assert said is not None
    assert "0.0.0.0:104 for other machines WITHOUT TLS" in said
    assert exposure_warning("x", "0.0.0.0", 104, encrypted=True) is None
    for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost"):
        assert exposure_warning("x", host, 104, encrypted=False) is None
