"""workers/operator/quotas.py: who is warned, once, and how the mails get out; on a real PostgreSQL and SMTP server."""

import datetime
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psycopg
import pytest

from tests.workers.operator.smtp_server import Server, smtp_server
from trinity.config import MailSection
from trinity.limits import COUNTER_WORDS
from trinity.memory.control import ProcessBlock
from trinity.memory.limit_table import LimitTable, take_lookups
from trinity.observe.metrics import OPERATOR
from trinity.push.events import read_feed
from trinity.store.connect import AnyConnection, connect
from workers.operator.mail import Mailer
from workers.operator.quotas import QuotaWarnings

LOG = logging.getLogger("tests.quotas")
NOW = datetime.datetime(2026, 3, 15, 12, tzinfo=datetime.UTC)
MONTH = 2026 * 12 + 2
QUOTA = 100


@pytest.fixture
def connection(database_url: str) -> Iterator[AnyConnection]:
    """Key 1 of `acme`, who has an address, key 2 of `none`, who has none; key 3 has no quota, key 4 is suspended."""
    with connect(database_url, "tests", autocommit=True) as opened:
        opened.execute("INSERT INTO accounts (name, email) VALUES ('acme', 'shop@example.com'), ('none', NULL)")
        insert = (
            "INSERT INTO api_keys (account_id, plan_id, digest, prefix, name, monthly_quota, state)"
            " SELECT %s, id, sha256(%s), %s, %s, %s, %s FROM plans WHERE name = 'unlimited'"
        )
        for number, account, name, quota, state in (
            (1, 1, "web shop", QUOTA, "active"),
            (2, 2, "", QUOTA, "active"),
            (3, 1, "", 0, "active"),
            (4, 1, "", QUOTA, "suspended"),
        ):
            opened.execute(insert, [account, b"%d" % number, f"trk_{number}", name, quota, state])
        yield opened


class Node:
    """One node's warnings, with limits of its own."""

    def __init__(self, section: MailSection) -> None:
        self.limits = LimitTable.private(9)
        self.block = ProcessBlock(np.zeros(8 + COUNTER_WORDS, dtype=np.uint64))
        self.mailer = Mailer(section, None)
        self.warnings = QuotaWarnings(self.limits, self.mailer, self.block, LOG)

    def use(self, key_id: int, lookups: int, month: int = MONTH) -> None:
        assert take_lookups(self.limits.words, key_id, month, 10**9, lookups) >= 0

    def counted(self, name: str, label: str) -> int:
        return self.block.read_counter(OPERATOR.index(name, label))

    def mail_until(self, connection: AnyConnection, done: Callable[[], object]) -> None:
        deadline = time.monotonic() + 30
        while not done():
            assert time.monotonic() < deadline
            self.warnings.send_mails(connection)
            threading.Event().wait(0.01)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with smtp_server(tmp_path) as started:
        yield started


def claimed(connection: AnyConnection) -> list[Any]:
    query = "SELECT key_id, month::text, percent, used, mailed_at IS NULL FROM quota_warnings ORDER BY 2, 1, 3"
    return connection.execute(query).fetchall()


def events(caplog: pytest.LogCaptureFixture) -> list[tuple[int, int]]:
    found = [record.fields for record in caplog.records if record.message == "quota warning"]  # type: ignore[attr-defined]
    return [(fields["key"], fields["percent"]) for fields in found]


def test_each_threshold_is_told_once_a_key_and_month_in_the_whole_cluster(
    connection: AnyConnection, caplog: pytest.LogCaptureFixture
) -> None:
    """Whichever node counted it, however often it looks; the next month begins anew."""
    first, second = Node(MailSection()), Node(MailSection())
    for node in (first, second):
        for key_id in (1, 3, 4):
            node.use(key_id, 79)
        node.warnings.warn(connection, NOW)
    assert claimed(connection) == []
    first.use(1, 1)
    for node in (first, second, first):
        node.warnings.warn(connection, NOW)
    second.use(1, 21)
    for node in (first, second, first):
        node.warnings.warn(connection, NOW)
    assert claimed(connection) == [(1, "2026-03-01", 80, 80, True), (1, "2026-03-01", 100, 100, True)]
    first.use(1, 80, MONTH + 1)
    first.warnings.warn(connection, NOW + datetime.timedelta(days=31))
    assert events(caplog) == [(1, 80), (1, 100), (1, 80)]
    feed = [(event.type, event.account, event.data["percent"]) for event in read_feed(connection, None)]
    assert feed == [("key.quota_warning", "acme", percent) for percent in (80, 100, 80)], "one for each claim"
    assert first.counted("quota_warnings_total", "80") == 2
    assert second.counted("quota_warnings_total", "100") == 1


