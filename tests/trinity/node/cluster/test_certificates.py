"""trinity/node/cluster/certificates.py"""

import datetime
import socket
import ssl
import threading
from pathlib import Path

import pytest

from trinity.node.cluster.certificates import AUTHORITY, CACHE, FRONT, make_certificates

NOW = datetime.datetime.now(datetime.UTC)
HOST = "127.0.0.1"
HOSTS = {CACHE: HOST, FRONT: "balancer"}


def _handshake(folder: Path, authority: Path, name: str) -> str | None:
    """A TLS handshake with a server that has the certificate, as somebody who believes `authority` and asks `name`."""
    of_server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    of_server.load_cert_chain(folder / f"{CACHE}.pem", folder / f"{CACHE}.key")
    of_client = ssl.create_default_context(cafile=str(authority))
    with socket.create_server((HOST, 0)) as listening:

        def serve() -> None:
            try:
                with of_server.wrap_socket(listening.accept()[0], server_side=True) as served:
                    served.recv(1)
            except OSError:
                pass

        serving = threading.Thread(target=serve)
        serving.start()
        try:
            with (
                socket.create_connection(listening.getsockname()) as plain,
                of_client.wrap_socket(plain, server_hostname=name) as secured,
            ):
                return secured.version()
        finally:
            serving.join(10)


def test_who_believes_the_authority_is_served_under_the_cache_s_address(tmp_path: Path) -> None:
    """The certificate names the address, and a handshake that checks both succeeds."""
    make_certificates(tmp_path, HOSTS, NOW)
    assert _handshake(tmp_path, tmp_path / AUTHORITY, HOST) == "TLSv1.3"


@pytest.mark.parametrize("name", ["127.0.0.2", "cache.example"])
def test_another_address_is_refused(tmp_path: Path, name: str) -> None:
    """Whoever took the cache's address has no certificate for it."""
    make_certificates(tmp_path, HOSTS, NOW)
    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(tmp_path, tmp_path / AUTHORITY, name)


def test_each_start_has_an_authority_of_its_own_and_keeps_its_key_from_everybody(tmp_path: Path) -> None:
    """What an earlier one signed is not believed; the keys on the disk are those of the served, their owner's alone."""
    earlier = tmp_path / "earlier"
    make_certificates(earlier, HOSTS, NOW)
    make_certificates(tmp_path / "now", HOSTS, NOW)
    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(earlier, tmp_path / "now" / AUTHORITY, HOST)
    private = sorted(path.name for path in earlier.iterdir() if "PRIVATE KEY" in path.read_text())
    assert private == ["cache.key", "front.key"]
    assert all((earlier / name).stat().st_mode & 0o077 == 0 for name in private)
