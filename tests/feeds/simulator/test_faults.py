"""Faults: what is accepted, for how long they hold, and what they do to a quote."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feeds.simulator.faults import (
    FAULTS_MAX,
    KINDS,
    FaultError,
    FaultTable,
    decode_request,
    distort,
    public_view,
)
from feeds.simulator.market import NS_PER_SECOND, MarketRow, SimulatedQuote

ASSETS_OF = {"kraken": frozenset({"BTC", "ETH"}), "okx": frozenset({"BTC"})}
FIELDS = ("exchange", "asset", "fault", "value", "seconds")
ROW = MarketRow(0, "kraken", "BTC", "USD", "BTC/USD", 1)
QUOTE = SimulatedQuote(ROW, 6, 100.0, 101.0, 100.5, 1_790_000_000 * NS_PER_SECOND, True)


def _table() -> FaultTable:
    return FaultTable(ASSETS_OF)


def _distorted(name: str, **fields: Any) -> SimulatedQuote:
    table = _table()
    table.add({"exchange": "kraken", "fault": name, **fields}, 0)
    return distort(QUOTE, table.on("kraken", "BTC", 1))


def test_a_fault_holds_for_its_time_and_its_asset_only() -> None:
    """A fault of one asset hits that asset of that exchange, until its seconds are over."""
    table = _table()
    table.add({"exchange": "kraken", "asset": "btc", "fault": "scale_price", "value": 1.1, "seconds": 30}, 0)
    assert table.find("kraken", "BTC", "scale_price", 29 * NS_PER_SECOND)
    assert not table.find("kraken", "ETH", "scale_price", 0)
    assert not table.find("okx", "BTC", "scale_price", 0)
    assert not table.find("kraken", None, "scale_price", 0)
    assert not table.find("kraken", "BTC", "scale_price", 30 * NS_PER_SECOND)


def test_a_fault_without_an_asset_hits_every_asset_and_without_seconds_lasts() -> None:
    """Leaving asset out means the whole exchange; leaving seconds out means until it is cleared."""
    table = _table()
    table.add({"exchange": "kraken", "fault": "freeze"}, 0)
    assert table.find("kraken", "ETH", "freeze", 10**18)
    assert table.clear() == 1
    assert not table.on("kraken", "ETH", 0)


def test_a_disconnect_without_seconds_is_over_at_once() -> None:
    """Sockets are closed once; with seconds they are closed again and again."""
    table = _table()
    table.add({"exchange": "kraken", "fault": "disconnect"}, 5)
    assert table.active(5) == []
    table.add({"exchange": "kraken", "fault": "disconnect", "seconds": 1}, 5)
    assert len(table.active(6)) == 1


def test_faults_are_cleared_one_by_one_or_all() -> None:
    """Clearing by id ends that fault alone; an id that is not active ends nothing."""
    table = _table()
    first, _ = (table.add({"exchange": name, "fault": "freeze"}, 0) for name in ("kraken", "okx"))
    assert table.clear(99) == 0
    assert table.clear(first.id) == 1
    assert [fault.exchange for fault in table.active(0)] == ["okx"]


def test_a_fault_is_shown_with_the_time_that_is_left() -> None:
    """The view has every field that was asked for, the default value and the seconds left."""
    fault = _table().add({"exchange": "kraken", "fault": "scale_price", "seconds": 30}, 0)
    shown = public_view(fault, 10 * NS_PER_SECOND)
    assert shown == {
        "id": 1, "exchange": "kraken", "asset": None, "fault": "scale_price", "value": 1.1, "seconds_left": 20.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("request_body", "field"),
    [
        ([], "body"),
        ({}, "exchange"),
        ({"exchange": "mtgox", "fault": "freeze"}, "exchange"),
        ({"exchange": "kraken"}, "fault"),
        ({"exchange": "kraken", "fault": ["freeze"]}, "fault"),
        ({"exchange": "kraken", "fault": "melt"}, "fault"),
        ({"exchange": "okx", "fault": "freeze", "asset": "ETH"}, "asset"),
        ({"exchange": "kraken", "fault": "freeze", "asset": 7}, "asset"),
        ({"exchange": "kraken", "fault": "refuse", "asset": "BTC"}, "asset"),
        ({"exchange": "kraken", "fault": "scale_price", "value": 0}, "value"),
        ({"exchange": "kraken", "fault": "scale_price", "value": True}, "value"),
        ({"exchange": "kraken", "fault": "scale_price", "value": "1.1"}, "value"),
        ({"exchange": "kraken", "fault": "freeze", "value": 1}, "value"),
        ({"exchange": "kraken", "fault": "freeze", "seconds": 0}, "seconds"),
        ({"exchange": "kraken", "fault": "freeze", "seconds": -1}, "seconds"),
        ({"exchange": "kraken", "fault": "freeze", "for": 1}, "for"),
    ],
)
def test_a_wrong_request_names_its_field(request_body: Any, field: str) -> None:
    """Each mistake is refused with the field that holds it, and no fault is set."""
    table = _table()
    with pytest.raises(FaultError) as caught:
        table.add(request_body, 0)
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: ")
    assert table.active(0) == []


def test_a_body_that_is_not_json_is_a_fault_error() -> None:
    """Decoding refuses with the same kind of error."""
    for body in (b"", b"{", b"\xff"):
        with pytest.raises(FaultError):
            decode_request(body)


def test_there_is_a_bound_on_active_faults() -> None:
    """A runaway script is refused instead of filling the memory."""
    table = _table()
    for _ in range(FAULTS_MAX):
        table.add({"exchange": "kraken", "fault": "freeze"}, 0)
    with pytest.raises(FaultError):
        table.add({"exchange": "kraken", "fault": "freeze"}, 0)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
_requests = st.fixed_dictionaries(
    {},
    optional={
        "exchange": st.sampled_from(["kraken", "okx"]) | _json,
        "asset": st.sampled_from(["BTC", "eth", None]) | _json,
        "fault": st.sampled_from(sorted(KINDS)) | _json,
        "value": st.floats() | _json,
        "seconds": st.floats() | _json,
        "other": _json,
    },
)


@settings(max_examples=300, deadline=None)
@given(_requests | _json)
def test_any_request_is_either_a_sane_fault_or_refused(request_body: Any) -> None:
    """Whatever is posted, the only error is FaultError, and what is accepted is in range and does not raise."""
    table = _table()
    refused_field = None
    try:
        fault = table.add(request_body, 7)
    except FaultError as error:
        refused_field = error.field
    if refused_field is not None:
        assert refused_field in (*FIELDS, "body") or refused_field in request_body
        return
    assert fault.exchange in ASSETS_OF
    assert fault.asset is None or fault.asset in ASSETS_OF[fault.exchange]
    assert fault.ends_at_ns is None or fault.ends_at_ns >= 7
    changed = distort(QUOTE, [fault])
    assert changed.bid >= 0.0
    assert public_view(fault, 8)["fault"] == fault.fault


def test_price_faults_change_all_prices() -> None:
    """zero_price, scale_price and crossed_book do what their names say."""
    zero = _distorted("zero_price")
    assert (zero.bid, zero.ask, zero.last) == (0.0, 0.0, 0.0)
    scaled = _distorted("scale_price", value=0.5)
    assert (scaled.bid, scaled.ask, scaled.last) == (50.0, 50.5, 50.25)
    crossed = _distorted("crossed_book")
    assert crossed.bid > crossed.ask


def test_time_faults_change_the_time_only() -> None:
    """clock_skew moves the exchange's time by its seconds, no_timestamp takes it away."""
    assert QUOTE.time_ns is not None
    assert _distorted("clock_skew", value=-12.5).time_ns == QUOTE.time_ns - 12_500_000_000
    assert _distorted("no_timestamp").time_ns is None
    assert _distorted("no_timestamp").bid == QUOTE.bid


def test_shape_faults_mark_the_quote() -> None:
    """bad_payload and bad_sequence leave the prices and mark the quote for whoever builds the frame."""
    assert _distorted("bad_payload") == QUOTE._replace(deformed=True)
    assert _distorted("bad_sequence") == QUOTE._replace(sequence_gap=7)


def test_bad_sequence_turns_times_back() -> None:
    """Where an exchange has no sequence number, every second quote is older than the one before it."""
    table = _table()
    table.add({"exchange": "kraken", "fault": "bad_sequence"}, 0)
    odd = distort(QUOTE._replace(number=7), table.on("kraken", "BTC", 1))
    assert QUOTE.time_ns is not None
    assert odd.time_ns is not None
    assert odd.time_ns < QUOTE.time_ns


def test_faults_add_up() -> None:
    """Two faults at once are both seen, in the order in which they were set."""
    table = _table()
    table.add({"exchange": "kraken", "fault": "scale_price", "value": 2}, 0)
    table.add({"exchange": "kraken", "asset": "BTC", "fault": "no_timestamp"}, 0)
    changed = distort(QUOTE, table.on("kraken", "BTC", 1))
    assert (changed.bid, changed.time_ns) == (200.0, None)