def test_two_nodes_that_see_it_at_one_moment_tell_it_once(
    connection: AnyConnection, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The database's row decides."""
    nodes = [Node(MailSection()) for _ in range(4)]
    for node in nodes:
        node.use(1, 90)
    together = threading.Barrier(len(nodes))

    def look(node: Node) -> None:
        with connect(database_url, "tests", autocommit=True) as own:
            together.wait()
            node.warnings.warn(own, NOW)

    threads = [threading.Thread(target=look, args=[node]) for node in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert events(caplog) == [(1, 80)]
    assert sum(node.counted("quota_warnings_total", "80") for node in nodes) == 1


def test_customer_and_operator_get_one_mail_with_what_they_need(connection: AnyConnection, server: Server) -> None:
    """To the account's address and a copy; a key that is spent at once is not told of 80 percent as well."""
    node = Node(msgspec.structs.replace(server.section, operator_email="operator@example.com"))
    node.use(1, 100)
    node.use(2, 81)
    node.warnings.warn(connection, NOW)
    node.mail_until(connection, lambda: len(server.received) == 2 and node.mailer.is_idle)
    node.warnings.send_mails(connection)
    by_subject = {str(received.message["Subject"]): received for received in server.received}
    spent = by_subject["100 % of this month's quota is used: acme, web shop (trk_1...)"]
    assert spent.recipients == ["shop@example.com", "operator@example.com"]
    text = spent.message.get_content()
    for line in ("Account: acme", "Used:    100 of 100 lookups", "The month ends on 2026-04-01 at 00:00 UTC"):
        assert line in text
    assert by_subject["80 % of this month's quota is used: none, trk_2..."].recipients == ["operator@example.com"]
    assert all(not is_waiting for *_, is_waiting in claimed(connection))
    for _ in range(3):
        node.warnings.send_mails(connection)
        assert node.mailer.is_idle
    assert len(server.received) == node.counted("operator_mails_total", "sent") == 2


def test_who_has_no_address_is_not_waited_for(connection: AnyConnection, server: Server) -> None:
    """Without a copy to the operator there is nobody to write to: the event and the page tell it."""
    node = Node(server.section)
    node.use(2, 100)
    node.warnings.warn(connection, NOW)
    node.warnings.send_mails(connection)
    assert node.mailer.is_idle
    assert all(not is_waiting for *_, is_waiting in claimed(connection))


def test_a_mail_that_was_not_taken_is_tried_again_and_later_each_time(
    connection: AnyConnection, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """The warning waits in the database, whoever is the active node by then."""
    node = Node(server.section)
    node.use(1, 100)
    node.warnings.warn(connection, NOW)
    server.answer = "451 not now"
    node.mail_until(connection, lambda: node.counted("operator_mails_total", "failed") == 1)
    row = connection.execute("SELECT tries, try_at > now() FROM quota_warnings WHERE mailed_at IS NULL").fetchone()
    assert row == (1, True)
    node.warnings.send_mails(connection)
    assert node.mailer.is_idle, "it is not due"
    server.answer = "250 taken"
    later = Node(server.section)
    connection.execute("UPDATE quota_warnings SET try_at = now()")
    later.mail_until(connection, lambda: later.counted("operator_mails_total", "sent") == 1)
    assert len(server.received) == 1
    assert "shop@example.com" not in caplog.text


def test_what_waited_for_a_week_is_no_news_any_more(connection: AnyConnection, server: Server) -> None:
    """Somebody who sets mail up later does not write to everybody about last year."""
    connection.execute(
        "INSERT INTO quota_warnings (key_id, month, percent, used, quota, warned_at)"
        " VALUES (1, '2026-01-01', 80, 80, 100, now() - interval '8 days')"
    )
    node = Node(server.section)
    node.warnings.send_mails(connection)
    assert node.mailer.is_idle


def test_a_row_that_stands_already_is_left_as_it_is(connection: AnyConnection) -> None:
    """A quota that is raised and reached again in one month is told once."""
    node = Node(MailSection())
    node.use(1, 85)
    node.warnings.warn(connection, NOW)
    connection.execute("UPDATE api_keys SET monthly_quota = 1000 WHERE id = 1")
    node.use(1, 800)
    node.warnings.warn(connection, NOW)
    assert claimed(connection) == [(1, "2026-03-01", 80, 85, True)]
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        connection.execute("INSERT INTO quota_warnings VALUES (99, '2026-03-01', 80, 1, 1)")
