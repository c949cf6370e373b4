"""A key and a certificate of its own for the demo's receiver, made anew at each start: for this machine, for a month.

Rules: `cryptography` is imported here alone, for the demo alone (the extra `demo`); without it MissingExtraError. The
key never leaves the folder, which its user alone may read.
"""

import datetime
import ipaddress
from pathlib import Path
from typing import Any

from trinity.errors import MissingExtraError
from trinity.files import Durability, write_whole

CERTIFICATE, KEY, AUTHORITIES = "certificate.pem", "key.pem", "authorities.pem"
_LIFETIME = datetime.timedelta(days=30)
# A machine whose clock is behind by an hour still takes it.
_BEHIND = datetime.timedelta(hours=1)
_ADDRESSES = ("127.0.0.1", "::1")


def make_certificate(folder: Path, now: datetime.datetime, others: Path | None = None) -> Path:
    """Write both into `folder`; a file of whom to trust: the certificate itself, and the authorities in `others`."""
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError:
        raise MissingExtraError("cryptography", "demo") from None
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "the demo's receiver")])
    addresses = [x509.IPAddress(ipaddress.ip_address(address)) for address in _ADDRESSES]
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BEHIND)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost"), *addresses]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage_of(x509), critical=True)
        .add_extension(own, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_whole(folder / KEY, [secret], Durability.RENAMED)
    text = certificate.public_bytes(serialization.Encoding.PEM)
    write_whole(folder / CERTIFICATE, [text], Durability.RENAMED)
    trusted = [text, others.read_bytes()] if others is not None else [text]
    write_whole(folder / AUTHORITIES, trusted, Durability.RENAMED)
    return folder / AUTHORITIES


def _usage_of(x509: Any) -> Any:
    """It serves, and vouches for itself: Python from 3.13 on looks."""
    names = "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign"
    unused = dict.fromkeys((*names, "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(digital_signature=True, key_cert_sign=True, **unused)
