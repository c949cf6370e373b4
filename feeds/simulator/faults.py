"""What goes wrong on command: the table of active faults, and what each of them does to a quote.

Rules: pure; time is an argument. A fault hits one exchange or one of its assets, from now until it expires or is
cleared. A wrong request is a FaultError that names the field. Faults that concern connections or REST answers are
only looked up here; the server acts on them.
"""

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from feeds.simulator.market import NS_PER_SECOND, SimulatedQuote

# A day is longer than any soak step; more faults than this at a time is a runaway script.
SECONDS_MAX = 86_400.0
FAULTS_MAX = 1_000
# bad_sequence: Coinbase's counter jumps by this much; elsewhere every second quote is this much older.
SEQUENCE_JUMP = 7
OUT_OF_ORDER_NS = 2 * NS_PER_SECOND
# crossed_book: the bid stands this far above the ask.
CROSSING = 0.002


class FaultError(Exception):
    """A fault request is wrong; `field` is the field as the caller wrote it."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)
        self.field = field
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}"


class Kind(NamedTuple):
    """One kind of fault: whether it can hit a single asset, and its `value` (default, least, most) if it has one."""

    one_asset: bool
    value: tuple[float, float, float] | None = None


KINDS: Mapping[str, Kind] = {
    "disconnect": Kind(one_asset=False),  # sockets are closed: once, or again and again for `seconds`
    "refuse": Kind(one_asset=False),  # sockets closed, upgrades answered 503; REST goes on unless rest_500
    "freeze": Kind(one_asset=True),  # no quotes on the sockets, heartbeats go on; REST stays fresh
    "slow": Kind(one_asset=True, value=(0.82, 0.01, 1.0)),  # quotes leave at this share of the rate: they get old
    "zero_price": Kind(one_asset=True),
    "scale_price": Kind(one_asset=True, value=(1.1, 1e-6, 1e6)),
    "crossed_book": Kind(one_asset=True),
    "bad_sequence": Kind(one_asset=True),
    "bad_payload": Kind(one_asset=True),  # the price fields have other names
    "clock_skew": Kind(one_asset=True, value=(30.0, -SECONDS_MAX, SECONDS_MAX)),  # seconds, ahead when positive
    "no_timestamp": Kind(one_asset=True),
    "rest_429": Kind(one_asset=False),
    "rest_500": Kind(one_asset=False),
    "rest_hang": Kind(one_asset=False),  # REST takes a question and says nothing until the fault ends
    "rest_freeze": Kind(one_asset=True),  # REST goes on answering what was true when the fault began
}


class Fault(NamedTuple):
    """An accepted fault; `asset` None is the whole exchange, `ends_at_ns` (monotonic) None is until cleared."""

    id: int
    exchange: str
    asset: str | None
    fault: str
    value: float | None
    ends_at_ns: int | None

    def hits(self, asset: str | None) -> bool:
        return self.asset is None or self.asset == asset


class FaultTable:
    """The active faults. `assets_of` is exchange -> its assets, the only names that are accepted."""

    def __init__(self, assets_of: Mapping[str, frozenset[str]]) -> None:
        self._assets_of = assets_of
        self._faults: list[Fault] = []
        self._ids = itertools.count(1)

    def add(self, request: Any, now_ns: int) -> Fault:
        """Check a decoded JSON request and start its fault; FaultError names what is wrong with it."""
        if not isinstance(request, dict):
            raise FaultError("body", 'must be an object like {"exchange":"kraken","fault":"freeze","seconds":30}')
        unknown = sorted(set(request) - {"exchange", "asset", "fault", "value", "seconds"})
        if unknown:
            raise FaultError(unknown[0], "unknown field; known are exchange, asset, fault, value, seconds")
        exchange = _choice(request, "exchange", self._assets_of)
        name = _choice(request, "fault", KINDS)
        kind = KINDS[name]
        asset = self._asset(request.get("asset"), exchange, name)
        value = _value(request.get("value"), name, kind)
        seconds = _number(request.get("seconds"), "seconds", 0.001, SECONDS_MAX)
        if len(self.active(now_ns)) >= FAULTS_MAX:
            raise FaultError("fault", f"{FAULTS_MAX} faults are active: DELETE /faults first")
        # A disconnect without a time happens once: it is over as soon as it began.
        lasting = 0.0 if seconds is None and name == "disconnect" else seconds
        ends_at_ns = None if lasting is None else now_ns + round(lasting * NS_PER_SECOND)
        fault = Fault(next(self._ids), exchange, asset, name, value, ends_at_ns)
        self._faults.append(fault)
        return fault

    def active(self, now_ns: int) -> list[Fault]:
        """All faults that have not expired, oldest first."""
        if self._faults:
            self._faults = [fault for fault in self._faults if fault.ends_at_ns is None or now_ns < fault.ends_at_ns]
        return self._faults

    def on(self, exchange: str, asset: str | None, now_ns: int) -> list[Fault]:
        """The faults that hit this asset of this exchange; asset None: those of the whole exchange."""
        return [fault for fault in self.active(now_ns) if fault.exchange == exchange and fault.hits(asset)]

    def find(self, exchange: str, asset: str | None, name: str, now_ns: int) -> Fault | None:
        """The newest fault of this name that hits the asset, if any."""
        faults = [fault for fault in self.on(exchange, asset, now_ns) if fault.fault == name]
        return faults[-1] if faults else None

    def clear(self, fault_id: int | None = None) -> int:
        """End one fault or, without an id, all; how many there were."""
        kept = [] if fault_id is None else [fault for fault in self._faults if fault.id != fault_id]
        cleared = len(self._faults) - len(kept)
        self._faults = kept
        return cleared

    def _asset(self, asset: Any, exchange: str, fault: str) -> str | None:
        if asset is None:
            return None
        if not isinstance(asset, str):
            raise FaultError("asset", "must be a string or absent")
        if not KINDS[fault].one_asset:
            raise FaultError("asset", f"{fault} concerns the whole exchange: leave asset out")
        if asset.upper() not in self._assets_of[exchange]:
            raise FaultError("asset", f"{exchange} does not list {asset[:40]!r}")
        return asset.upper()


def distort(quote: SimulatedQuote, faults: list[Fault]) -> SimulatedQuote:
    """The quote as these faults change it, in the order in which they were set."""
    for fault in faults:
        change = _CHANGES.get(fault.fault)
        if change is not None:
            quote = change(quote, 0.0 if fault.value is None else fault.value)
    return quote


def public_view(fault: Fault, now_ns: int) -> dict[str, Any]:
    """A fault as JSON shows it."""
    shown: dict[str, Any] = {"id": fault.id, "exchange": fault.exchange, "asset": fault.asset, "fault": fault.fault}
    shown["value"] = fault.value
    left_ns = None if fault.ends_at_ns is None else max(0, fault.ends_at_ns - now_ns)
    shown["seconds_left"] = None if left_ns is None else round(left_ns / NS_PER_SECOND, 3)
    return shown


def decode_request(body: bytes) -> Any:
    """JSON of a fault request; FaultError when it is none."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FaultError("body", f"is not JSON: {error}") from None


