"""An authority of its own for a cluster on this machine, and what it signs for Valkey and nginx, made at each start.

Rules: `cryptography` is imported here for `make cluster` alone (the extra `demo`); without it MissingExtraError. The
authority's key is forgotten as soon as it has signed: nobody can make another certificate that these nodes believe.
"""

import datetime
import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trinity.errors import MissingExtraError
from trinity.files import Durability, write_whole

AUTHORITY = "authority.pem"
# Who has a certificate: <name>.pem and <name>.key.
CACHE, FRONT = "cache", "front"
LIFETIME = datetime.timedelta(days=30)
# A machine whose clock is behind by an hour still takes it.
_BEHIND = datetime.timedelta(hours=1)


def make_certificates(
    folder: Path, hosts: Mapping[str, str], now: datetime.datetime, lifetime: datetime.timedelta = LIFETIME
) -> None:
    """Write the authority's certificate, and of each name a certificate for its host and the key."""
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError:
        raise MissingExtraError("cryptography", "demo") from None
    of_authority = ec.generate_private_key(ec.SECP256R1())
    authority = _named(x509, "the authority of a Trinity cluster")

    def signed(name: Any, key: Any, *extensions: tuple[Any, bool]) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(authority)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BEHIND)
            .not_valid_after(now + lifetime)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(of_authority.public_key()), critical=False
            )
        )
        for extension, is_critical in extensions:
            builder = builder.add_extension(extension, critical=is_critical)
        text: bytes = builder.sign(of_authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        return text

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    is_authority = (x509.BasicConstraints(ca=True, path_length=0), True), (_usage(x509, signs=True), True)
    write_whole(folder / AUTHORITY, [signed(authority, of_authority, *is_authority)], Durability.RENAMED)
    for name, host in hosts.items():
        key = ec.generate_private_key(ec.SECP256R1())
        text = signed(
            _named(x509, f"the {name} of a Trinity cluster"),
            key,
            (x509.SubjectAlternativeName([x509.DNSName("localhost"), _alternative(x509, host)]), False),
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (_usage(x509, signs=False), True),
        )
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_whole(folder / f"{name}.pem", [text], Durability.RENAMED)
        write_whole(folder / f"{name}.key", [secret], Durability.RENAMED)


def _alternative(x509: Any, host: str) -> Any:
    """The host as a certificate names it: an address, or a name."""
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _named(x509: Any, name: str) -> Any:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def _usage(x509: Any, *, signs: bool) -> Any:
    """Python from 3.13 on looks at it."""
    names = "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign"
    unused = dict.fromkeys((*names, "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(digital_signature=True, key_cert_sign=signs, **unused)
