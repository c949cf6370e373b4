"""What a simulated exchange consists of: a session class for each socket path, REST routes, limits, refusals.

Rules: everything here and in the exchanges' files is pure: text and instants in; frames and answers out. A session
is one connection's side of the exchange and never raises for what a client sent. A frame that is the same for all
sockets is built once for each quote (`frames`, by channel).
"""

import abc
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import msgspec

from feeds.simulator.board import ExchangeBoard
from feeds.simulator.market import NS_PER_SECOND, Instant, SimulatedQuote
from feeds.simulator.rates import Limit
from trinity.markets import Market


class SendPing(NamedTuple):
    """A ping of the WebSocket protocol (RFC 6455 section 5.5.2)."""


class CloseSocket(NamedTuple):
    """The exchange ends the connection; `code` None: without a close frame, as the client sees it 1006."""

    code: int | None
    reason: str = ""


Out = str | SendPing | CloseSocket


class Session(abc.ABC):
    """One connection. Subclasses say what they answer, what they push and what they do with time."""

    # Names of the fields that carry prices: bad_payload renames them.
    price_fields: ClassVar[tuple[str, ...]] = ()

    def __init__(self, board: ExchangeBoard, now: Instant, rng: random.Random) -> None:
        self.board = board
        self.rng = rng
        self.opened_at_ns = now.monotonic_ns
        self.sent_at_ns = now.monotonic_ns
        self.received_at_ns = now.monotonic_ns
        self._paced: dict[tuple[str, str], int] = {}
        self._waiting: dict[tuple[str, str], tuple[SimulatedQuote, dict[str, str]]] = {}

    def on_open(self, now: Instant) -> list[Out]:
        """What the exchange says unasked."""
        return []

    @abc.abstractmethod
    def on_text(self, text: str, now: Instant) -> list[Out]:
        """The answer to a client's frame."""

    @abc.abstractmethod
    def on_quote(self, quote: SimulatedQuote, frames: dict[str, str], now: Instant) -> list[Out]:
        """What this connection gets of a quote; `frames` is shared by all connections of the exchange."""

    def on_timer(self, now: Instant) -> list[Out]:
        """Heartbeats and deadlines; called about ten times a second."""
        return []

    def frame(
        self, channel: str, quote: SimulatedQuote, frames: dict[str, str], build: Callable[[SimulatedQuote], str]
    ) -> str:
        """The text of a channel, built at most once for a quote."""
        text = frames.get(channel)
        if text is None:
            text = frames[channel] = deform(build(quote), self.price_fields) if quote.deformed else build(quote)
        return text

    def is_due(self, channel: str, quote: SimulatedQuote, frames: dict[str, str], gap_ns: int, now: Instant) -> bool:
        """Whether a channel that is limited to one frame in `gap_ns` for each market may carry this quote now.

        If not, the quote waits (the newest one only) until `released` gives it back.
        """
        key = (channel, quote.row.symbol)
        if now.monotonic_ns - self._paced.get(key, now.monotonic_ns - gap_ns) < gap_ns:
            self._waiting[key] = (quote, frames)
            return False
        self._paced[key] = now.monotonic_ns
        self._waiting.pop(key, None)
        return True

    def released(self, channel: str, gap_ns: int, now: Instant) -> list[tuple[SimulatedQuote, dict[str, str]]]:
        """The quotes of a channel whose waiting time is over."""
        keys = [key for key in self._waiting if key[0] == channel and now.monotonic_ns - self._paced[key] >= gap_ns]
        for key in keys:
            self._paced[key] = now.monotonic_ns
        return [self._waiting.pop(key) for key in keys]


def deform(text: str, price_fields: tuple[str, ...]) -> str:
    """A JSON text as after an unannounced change of the payload: its price fields have other names."""
    for field in price_fields:
        text = text.replace(f'"{field}":', f'"{field}_v2":')
    return text


def seconds_since(then_ns: int, now: Instant) -> float:
    return (now.monotonic_ns - then_ns) / NS_PER_SECOND


class RestCall(NamedTuple):
    """One GET: the variable parts of its path, its query (every value of each name), and when."""

    path: Mapping[str, str]
    query: Mapping[str, tuple[str, ...]]
    now: Instant

    def first(self, name: str) -> str | None:
        values = self.query.get(name)
        return values[0] if values else None


class RestReply(NamedTuple):
    """A REST answer; `deformed` says that bad_payload hit one of its markets."""

    status: int
    body: str
    headers: Mapping[str, str] = {}


class Route(NamedTuple):
    """A path below the exchange's prefix, as aiohttp writes it ("/v1/pubticker/{symbol}")."""

    path: str
    answer: Callable[[ExchangeBoard, RestCall], RestReply]
    limit: Limit


class Venue(NamedTuple):
    """One exchange.

    sockets          absolute path -> the class of its sessions
    symbol_of        the exchange's own name of a market
    connect_limit    connection attempts
    too_many         the documented answer to too many requests
    broken           the documented answer of a broken service
    """

    name: str
    sockets: Mapping[str, type[Session]]
    routes: tuple[Route, ...]
    symbol_of: Callable[[Market], str]
    connect_limit: Limit
    too_many: RestReply
    broken: RestReply


def to_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def rest_ticker(text: str, quotes: list[SimulatedQuote], price_fields: tuple[str, ...]) -> RestReply:
    """A 200 with this text, deformed when one of its quotes is."""
    return RestReply(200, deform(text, price_fields) if any(quote.deformed for quote in quotes) else text)


def rfc3339(wall_ns: int, digits: int = 6) -> str:
    """2026-09-24T03:54:28.829165Z with 1 to 9 digits of the second."""
    seconds, rest_ns = divmod(wall_ns, NS_PER_SECOND)
    return f"{_second_text(seconds)}.{f'{rest_ns:09d}'[:digits]}Z"


@lru_cache(maxsize=64)  # a clock_skew or a slow stream has seconds of its own beside the present one
def _second_text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
