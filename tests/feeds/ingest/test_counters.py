"""What a feed counts, and the alarm on changed payloads."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from feeds.ingest.counters import Tally
from trinity.clock import NS_PER_SECOND
from trinity.memory.price_table import Via
from trinity.observe.metrics import FEED
from trinity.process import Seat
from trinity.vocabulary import REFUSAL_REASONS, SHAPE_REASONS


@pytest.fixture
def seat(make_seat: Callable[..., Seat]) -> Seat:
    return make_seat()


def alarm(seat: Seat) -> float:
    return seat.block.read_gauge(FEED.index("oracle_payload_shape_alarm"))


def test_everything_is_counted_in_its_own_word(seat: Seat) -> None:
    """Frames, quotes by way, refusals and reconnects by reason, REST by result."""
    tally = Tally(seat.block, seat.log, 0)
    tally.frame()
    tally.quote(Via.REST)
    tally.refusal("bad_number", "x")
    tally.reconnect("planned")
    tally.rest("rate_limited")
    tally.gauge("oracle_unknown_symbols", 2)
    for _ in range(2):
        tally.check(1)  # publishes, and only once
    for name, *labels in (
        ("oracle_frames_total",),
        ("oracle_quotes_total", "rest"),
        ("oracle_parse_errors_total", "bad_number"),
        ("oracle_ws_reconnects_total", "planned"),
        ("oracle_rest_requests_total", "rate_limited"),
    ):
        assert seat.block.read_counter(FEED.index(name, *labels)) == 1
    assert seat.block.read_counter(FEED.index("oracle_quotes_total", "ws")) == 0
    assert seat.block.read_gauge(FEED.index("oracle_unknown_symbols")) == 2


@pytest.mark.parametrize("reason", REFUSAL_REASONS)
def test_only_a_changed_shape_raises_the_alarm(seat: Seat, reason: str) -> None:
    """Two strange frames of a hundred are a change; an unknown symbol or a zero price is none."""
    tally = Tally(seat.block, seat.log, 0)
    for _ in range(100):
        tally.frame()
    tally.refusal(reason, "x")
    tally.check(1)
    assert alarm(seat) == (reason == "bad_acknowledgement")
    tally.refusal(reason, "x")
    tally.check(1)
    assert alarm(seat) == (reason in (*SHAPE_REASONS, "bad_acknowledgement"))


def test_one_rest_answer_that_is_not_understood_alarms(seat: Seat) -> None:
    """However many frames come beside it; an answer that only refuses a price does not."""
    tally = Tally(seat.block, seat.log, 0)
    for _ in range(10_000):
        tally.frame()
    tally.refusal("unknown_symbol", "x", Via.REST)
    tally.check(1)
    assert alarm(seat) == 0
    tally.refusal("missing_field", "x", Via.REST)
    tally.check(1)
    assert alarm(seat) == 1


def test_the_alarm_ends_a_minute_after_the_last_strange_frame(seat: Seat, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged once when it begins and once when it ends."""
    caplog.set_level(logging.INFO)
    tally = Tally(seat.block, seat.log, 0)
    tally.refusal("not_json", "<html>")
    seen: list[Any] = []
    for second in range(0, 120, 5):
        tally.check(second * NS_PER_SECOND)
        seen.append(alarm(seat))
    assert seen[:6] == [1.0] * 6
    assert seen[-8:] == [0.0] * 8
    assert len(caplog.records) == 2
    assert caplog.records[0].__dict__["fields"]["newest"] == "not_json: <html>"