def _choice(request: dict[Any, Any], field: str, known: Mapping[str, Any]) -> str:
    name = request.get(field)
    if not isinstance(name, str) or name not in known:
        shown = "is missing" if name is None else f"{str(name)[:40]!r} is unknown"
        raise FaultError(field, f"{shown}; known are {', '.join(known)}")
    return name


def _value(value: Any, fault: str, kind: Kind) -> float | None:
    if kind.value is None:
        if value is not None:
            raise FaultError("value", f"{fault} takes no value")
        return None
    default, least, most = kind.value
    number = _number(value, "value", least, most)
    return default if number is None else number


def _number(number: Any, field: str, least: float, most: float) -> float | None:
    if number is None:
        return None
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        raise FaultError(field, "must be a number")
    if not least <= number <= most:
        raise FaultError(field, f"{number} is not between {least:g} and {most:g}")
    return float(number)


def _zero_price(quote: SimulatedQuote, _: float) -> SimulatedQuote:
    return quote._replace(bid=0.0, ask=0.0, last=0.0)


def _scale_price(quote: SimulatedQuote, factor: float) -> SimulatedQuote:
    return quote._replace(bid=quote.bid * factor, ask=quote.ask * factor, last=quote.last * factor)


def _cross_book(quote: SimulatedQuote, _: float) -> SimulatedQuote:
    return quote._replace(bid=quote.ask * (1.0 + CROSSING), ask=quote.bid)


def _skew_clock(quote: SimulatedQuote, seconds: float) -> SimulatedQuote:
    return quote if quote.time_ns is None else quote._replace(time_ns=quote.time_ns + round(seconds * NS_PER_SECOND))


def _drop_time(quote: SimulatedQuote, _: float) -> SimulatedQuote:
    return quote._replace(time_ns=None)


def _break_sequence(quote: SimulatedQuote, _: float) -> SimulatedQuote:
    older = _skew_clock(quote, -OUT_OF_ORDER_NS / NS_PER_SECOND) if quote.number % 2 else quote
    return older._replace(sequence_gap=SEQUENCE_JUMP)


def _deform(quote: SimulatedQuote, _: float) -> SimulatedQuote:
    return quote._replace(deformed=True)


_CHANGES: Mapping[str, Callable[[SimulatedQuote, float], SimulatedQuote]] = {
    "zero_price": _zero_price,
    "scale_price": _scale_price,
    "crossed_book": _cross_book,
    "clock_skew": _skew_clock,
    "no_timestamp": _drop_time,
    "bad_sequence": _break_sequence,
    "bad_payload": _deform,
}
