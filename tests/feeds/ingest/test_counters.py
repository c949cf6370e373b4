"""What a feed counts, and the alarm on changed payloads."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from feeds.ingest.counters import FeedCounters
from tests.support.contexts import OpenContext
from trinity.clock import NS_PER_SECOND
from trinity.memory.price_table import Via
from trinity.observe.metrics import FEED
from trinity.vocabulary import REFUSAL_REASONS, SHAPE_REASONS


@pytest.fixture
def context(make_context: Callable[..., OpenContext]) -> OpenContext:
    return make_context()


def alarm(context: OpenContext) -> float:
    return context.block.read_gauge(FEED.index("payload_shape_alarm"))


def test_everything_is_counted_in_its_own_word(context: OpenContext) -> None:
    """Frames, quotes by way, refusals and reconnects by reason, REST by result."""
    counters = FeedCounters(context.block, context.log, 0)
    counters.frames(1)
    counters.quote(Via.REST)
    counters.refusal("bad_number", "x")
    counters.reconnect("planned")
    counters.rest("rate_limited")
    counters.gauge("unknown_symbols", 2)
    for _ in range(2):
        counters.check(1)  # publishes, and only once
    for name, *labels in (
        ("frames_total",),
        ("quotes_total", "rest"),
        ("parse_errors_total", "bad_number"),
        ("ws_reconnects_total", "planned"),
        ("rest_requests_total", "rate_limited"),
    ):
        assert context.block.read_counter(FEED.index(name, *labels)) == 1
    assert context.block.read_counter(FEED.index("quotes_total", "ws")) == 0
    assert context.block.read_gauge(FEED.index("unknown_symbols")) == 2


@pytest.mark.parametrize("reason", REFUSAL_REASONS)
def test_only_a_changed_shape_raises_the_alarm(context: OpenContext, reason: str) -> None:
    """Two strange frames of a hundred are a change; an unknown symbol or a zero price is none."""
    counters = FeedCounters(context.block, context.log, 0)
    for _ in range(100):
        counters.frames(1)
    counters.refusal(reason, "x")
    counters.check(1)
    assert alarm(context) == (reason == "bad_acknowledgement")
    counters.refusal(reason, "x")
    counters.check(1)
    assert alarm(context) == (reason in (*SHAPE_REASONS, "bad_acknowledgement"))


def test_one_rest_answer_that_is_not_understood_alarms(context: OpenContext) -> None:
    """However many frames come beside it; an answer that only refuses a price does not."""
    counters = FeedCounters(context.block, context.log, 0)
    for _ in range(10_000):
        counters.frames(1)
    counters.refusal("unknown_symbol", "x", Via.REST)
    counters.check(1)
    assert alarm(context) == 0
    counters.refusal("missing_field", "x", Via.REST)
    counters.check(1)
    assert alarm(context) == 1


def test_the_alarm_ends_a_minute_after_the_last_strange_frame(
    context: OpenContext, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged once when it begins and once when it ends."""
    caplog.set_level(logging.INFO)
    counters = FeedCounters(context.block, context.log, 0)
    counters.refusal("not_json", "<html>")
    seen: list[Any] = []
    for second in range(0, 120, 5):
        counters.check(second * NS_PER_SECOND)
        seen.append(alarm(context))
    assert seen[:6] == [1.0] * 6
    assert seen[-8:] == [0.0] * 8
    assert len(caplog.records) == 2
    assert caplog.records[0].__dict__["fields"]["newest"] == "not_json: <html>"
