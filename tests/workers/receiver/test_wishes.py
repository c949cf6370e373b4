"""workers/receiver/wishes.py: the demo's own subscriptions, made once; on PostgreSQL."""

import datetime
import logging
import threading
import time
from collections.abc import Callable

from trinity.clock import SystemClock
from trinity.push import endpoints, store
from trinity.push.secret import read_secret
from trinity.store.connect import connect
from workers.receiver.wishes import ACCOUNT, Wishes, drafts

LOG = logging.getLogger("tests.wishes")


class Seen:
    """The secrets that were given last."""

    def __init__(self) -> None:
        self.secrets: tuple[bytes, ...] = ()

    def take(self, secrets: tuple[bytes, ...]) -> None:
        self.secrets = secrets

    def wait(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not is_so():
            assert time.monotonic() < deadline
            threading.Event().wait(0.02)


def start(url: str, seen: Seen) -> Wishes:
    wishes = Wishes(url, SystemClock(), "127.0.0.1", 8443, ["BTC", "ETH"], seen.take, LOG)
    wishes.start()
    return wishes


def test_one_of_each_kind_is_made_at_the_first_start_alone(database_url: str) -> None:
    """What is deleted meanwhile stays deleted; the secrets are those of what there is."""
    seen = Seen()
    wishes = start(database_url, seen)
    seen.wait(lambda: len(seen.secrets) == 4)
    with connect(database_url, "tests", autocommit=True) as connection:
        made = store.list_for(connection, None, 0, 9)
        assert [(one.account, one.target) for one in made] == [
            (ACCOUNT, "https://127.0.0.1:8443/prices"),
            (ACCOUNT, "https://127.0.0.1:8443/prices"),
            (ACCOUNT, "udp://127.0.0.1:8443"),
        ]
        (endpoint,) = endpoints.list_endpoints(connection, None)
        assert endpoint.url == "https://127.0.0.1:8443/events"
        _, secret = endpoints.rotate(connection, endpoint.id, None, datetime.timedelta(0))
        for one in made:
            store.delete(connection, one.id, None)
        seen.wait(lambda: seen.secrets == (read_secret(secret),))
        wishes.finish(30.0)
        again = start(database_url, Seen())
        again.finish(30.0)
        assert store.list_for(connection, None, 0, 9) == []


def test_every_kind_of_trigger_and_target_is_among_them() -> None:
    """By the clock, by moves, as datagrams."""
    found = drafts("127.0.0.1", 8443, ["BTC"])
    assert any(draft.interval_s for draft in found)
    assert any(draft.deviation_bps and draft.heartbeat_s for draft in found)
    assert {draft.target.partition(":")[0] for draft in found} == {"https", "udp"}
