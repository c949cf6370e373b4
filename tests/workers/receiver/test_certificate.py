"""workers/receiver/certificate.py: a certificate that clients verify, of this machine alone."""

import datetime
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from trinity.errors import MissingExtraError
from workers.receiver.certificate import AUTHORITIES, CERTIFICATE, KEY, make_certificate

NOW = datetime.datetime.now(datetime.UTC)


def test_openssl_verifies_it_for_this_machine_s_addresses(tmp_path: Path) -> None:
    """And for no other; strictly, as Python does from 3.13 on."""
    authorities = make_certificate(tmp_path / "receiver", NOW)
    verify = ["openssl", "verify", "-x509_strict", "-CAfile", str(authorities)]
    certificate = str(tmp_path / "receiver" / CERTIFICATE)
    for name in (["-verify_ip", "127.0.0.1"], ["-verify_ip", "::1"], ["-verify_hostname", "localhost"]):
        subprocess.run([*verify, *name, certificate], check=True, capture_output=True)
    assert subprocess.run([*verify, "-verify_ip", "192.0.2.1", certificate], capture_output=True).returncode != 0


def test_the_key_fits_and_is_its_owner_s_alone(tmp_path: Path) -> None:
    """A server starts with the two."""
    make_certificate(tmp_path, NOW)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tmp_path / CERTIFICATE, tmp_path / KEY)
    assert (tmp_path / KEY).stat().st_mode & 0o077 == 0


def test_another_authority_stays_trusted_beside_it(tmp_path: Path) -> None:
    """That of the operator's setting."""
    other = make_certificate(tmp_path / "other", NOW)
    both = make_certificate(tmp_path / "own", NOW, other)
    assert both.name == AUTHORITIES
    trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusted.load_verify_locations(both)
    assert len(trusted.get_ca_certs()) == 2


def test_without_the_library_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A demo then goes on without the receiver."""
    for name in [name for name in sys.modules if name.startswith("cryptography")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(MissingExtraError, match="demo"):
        make_certificate(tmp_path, NOW)
