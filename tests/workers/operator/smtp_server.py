"""A real SMTP server for tests: aiosmtpd with a port and a certificate of its own, which keeps what it gets."""

import contextlib
import socket
import ssl
import subprocess
from collections.abc import Iterator
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword

from trinity.config import MailSection

HOST = "localhost"
USER, PASSWORD = "node", "a-password-of-its-own"


class Received(NamedTuple):
    """One letter as the server got it."""

    recipients: list[str]
    message: EmailMessage
    is_encrypted: bool


class Server:
    """What was received; `answer` is what a letter is answered with."""

    def __init__(self, section: MailSection) -> None:
        self.section = section
        self.received: list[Received] = []
        self.answer = "250 taken"

    async def handle_DATA(self, _server: Any, session: Any, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        if self.answer.startswith("250"):
            message = BytesParser(policy=default).parsebytes(envelope.original_content or b"")
            assert isinstance(message, EmailMessage)
            self.received.append(
                Received(
                    list(envelope.rcpt_tos), message, session.ssl is not None or self.section.smtp_security == "tls"
                )
            )
        return self.answer


def certificate_of(folder: Path) -> Path:
    """A file with a key and its own certificate for localhost."""
    path = folder / "server.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}"]
    subprocess.run([*command, "-keyout", path, "-out", f"{path}.crt"], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


@contextlib.contextmanager
def smtp_server(folder: Path, security: str = "none", port: int = 0) -> Iterator[Server]:
    """A server that wants a password over STARTTLS; the section is what a node needs for it."""
    with socket.socket() as free:
        free.bind((HOST, port))
        port = int(free.getsockname()[1])
    settings: dict[str, Any] = {}
    section = MailSection(smtp_host=HOST, smtp_port=port, smtp_security="none", smtp_from="node@example.com")
    if security != "none":
        certificate = certificate_of(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        if security == "tls":
            settings = {"ssl_context": context}
        else:
            settings = {"tls_context": context, "require_starttls": True}
            settings |= {"authenticator": _check, "auth_required": True}
        user = USER if security == "starttls" else ""
        section = msgspec.structs.replace(
            section, smtp_security=security, smtp_ca_file=f"{certificate}.crt", smtp_user=user
        )
    server = Server(section)
    controller = Controller(server, hostname=HOST, port=port, **settings)
    controller.start()
    try:
        yield server
    finally:
        controller.stop()


def _check(_server: Any, _session: Any, _envelope: Any, _mechanism: str, found: Any) -> AuthResult:
    return AuthResult(success=found == LoginPassword(USER.encode(), PASSWORD.encode()), handled=False)
