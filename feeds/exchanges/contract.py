"""What an exchange's file is: bytes in; quotes, replies and refusals out.

Rules: a decoder has no socket, no clock, no log and no metric. It never raises for what a peer sent: a frame that
it cannot understand becomes a `Refusal` with a reason. Silence is an answer too: an empty list of events. A decoder
object belongs to one connection: it may remember what it saw on it (a sequence number, what it asked for), but no
price: a frame that speaks of one half of a quote says so, and what the other half was, and since when, is kept where
the clock is (feeds/ingest/rows.py).

Prices are integers with a scale and keep the text's digits. A price that is not there is None, never zero.
"""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Literal, NamedTuple, Protocol

import msgspec
import numpy as np

from trinity.markets import Market
from trinity.native.octets import Integers

# At most 18 digits before and behind the point, as the price table holds. A minus is read to be refused.
_PRICE = re.compile(rb'"?(-?\d{1,18})(?:\.(\d{1,18}))?"?')
PRICE_DIGITS_MAX = 18
_MANTISSA_MAX = 10**PRICE_DIGITS_MAX - 1
POWERS_OF_TEN: tuple[int, ...] = tuple(10**scale for scale in range(PRICE_DIGITS_MAX + 1))


# Structs, where one is made for each frame: a NamedTuple takes five times as long to make.
class ExactPrice(msgspec.Struct, frozen=True, gc=False):
    """mantissa * 10**-scale, above zero; the scale is that of the text, so trailing zeros count."""

    mantissa: int
    scale: int

    @property
    def decimal(self) -> Decimal:
        return Decimal(self.mantissa).scaleb(-self.scale)

    def at_scale(self, scale: int) -> int:
        """The mantissa at a scale that is not smaller than its own."""
        return self.mantissa * POWERS_OF_TEN[scale - self.scale]


class Quote(msgspec.Struct, frozen=True, gc=False):
    """One market's prices as the exchange sent them.

    `tells_book` and `tells_last` say what the frame speaks of. There, None is the exchange's word that it has no such
    price now; what a frame does not speak of stays as it was. `exchange_time_ns` is the exchange's own clock in
    nanoseconds since 1970, None when the frame had none.
    """

    symbol: str
    bid: ExactPrice | None
    ask: ExactPrice | None
    last: ExactPrice | None
    exchange_time_ns: int | None
    tells_book: bool = True
    tells_last: bool = True


class Refusal(NamedTuple):
    """A frame or a part of it that was not understood; `reason` is one of vocabulary.REFUSAL_REASONS."""

    reason: str
    detail: str
    symbol: str | None = None


class Reply(NamedTuple):
    """A frame that must be sent back on the same connection (an answer to a heartbeat)."""

    frame: str


class Subscribed(NamedTuple):
    """The exchange confirmed these symbols."""

    symbols: tuple[str, ...]


class UnknownSymbol(NamedTuple):
    """The exchange does not know this symbol: report it and leave it out.

    `rejected_whole_frame` True: the other symbols of that subscription were refused with it and must be sent again.
    """

    symbol: str
    rejected_whole_frame: bool = False


class Alive(NamedTuple):
    """A heartbeat, a pong or an acknowledgement: the connection lives, no price in it."""


class Reconnect(NamedTuple):
    """This connection must be replaced; `reason` is one of vocabulary.RECONNECT_REASONS."""

    reason: str
    detail: str


Event = Quote | Refusal | Reply | Subscribed | UnknownSymbol | Alive | Reconnect


class RestRequest(NamedTuple):
    """One GET: `path` with its query, and the symbols that its answer is for."""

    path: str
    symbols: tuple[str, ...]


class Listed(NamedTuple):
    """What an exchange lists: (asset, quote) of every market that can be traded there and that `symbol_of` names."""

    markets: frozenset[tuple[str, str]]


