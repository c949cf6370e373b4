"""workers/operator/mail.py, against a real SMTP server."""

import socket
import threading
import time
from pathlib import Path

import msgspec
import pytest

from tests.workers.operator.smtp_server import PASSWORD, smtp_server
from trinity.config import MailSection
from workers.operator import mail
from workers.operator.mail import Letter, Mailer

LETTER = Letter(("it",), ("shop@example.com", "operator@example.com"), "80 % is used: Ärzte & Co", "Guten Tag\n")


def outcome_of(mailer: Mailer, letter: Letter = LETTER) -> str | None:
    """Send one; why it failed."""
    assert mailer.is_idle
    mailer.send([letter])
    deadline = time.monotonic() + 30
    while not (done := mailer.take()):
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
    assert [letter for letter, _ in done] == [letter]
    assert mailer.is_idle
    return done[0][1]


@pytest.mark.parametrize("security", ["starttls", "tls", "none"])
def test_a_letter_arrives_as_it_was_written(tmp_path: Path, security: str) -> None:
    """Over STARTTLS with a password, over TLS and without; machines are told not to answer it."""
    with smtp_server(tmp_path, security) as server:
        assert outcome_of(Mailer(server.section, PASSWORD)) is None
    (received,) = server.received
    assert received.recipients == list(LETTER.recipients)
    assert received.is_encrypted == (security != "none")
    assert received.message["From"] == "node@example.com"
    assert received.message["Subject"] == LETTER.subject
    assert received.message["Auto-Submitted"] == "auto-generated"
    assert received.message["Message-ID"].endswith("@example.com>")
    assert received.message.get_content().splitlines() == LETTER.text.splitlines()


def test_what_a_server_refuses_is_told_by_kind_and_code_and_without_its_words(tmp_path: Path) -> None:
    """A wrong password, a letter that it does not take, a certificate that nobody vouches for."""
    with smtp_server(tmp_path, "starttls") as server:
        assert outcome_of(Mailer(server.section, "wrong")) == "SMTPAuthenticationError 535"
        stranger = msgspec.structs.replace(server.section, smtp_ca_file="")
        assert outcome_of(Mailer(stranger, PASSWORD)) == "SSLCertVerificationError"
        mailer = Mailer(server.section, PASSWORD)
        server.answer = "451 come back later, shop@example.com"
        assert outcome_of(mailer) == "SMTPDataError 451"
        server.answer = "250 taken"
        assert outcome_of(mailer) is None


def test_a_password_does_not_go_to_a_server_without_encryption(tmp_path: Path) -> None:
    """Who says STARTTLS gets it or nothing."""
    with smtp_server(tmp_path) as server:
        section = msgspec.structs.replace(server.section, smtp_security="starttls", smtp_user="node")
        assert outcome_of(Mailer(section, PASSWORD)) == "SMTPNotSupportedError"
    assert server.received == []


def test_a_server_that_is_away_or_says_nothing_fails_within_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller never waits for it."""
    monkeypatch.setattr(mail, "MAIL_STEP_SECONDS", 0.3)
    with socket.create_server(("localhost", 0)) as silent:
        port = silent.getsockname()[1]
        section = MailSection(smtp_host="localhost", smtp_port=port, smtp_security="none", smtp_from="node@example.com")
        mailer = Mailer(section, None)
        began = time.monotonic()
        mailer.send([LETTER])
        assert not mailer.is_idle
        while not (done := mailer.take()):
            assert time.monotonic() - began < 60
            threading.Event().wait(0.01)
        assert done[0][1] == "SMTPServerDisconnected"
    assert outcome_of(mailer) == "ConnectionRefusedError"


def test_a_letter_that_cannot_be_written_fails_alone(tmp_path: Path) -> None:
    """A line break in an address is none of SMTP's commands."""
    with smtp_server(tmp_path) as server:
        mailer = Mailer(server.section, None)
        broken = LETTER._replace(recipients=("shop@example.com\r\nBcc: all@example.com",))
        assert outcome_of(mailer, broken) == "ValueError"
        assert outcome_of(mailer) is None
    assert [received.recipients for received in server.received] == [list(LETTER.recipients)]


def test_without_a_host_there_is_no_mail() -> None:
    """The default."""
    assert not Mailer(MailSection(), None).is_configured
