"""Mail by SMTP, out of a thread of its own: a server that is slow, silent or away stops nobody but this thread.

    mailer.send(letters)     hands them over; only while it `is_idle`
    mailer.take()            what came of those that are done: the letter, and why it failed or None

Rules: each step of a conversation has MAIL_STEP_SECONDS; the thread dies with its process. STARTTLS and TLS check the
server's certificate, and a password goes through one of them or not at all. What fails is told by its kind and the
server's code: its words may hold addresses. Who calls keeps count of tries; a letter may arrive twice, when the node
dies between its sending and its being marked.
"""

import queue
import smtplib
import ssl
import threading
from collections.abc import Sequence
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Any, NamedTuple

from trinity.config import MailSection

# A slow server takes a few seconds to greet, when it looks names up first.
MAIL_STEP_SECONDS = 10.0


class Letter(NamedTuple):
    """One mail; `reference` is the caller's."""

    reference: tuple[Any, ...]
    recipients: tuple[str, ...]
    subject: str
    text: str


class Mailer:
    """Sends letters of one configuration; without a server there is nobody to send."""

    def __init__(self, section: MailSection, password: str | None) -> None:
        self._section = section
        self._password = password
        self._waiting: queue.SimpleQueue[Letter] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[tuple[Letter, str | None]] = queue.SimpleQueue()
        self._under_way = 0
        self._thread: threading.Thread | None = None

    @property
    def is_configured(self) -> bool:
        return bool(self._section.smtp_host)

    @property
    def operator(self) -> str:
        """Who gets a copy; empty for nobody."""
        return self._section.operator_email

    @property
    def is_idle(self) -> bool:
        return self._under_way == 0

    def another(self) -> "Mailer":
        """One of the same configuration, with letters and a thread of its own."""
        return Mailer(self._section, self._password)

    def send(self, letters: Sequence[Letter]) -> None:
        """Hand letters over to the thread."""
        if self._thread is None:  # not before the fork
            self._thread = threading.Thread(target=self._run, name="mail", daemon=True)
            self._thread.start()
        self._under_way += len(letters)
        for letter in letters:
            self._waiting.put(letter)

    def take(self) -> list[tuple[Letter, str | None]]:
        """Letters that are done since the last call, each with its failure."""
        found = []
        while not self._done.empty():
            found.append(self._done.get())
        self._under_way -= len(found)
        return found

    def _run(self) -> None:
        while True:
            letter = self._waiting.get()
            failure: str | None = "died"
            try:
                failure = self._try(letter)
            finally:
                self._done.put((letter, failure))

    def _try(self, letter: Letter) -> str | None:
        try:
            deliver(self._section, self._password, letter)
        except smtplib.SMTPResponseException as error:
            return f"{type(error).__name__} {error.smtp_code}"
        except smtplib.SMTPRecipientsRefused as error:
            return f"SMTPRecipientsRefused {sorted(code for code, _ in error.recipients.values())}"
        except (OSError, ValueError) as error:  # smtplib's others are OSErrors; a wrong address is a ValueError
            return type(error).__name__
        return None


def deliver(section: MailSection, password: str | None, letter: Letter) -> None:
    """One conversation; raises OSError, smtplib.SMTPException or ValueError."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = section.smtp_from, ", ".join(letter.recipients), letter.subject
    message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain=section.smtp_from.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no machine answers it
    message.set_content(letter.text)
    host, port = section.smtp_host, section.smtp_port
    context = ssl.create_default_context(cafile=section.smtp_ca_file or None)
    if section.smtp_security == "tls":
        server: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=MAIL_STEP_SECONDS, context=context)
    else:
        server = smtplib.SMTP(host, port, timeout=MAIL_STEP_SECONDS)
    with server:
        if section.smtp_security == "starttls":
            server.starttls(context=context)
        if section.smtp_user:
            server.login(section.smtp_user, password or "")
        server.send_message(message)
