"""What a feed process counts, and the alarm on payloads that changed their shape.

Rules: the only file of a feed that knows metric names; the words are looked up once. A decoder reports refusals as
values, this file turns them into counters. The alarm is on while more than a small share of the last minute's frames
had a shape that the decoder does not know, and after any acknowledgement or REST answer that was not understood, for
they are few among the frames: so a changed payload is loud although nothing raises.
"""

import logging
from typing import Literal

from trinity.clock import NS_PER_SECOND
from trinity.memory.control import ProcessBlock
from trinity.memory.price_table import Via
from trinity.observe.metrics import FEED
from trinity.vocabulary import RECONNECT_REASONS, REFUSAL_REASONS, SHAPE_REASONS

_ACKNOWLEDGEMENT = "bad_acknowledgement"
# One strange frame in a hundred is a bug of the peer; more is a change.
SHAPE_SHARE_MAX = 0.01
SHAPE_WINDOW_NS = 60 * NS_PER_SECOND

RestResult = Literal["ok", "rate_limited", "refused", "failed"]
Gauge = Literal[
    "ws_connected", "rest_active", "unknown_symbols", "frozen_sources"
]  # the alarm's gauge is set here alone

_FRAMES = FEED.index("frames_total")
_QUOTES = {via: FEED.index("quotes_total", via.name.lower()) for via in (Via.WS, Via.REST)}
_REFUSALS = {reason: FEED.index("parse_errors_total", reason) for reason in REFUSAL_REASONS}
_RECONNECTS = {reason: FEED.index("ws_reconnects_total", reason) for reason in RECONNECT_REASONS}
_ALARM = FEED.index("payload_shape_alarm")


class FeedCounters:
    """Counts into one process's block; `check`, called some times a second, publishes and moves the alarm."""

    def __init__(self, block: ProcessBlock, log: logging.Logger, now_ns: int) -> None:
        self._block = block
        self._log = log
        # Frames, strange ones, and strange ones that alarm alone, of the running half window and of the one before.
        self._now = [0, 0, 0]
        self._before = [0, 0, 0]
        # Counted once per frame and once per quote: plain integers until the next check, 1.5 us saved each.
        self._frames = 0
        self._quotes = [0 for _ in Via]
        self._turn_ns = now_ns + SHAPE_WINDOW_NS // 2
        self._newest_shape = ""
        self._is_alarmed = False
        block.set_gauge(_ALARM, 0.0)

    def frames(self, count: int, quotes: int = 0) -> None:
        """Frames of the WebSocket, and quotes that were written of them at once."""
        self._frames += count
        self._quotes[Via.WS] += quotes

    def quote(self, via: Via) -> None:
        self._quotes[via] += 1

    def refusal(self, reason: str, detail: str, via: Via = Via.WS) -> None:
        """A frame, a REST answer or a part of it was refused; `reason` is one of vocabulary.REFUSAL_REASONS."""
        self._block.count(_REFUSALS[reason])
        if reason in SHAPE_REASONS or reason == _ACKNOWLEDGEMENT:
            self._now[2 if via is Via.REST or reason == _ACKNOWLEDGEMENT else 1] += 1
            self._newest_shape = f"{reason}: {detail[:200]}"

    def reconnect(self, reason: str) -> None:
        self._block.count(_RECONNECTS[reason])

    def failure(self, way: Literal["ws", "rest"], kind: str) -> None:
        """A connection or a question came to nothing; `kind` is one of vocabulary.FAILURE_KINDS."""
        self._block.count(FEED.index("exchange_failures_total", way, kind))

    def rest(self, result: RestResult) -> None:
        self._block.count(FEED.index("rest_requests_total", result))

    def gauge(self, name: Gauge, value: float) -> None:
        self._block.set_gauge(FEED.index(name), value)

    def check(self, now_ns: int) -> None:
        """Publish what was counted since the last check; set or clear the alarm, logged once per change."""
        self._block.count(_FRAMES, self._frames)
        self._now[0] += self._frames
        self._frames = 0
        for via, counter in _QUOTES.items():
            self._block.count(counter, self._quotes[via])
            self._quotes[via] = 0
        frames = self._now[0] + self._before[0]
        strange, alone = self._now[1] + self._before[1], self._now[2] + self._before[2]
        is_alarmed = alone > 0 or strange > SHAPE_SHARE_MAX * frames
        if is_alarmed != self._is_alarmed:
            self._is_alarmed = is_alarmed
            self._block.set_gauge(_ALARM, float(is_alarmed))
            if is_alarmed:
                fields = {"refused": strange + alone, "frames": frames, "newest": self._newest_shape}
                self._log.warning("payload shape alarm", extra={"fields": fields})
            else:
                self._log.info("payload shape is as documented again")
        if now_ns >= self._turn_ns:
            self._before, self._now = self._now, [0, 0, 0]
            self._turn_ns = now_ns + SHAPE_WINDOW_NS // 2
