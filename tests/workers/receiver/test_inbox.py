"""workers/receiver/inbox.py: what is signed is taken once and in order; the foreign library signs, ours verifies."""

import datetime
import json
from typing import Any

import pytest
import standardwebhooks
from hypothesis import given, settings
from hypothesis import strategies as st

from trinity.push.datagram import Datagram, PushedPrice, encode
from trinity.push.secret import make_secret, read_secret
from workers.receiver.inbox import EVENTS_KEPT, SUBSCRIPTIONS_MAX, Inbox

SECRET, OTHER = make_secret(lambda count: b"k" * count), make_secret(lambda count: b"o" * count)
NOW = 1_767_225_600
EPOCH = 1 << 32


def headers_of(body: bytes, identity: str = "msg_1", secret: str = SECRET, at: int = NOW) -> dict[str, str]:
    local = datetime.datetime.fromtimestamp(at)  # noqa: DTZ006 - it signs another second for a time with a zone
    signed = standardwebhooks.Webhook(secret).sign(identity, local, body.decode())
    return {"webhook-id": identity, "webhook-timestamp": str(at), "webhook-signature": signed}


def body_of(sequence: int, subscription: int = 7, **data: Any) -> bytes:
    told = {
        "subscription": subscription,
        "sequence": sequence,
        "reason": "interval",
        "prices": [{"asset": "BTC"}],
        **data,
    }
    return json.dumps({"type": "price.update", "timestamp": "2026-01-01T00:00:00Z", "data": told}).encode()


@pytest.fixture
def inbox() -> Inbox:
    made = Inbox()
    made.secrets = (read_secret(SECRET), read_secret(OTHER))
    return made


def take(inbox: Inbox, sequence: int, **data: Any) -> str:
    body = body_of(sequence, **data)
    status, word = inbox.take_webhook(headers_of(body, f"msg_{data.get('subscription', 7)}_{sequence}"), body, NOW)
    assert status == 200
    return word


def view(inbox: Inbox) -> Any:
    (found,) = inbox.report()["subscriptions"]
    return found


def test_what_the_foreign_library_signs_is_taken_with_either_secret(inbox: Inbox) -> None:
    """As during a rotation."""
    for number, secret in enumerate((SECRET, OTHER), start=1):
        body = body_of(EPOCH + number)
        assert inbox.take_webhook(headers_of(body, f"msg_{number}", secret), body, NOW) == (200, "interval")
    assert (view(inbox).messages, view(inbox).sequence) == (2, EPOCH + 2)


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "msg_2"},
        {"webhook-id": "msg.1"},
        {"webhook-timestamp": str(NOW + 1)},
        {"webhook-timestamp": "now"},
        {"webhook-timestamp": ""},
        {"webhook-timestamp": "9" * 40},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,AAAA"},
        {"webhook-signature": "v1,ü"},
        {"webhook-signature": "v2,AAAA v1a,AAAA"},
    ],
)
def test_what_is_not_signed_changes_nothing(inbox: Inbox, change: dict[str, str]) -> None:
    """401, and counted."""
    body = body_of(EPOCH + 1)
    assert inbox.take_webhook(headers_of(body) | change, body, NOW)[0] == 401
    assert inbox.report() == {"subscriptions": [], "events": [], "duplicates": 0, "refused": 1}


def test_a_body_that_was_changed_on_its_way_is_refused(inbox: Inbox) -> None:
    """The raw bytes are signed."""
    body = body_of(EPOCH + 1)
    assert inbox.take_webhook(headers_of(body), body + b" ", NOW)[0] == 401


@pytest.mark.parametrize(("age", "status"), [(-301, 401), (-300, 200), (0, 200), (300, 200), (301, 401)])
def test_what_is_older_than_five_minutes_is_refused(inbox: Inbox, age: int, status: int) -> None:
    """And what is from the future by more."""
    body = body_of(EPOCH + 1)
    assert inbox.take_webhook(headers_of(body, at=NOW - age), body, NOW)[0] == status


def test_an_id_that_was_handled_is_acknowledged_and_not_handled_again(inbox: Inbox) -> None:
    """Until its time has passed by 300 s: then its timestamp refuses it."""
    body = body_of(EPOCH + 1)
    headers = headers_of(body, at=NOW + 250)
    assert inbox.take_webhook(headers, body, NOW)[0] == 200
    for now in (NOW, NOW + 550):
        assert inbox.take_webhook(headers, body, now) == (200, "duplicate")
    assert inbox.take_webhook(headers, body, NOW + 551)[0] == 401
    assert view(inbox).messages == 1


@settings(max_examples=30)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=12))
def test_gaps_and_old_ones_are_counted(counters: list[int]) -> None:
    """Each sequence is new, or old; what was skipped within an epoch never came."""
    inbox = Inbox()
    inbox.secrets = (read_secret(SECRET),)
    highest, gaps, old = 0, 0, 0
    for place, counter in enumerate(counters):
        body = body_of(EPOCH + counter)
        inbox.take_webhook(headers_of(body, f"msg_{place}"), body, NOW)
        if counter <= highest:
            old += 1
        else:
            gaps += counter - highest - 1 if highest else 0
            highest = counter
    assert (view(inbox).gaps, view(inbox).old, view(inbox).sequence) == (gaps, old, EPOCH + highest)


def test_another_life_of_the_sender_is_no_gap(inbox: Inbox) -> None:
    """Its epoch is another one."""
    take(inbox, EPOCH + 5)
    take(inbox, 9 * EPOCH + 1)
    assert (view(inbox).gaps, view(inbox).messages) == (0, 2)


def test_events_are_kept_by_their_ids_the_newest_of_them(inbox: Inbox) -> None:
    """As they came."""
    for number in range(EVENTS_KEPT + 3):
        body = json.dumps({"type": "key.created", "timestamp": "t", "data": {"key": number}}).encode()
        assert inbox.take_webhook(headers_of(body, f"msg_e{number}"), body, NOW) == (200, "key.created")
    found = inbox.report()["events"]
    assert [event["data"]["key"] for event in found] == list(range(3, EVENTS_KEPT + 3))


def test_a_datagram_counts_as_a_message_and_a_changed_one_is_refused(inbox: Inbox) -> None:
    """Its prices are told with their digits, or why there is none."""
    prices = (PushedPrice("BTC", 0, 7_100_050, 300, 12, -2, -2, 6), PushedPrice("ETH", 1))
    frame = encode(Datagram(9, EPOCH + 1, NOW * 10**9, 3000, 0, True, prices), read_secret(SECRET))
    assert inbox.take_datagram(frame, "t") == "interval"
    assert inbox.take_datagram(frame, "t") == "old"
    for wrong in (frame[:-1] + bytes([frame[-1] ^ 1]), frame[:40], b""):
        assert inbox.take_datagram(wrong, "t") == "no signature of ours"
    assert view(inbox).over == "udp"
    assert view(inbox).prices == [{"asset": "BTC", "price": "71000.50"}, {"asset": "ETH", "error": "stale_price"}]
    assert inbox.report()["refused"] == 3


def test_what_is_kept_is_bounded(inbox: Inbox) -> None:
    """However many subscriptions are pushed here."""
    for number in range(SUBSCRIPTIONS_MAX + 5):
        take(inbox, EPOCH + 1, subscription=number + 1)
    assert len(inbox.report()["subscriptions"]) == SUBSCRIPTIONS_MAX
