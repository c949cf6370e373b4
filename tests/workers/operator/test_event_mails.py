"""workers/operator/event_mails.py: who is told of what has ended, once; on a real PostgreSQL and SMTP server."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.workers.operator.smtp_server import Server, smtp_server
from trinity.config import MailSection
from trinity.limits import COUNTER_WORDS
from trinity.memory.control import ProcessBlock
from trinity.observe.metrics import OPERATOR
from trinity.push import events
from trinity.store.connect import AnyConnection, connect
from workers.operator.event_mails import EventMails
from workers.operator.mail import Mailer

LOG = logging.getLogger("tests.event_mails")
TOLD = {
    "subscription": 7,
    "target": "https://shop.example/prices",
    "reason": "it answered 410 Gone",
    "error": "status 410",
}


@pytest.fixture
def connection(database_url: str) -> Iterator[AnyConnection]:
    """Account 1 has an address, account 2 none."""
    with connect(database_url, "tests", autocommit=True) as opened:
        opened.execute("INSERT INTO accounts (name, email) VALUES ('acme', 'shop@example.com'), ('none', NULL)")
        yield opened


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with smtp_server(tmp_path) as started:
        yield started


class Node:
    """One node's mails."""

    def __init__(self, section: MailSection) -> None:
        self.block = ProcessBlock(np.zeros(8 + COUNTER_WORDS, dtype=np.uint64))
        self.mailer = Mailer(section, None)
        self.mails = EventMails(self.mailer, self.block, LOG)

    def counted(self, result: str) -> int:
        return self.block.read_counter(OPERATOR.index("operator_mails_total", result))

    def mail_until(self, connection: AnyConnection, done: Callable[[], object]) -> None:
        deadline = time.monotonic() + 30
        while not done():
            assert time.monotonic() < deadline
            self.mails.send(connection)
            threading.Event().wait(0.01)


def test_owner_and_operator_get_one_mail_with_the_reason(connection: AnyConnection, server: Server) -> None:
    """Where it went, why it ended, and how it is resumed; a second node that looks sends no other."""
    section = msgspec.structs.replace(server.section, operator_email="operator@example.com")
    first, second = Node(section), Node(section)
    events.emit(connection, 1, "subscription.disabled", TOLD)
    events.emit(connection, 1, "subscription.failing", TOLD)
    first.mails.send(connection)
    second.mails.send(connection)
    assert second.mailer.is_idle
    first.mail_until(connection, lambda: first.counted("sent"))
    (received,) = server.received
    assert received.recipients == ["shop@example.com", "operator@example.com"]
    assert received.message["Subject"] == "Subscription 7 was disabled: it answered 410 Gone"
    text = received.message.get_content()
    for words in ("Account:   acme", "https://shop.example/prices", "status 410", "`trinity push resume 7`"):
        assert words in text
    second.mails.send(connection)
    assert second.mailer.is_idle


def test_an_endpoint_that_ended_is_told_by_mail_for_its_events_cannot_tell_it(
    connection: AnyConnection, server: Server
) -> None:
    """Out of band."""
    node = Node(server.section)
    events.emit(
        connection, 1, "endpoint.disabled", {"endpoint": 3, "url": "https://x/", "reason": "gone", "error": None}
    )
    node.mail_until(connection, lambda: server.received)
    assert server.received[0].message["Subject"] == "Endpoint 3 was disabled: gone"


def test_a_mail_that_was_not_taken_is_tried_again_and_later_each_time(
    connection: AnyConnection, server: Server
) -> None:
    """It waits in the database, whoever is the active node by then."""
    node = Node(server.section)
    events.emit(connection, 1, "subscription.disabled", TOLD)
    server.answer = "451 not now"
    node.mail_until(connection, lambda: node.counted("failed") == 1)
    row = connection.execute("SELECT tries, try_at > now() FROM push_event_mails WHERE mailed_at IS NULL").fetchone()
    assert row == (1, True)
    node.mails.send(connection)
    assert node.mailer.is_idle, "it is not due"
    server.answer = "250 taken"
    later = Node(server.section)
    connection.execute("UPDATE push_event_mails SET try_at = now()")
    later.mail_until(connection, lambda: later.counted("sent") == 1)
    assert len(server.received) == 1


def test_who_has_no_address_is_not_waited_for(connection: AnyConnection, server: Server) -> None:
    """The feed tells it."""
    node = Node(server.section)
    events.emit(connection, 2, "subscription.disabled", TOLD)
    node.mails.send(connection)
    assert node.mailer.is_idle
    assert connection.execute("SELECT mailed_at IS NOT NULL FROM push_event_mails").fetchone() == (True,)


def test_every_mailed_event_has_its_words(connection: AnyConnection, server: Server) -> None:
    """No type that is mailed lacks a letter, and none shows a field that is not there."""
    node = Node(server.section)
    mailed = [kind.name for kind in events.EVENT_TYPES if kind.is_mailed]
    for name in mailed:
        events.emit(connection, 1, name, {"subscription": 1, "endpoint": 1, "url": "u", "reason": "r"})
    node.mail_until(connection, lambda: len(server.received) == len(mailed))
    assert not any("None" in received.message.get_content() for received in server.received)
