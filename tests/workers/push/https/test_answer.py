"""What is kept of an answer is bounded, and Retry-After is read in both of its forms."""

import asyncio
import math
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.limits import REPLY_BODY_BYTES_MAX, REPLY_KEPT_BYTES_MAX
from workers.push.https.answer import IncomingReply, read_retry_after

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
NOW_NS = int(NOW.timestamp()) * 10**9


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0), ("120", 120.0), (" 7 ", 7.0), ("9999999999", 9999999999.0), ("-1", None), ("1.5", None),
        ("1" * 5_000, math.inf), ("", None), ("soon", None), ("Thu, 01 Jan 2026 12:01:00 GMT", 60.0),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0.0), ("Thu, 01 Jan 99999 11:00:00 GMT", None), ("1 Jan", None),
    ],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float | None) -> None:
    """A date that has passed is now; what is neither says nothing."""
    assert read_retry_after(text, NOW_NS) == seconds


@given(st.text() | st.datetimes(timezones=st.just(UTC)).map(lambda at: format_datetime(at, usegmt=True)))
def test_any_retry_after_is_seconds_that_are_not_negative_or_none(text: str) -> None:
    """No header of a receiver raises."""
    seconds = read_retry_after(text, NOW_NS)
    assert seconds is None or seconds >= 0


@given(st.lists(st.binary(max_size=9_000), max_size=9))
def test_the_first_kib_of_a_body_is_kept_and_a_long_one_is_cut(chunks: list[bytes]) -> None:
    """However it comes in pieces."""
    answer, whole = IncomingReply(cast("asyncio.Future[None]", None)), b"".join(chunks)
    for chunk in chunks:
        answer.add_body(chunk)
    assert answer.kept == whole[:REPLY_KEPT_BYTES_MAX]
    assert answer.is_cut == (len(whole) > REPLY_BODY_BYTES_MAX)


async def test_only_headers_that_a_sender_acts_on_are_kept() -> None:
    """With foreign letters as they are."""
    answer = IncomingReply(asyncio.get_running_loop().create_future())
    for name, value in ((b"retry-after", b"7"), (b"set-cookie", b"a"), (b"webhook-delivery", b"disable\xe9")):
        answer.add_header(name, value)
    answer.status = 429
    reply = answer.reply(True, NOW_NS)
    assert reply.headers == {"retry-after": "7", "webhook-delivery": "disable\xe9"}
    assert (reply.status, reply.retry_after_s, reply.is_new_connection) == (429, 7.0, True)
