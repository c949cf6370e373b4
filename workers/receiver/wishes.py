"""The demo's own subscriptions: one of each kind, made at its first start, and the secrets that they are signed with.

Rules: an account of its own. What its operator pauses, changes or deletes stays so: they are made once, when the
account has none and never had one. The secrets are read again every few seconds, so a rotation is followed.
"""

import logging
import secrets
from collections.abc import Callable, Sequence

import psycopg

from trinity.access import accounts
from trinity.clock import Clock
from trinity.errors import TrinityError
from trinity.observe.log import Outage
from trinity.push import endpoints, store
from trinity.push.secret import make_secret, read_secret
from trinity.push.subscription import SubscriptionDraft
from trinity.store import migrate
from trinity.store.connect import AnyConnection, connect
from trinity.store.queries import load
from trinity.store.session_thread import SessionThread

ACCOUNT = "demo receiver"
READ_SECONDS = 2.0
_STATEMENT_SECONDS = 10


class Wishes(SessionThread):
    """Makes them and gives their secrets to `on_secrets`, in its own thread."""

    def __init__(
        self,
        url: str,
        clock: Clock,
        host: str,
        port: int,
        assets: Sequence[str],
        on_secrets: Callable[[tuple[bytes, ...]], object],
        log: logging.Logger,
    ) -> None:
        super().__init__("wishes", url, clock)
        self._drafts = drafts(host, port, assets)
        self._endpoint = endpoints.read_draft(f"https://{host}:{port}/events", (), "the demo's events")
        self._on_secrets, self._log = on_secrets, log
        self._outage = Outage(log, logging.WARNING, "the receiver waits for the database", "the database is there")

    def _live_one_connection(self) -> None:
        try:
            migrate.check(self._url)
            with connect(self._url, "receiver", statement_seconds=_STATEMENT_SECONDS, autocommit=True) as connection:
                self._watch.guard(connection)
                self._outage.up()
                self._on_good()
                self._make(connection)
                while not self._stopping.is_set():
                    rows = connection.execute(load("push.secrets_of"), {"account": ACCOUNT}).fetchall()
                    self._on_secrets(tuple(read_secret(text) for row in rows for text in row if text is not None))
                    self._stopping.wait(READ_SECONDS)
        except (psycopg.Error, TrinityError, OSError) as error:
            self._outage.down(f"{type(error).__name__}: {' '.join(str(error).split())}", self._clock.monotonic_ns())

    def _make(self, connection: AnyConnection) -> None:
        with connection.transaction():
            account_id = accounts.upsert(connection, ACCOUNT, None, None)
            row = connection.execute(load("push.ever_made"), {"account_id": account_id}).fetchone()
            if row is not None and row[0]:
                return
            for draft in self._drafts:
                store.create(connection, draft, account_id, None, make_secret(secrets.token_bytes))
            endpoints.create(connection, account_id, self._endpoint)
        self._log.info("the demo's subscriptions are made", extra={"fields": {"count": len(self._drafts)}})


def drafts(host: str, port: int, assets: Sequence[str]) -> tuple[SubscriptionDraft, ...]:
    """One of each kind: by the clock, by moves, as datagrams."""
    few = tuple(assets[:5])
    web, udp = f"https://{host}:{port}/prices", f"udp://{host}:{port}"
    return (
        SubscriptionDraft(target=web, assets=few, name="every 3 s", interval_s=3),
        SubscriptionDraft(target=web, assets=few, name="when a price moves", deviation_bps=5, heartbeat_s=30),
        SubscriptionDraft(target=udp, assets=few, name="every 3 s over UDP", interval_s=3),
    )