class Profile(NamedTuple):
    """What an exchange publishes about its limits and how its connections behave.

    ws_url, rest_url      base addresses, without a closing slash; another base may take their place
    ws_path               follows ws_url; the paths of REST stand in RestRequest.path
    ping_seconds          a client ping is due after this long, None when the exchange wants none
    silence_seconds       nothing at all received for this long: the connection is dead
    connect_gap_seconds   least time between two connection attempts
    settle_seconds        wait after connecting before the first frame
    rest_gap_seconds      least time between two REST requests
    headers               HTTP headers that the REST service wants
    subscribe_gap_seconds least time between two changes of what a connection has subscribed
    """

    name: str
    ws_url: str
    ws_path: str
    rest_url: str
    ping_seconds: float | None
    silence_seconds: float
    connect_gap_seconds: float
    settle_seconds: float
    rest_gap_seconds: float
    headers: Mapping[str, str] = {}
    subscribe_gap_seconds: float = 1.0


class Decoder(Protocol):
    """One connection's worth of an exchange's protocol.

    `memory` is what it shares with the compiled reader of frequent frames, which reads some of them in its place.
    """

    memory: Integers

    def subscribe(self, symbols: Sequence[str], now_ns: int) -> list[str]:
        """Frames that subscribe `symbols`, within the exchange's frame limits; now_ns is wall time."""
        ...

    def unsubscribe(self, symbols: Sequence[str], now_ns: int) -> list[str]:
        """Frames that end the subscriptions of `symbols`; now_ns is wall time."""
        ...

    def on_frame(self, frame: bytes) -> list[Event]:
        """What one received frame means."""
        ...

    def ping(self, now_ns: int) -> list[str]:
        """Frames that keep the connection alive, sent every Profile.ping_seconds; now_ns is wall time."""
        ...


class Exchange(Protocol):
    """An exchange's module: `PROFILE`, naming, a decoder per connection, and REST for the same symbols.

    `FREQUENT` is the form of its frequent frame (frequent.py); what has another one goes to the decoder.
    """

    PROFILE: Profile
    FREQUENT: np.void

    def symbol_of(self, market: Market) -> str:
        """The exchange's own name of a market, from `market.symbol` or the naming rule."""
        ...

    def new_decoder(self) -> Decoder:
        """A new connection's decoder."""
        ...

    def rest_requests(self, symbols: Sequence[str]) -> list[RestRequest]:
        """The fewest GETs that fetch all `symbols`."""
        ...

    def on_rest(self, request: RestRequest, status: int, body: bytes) -> list[Event]:
        """What the answer of a REST request means: Quote, Refusal or UnknownSymbol events."""
        ...

    def listing_request(self) -> RestRequest:
        """The GET that fetches the list of all spot markets."""
        ...

    def on_listing(self, status: int, body: bytes) -> Listed | Refusal:
        """What the answer of `listing_request` lists."""
        ...


RefusalReason = Literal[
    "not_json",
    "unknown_shape",
    "missing_field",
    "bad_number",
    "bad_time",
    "nonpositive_price",
    "unknown_symbol",
    "bad_sequence",
    "exchange_error",
    "too_large",
    "last_off_book",
    "bad_acknowledgement",
]


class BadFieldError(Exception):
    """Inside a decoder: a field cannot be used; its `on_frame` turns it into a Refusal."""

    def __init__(self, reason: RefusalReason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason: RefusalReason = reason
        self.detail = detail


def parse_price(json: bytes | msgspec.Raw) -> ExactPrice:
    """A price above zero out of plain decimal digits: a JSON number, or a string.

    Raises BadFieldError `bad_number` (NaN, too many digits) or `nonpositive_price` (zero, negative).
    """
    match = _PRICE.fullmatch(json)
    if match is None:
        raise BadFieldError("bad_number", f"{_shown(json)!r} is not a price")
    whole, fraction = match.groups(b"")
    mantissa = int(whole + fraction)
    if mantissa <= 0:
        raise BadFieldError("nonpositive_price", f"{_shown(json)!r} is not above zero")
    if mantissa > _MANTISSA_MAX:
        raise BadFieldError("bad_number", f"{_shown(json)!r} has more than {PRICE_DIGITS_MAX} digits")
    return ExactPrice(mantissa, len(fraction))


def _shown(json: bytes | msgspec.Raw) -> str:
    return str(json, "utf-8", "replace").strip('"')[:40]
