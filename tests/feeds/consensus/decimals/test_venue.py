"""feeds/consensus/decimals/venue.py"""

from decimal import Decimal
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeds.consensus.decimals.venue import VenuePrice, judge_quote, phase_at
from feeds.exchanges import coinbase, cryptocom, gateio, gemini, kraken, okx
from feeds.exchanges.contract import Quote
from tests.feeds.consensus.cases import RULES
from tests.support.quotes import HasQuote
from trinity.clock import NS_PER_MS, NS_PER_SECOND
from trinity.memory.price_table import Side, StoredQuote, Via

MAX_AGE_NS = RULES.max_age_ms * NS_PER_MS
BASE_NS = 1_000 * NS_PER_SECOND
BASE_WALL_NS = 1_790_000_000 * NS_PER_SECOND
SECOND = NS_PER_SECOND


def side(price: str, age_seconds: float = 0, behind_seconds: float | None = 0) -> Side:
    """A side that came `age_seconds` before BASE_NS, and was then `behind_seconds` old by the exchange's clock."""
    back_ns = int(age_seconds * NS_PER_SECOND)
    wall_ns = BASE_WALL_NS - back_ns
    own_ns = wall_ns - int(behind_seconds * NS_PER_SECOND) if behind_seconds is not None else None
    return Side(Decimal(price), own_ns, BASE_NS - back_ns, wall_ns)


def phases_of(quote: StoredQuote) -> list[VenuePrice]:
    found: list[VenuePrice] = []
    phase: VenuePrice | None = judge_quote(quote, RULES)
    while phase is not None:
        found.append(phase)
        phase = phase.later
    return found


def test_each_side_ages_by_itself() -> None:
    """First the trade, then the book is too old: the median, the mid, and nothing."""
    quote = StoredQuote(side("100", 1), side("101", 1), side("100.8", 4), Via.WS)
    venue = judge_quote(quote, RULES)
    assert phase_at(venue, BASE_NS).price == Decimal("100.8")
    assert phase_at(venue, BASE_NS - 4 * SECOND + MAX_AGE_NS).price == Decimal("100.8")
    mid = phase_at(venue, BASE_NS - 4 * SECOND + MAX_AGE_NS + 1)
    assert (mid.price, mid.last, mid.left_out) == (Decimal("100.5"), None, (("last", "stale"),))
    end = phase_at(venue, BASE_NS + MAX_AGE_NS)
    assert end is mid
    assert (end.fresh_until_ns, end.late_reason) == (BASE_NS - SECOND + MAX_AGE_NS, "stale")


def test_bid_and_ask_age_each() -> None:
    """A book is whole or none: with one side too old, the last price speaks alone."""
    quote = StoredQuote(side("100", 5), side("101"), side("100.8"), Via.WS)
    venue = judge_quote(quote, RULES)
    assert venue.price == Decimal("100.8")
    later = phase_at(venue, BASE_NS - 5 * SECOND + MAX_AGE_NS + 1)
    assert (later.bid, later.price, later.half_width) == (None, Decimal("100.8"), Decimal("0.1008"))
    alone = judge_quote(StoredQuote(side("100", 5), side("101"), None, Via.WS), RULES)
    assert phase_at(alone, BASE_NS - 5 * SECOND + MAX_AGE_NS + 1).refusal == "stale"


def test_a_side_is_too_old_by_the_exchanges_own_time_too() -> None:
    """A trade of an hour ago that arrives now does not count, beside a book and alone."""
    old = side("70000", behind_seconds=3600)
    venue = phase_at(judge_quote(StoredQuote(side("60000"), side("60001"), old, Via.WS), RULES), BASE_NS)
    assert (venue.price, venue.left_out) == (Decimal("60000.5"), (("last", "stale_exchange_time"),))
    alone = phase_at(judge_quote(StoredQuote(None, None, old, Via.WS), RULES), BASE_NS)
    assert alone.fresh_until_ns < BASE_NS
    assert alone.late_reason == "stale_exchange_time"


def test_a_side_from_the_future_is_left_out_alone() -> None:
    """The others go on; when all are, so is the quote."""
    ahead = side("70000", behind_seconds=-3600)
    venue = judge_quote(StoredQuote(side("60000"), side("60001"), ahead, Via.WS), RULES)
    assert (venue.price, venue.left_out) == (Decimal("60000.5"), (("last", "future_exchange_time"),))
    assert judge_quote(StoredQuote(None, None, ahead, Via.WS), RULES).refusal == "future_exchange_time"


def test_a_last_price_far_outside_its_book_does_not_count() -> None:
    """The book stays, and the reason stands beside it; a last price alone has no book to be outside of."""
    book = (side("68504"), side("68509"))
    venue = judge_quote(StoredQuote(*book, side("71312.30"), Via.REST), RULES)
    assert (venue.price, venue.refusal, venue.last) == (Decimal("68506.5"), None, None)
    assert venue.left_out == (("last", "last_off_book"),)
    assert judge_quote(StoredQuote(None, None, side("71312.30"), Via.REST), RULES).price == Decimal("71312.30")


def test_one_side_alone_is_no_price() -> None:
    """Told by its own reason; nothing at all is no quote."""
    assert judge_quote(StoredQuote(side("100"), None, None, Via.WS), RULES).refusal == "one_sided_book"
    assert judge_quote(StoredQuote(side("100"), None, side("99"), Via.WS), RULES).price == Decimal(99)
    assert judge_quote(StoredQuote(None, None, None, Via.WS), RULES).refusal == "no_quote"


def test_the_receipt_is_that_of_the_side_that_is_the_price() -> None:
    """A fresh trade does not make an old book young, where the price is the book's."""
    bid, ask = side("100", 6), side("101", 6)
    assert judge_quote(StoredQuote(bid, ask, side("100.5"), Via.WS), RULES).received_at_ns == BASE_NS
    assert judge_quote(StoredQuote(bid, ask, side("101.2"), Via.WS), RULES).received_at_ns == BASE_NS - 6 * SECOND
    assert judge_quote(StoredQuote(bid, side("101"), None, Via.WS), RULES).received_at_ns == BASE_NS - 6 * SECOND


SIDES = st.none() | st.builds(
    side,
    st.sampled_from(["100", "100.2", "100.4", "101", "110"]),
    st.floats(0, 40),
    st.none() | st.floats(-30, 60),
)


@given(SIDES, SIDES, SIDES, st.floats(0, 60))
def test_nothing_older_than_its_limit_counts(
    bid: Side | None, ask: Side | None, last: Side | None, later: float
) -> None:
    """At any moment every price that counts is fresh by receipt, and lies within the sides that do."""
    now_ns = BASE_NS + int(later * NS_PER_SECOND)
    venue = phase_at(judge_quote(StoredQuote(bid, ask, last, Via.WS), RULES), now_ns)
    if venue.price is None or now_ns > venue.fresh_until_ns:
        return
    counted = [venue.bid, venue.ask, venue.last]
    for price, came in zip(counted, (bid, ask, last), strict=True):
        if price is not None:
            assert came is not None
            assert price == came.price
            assert now_ns - came.received_at_ns <= MAX_AGE_NS
    assert min(p for p in counted if p is not None) <= venue.price <= max(p for p in counted if p is not None)
    assert now_ns - venue.received_at_ns <= MAX_AGE_NS


@given(SIDES, SIDES, SIDES)
def test_phases_end_one_after_the_other(bid: Side | None, ask: Side | None, last: Side | None) -> None:
    """Each later one is longer and knows fewer sides; there are at most three."""
    phases = phases_of(StoredQuote(bid, ask, last, Via.WS))
    assert 1 <= len(phases) <= 3
    ends = [phase.fresh_until_ns for phase in phases]
    assert ends == sorted(set(ends))


def gemini_frames(trade_wall_ns: int, book_wall_ns: int) -> list[bytes]:
    return [
        b'{"E":%d,"s":"btcusd","t":9,"p":"60000","q":"0.01","m":true}' % trade_wall_ns,
        b'{"u":7,"E":%d,"s":"btcusd","b":"","B":"0","a":"70000.19","A":"0.2"}' % book_wall_ns,
    ]


def test_geminis_trade_of_an_hour_ago_is_no_price_of_now() -> None:
    """The trade came an hour ago, or comes now with its old time; then a book ticker with an empty bid."""
    for gap_ns in (0, 3600 * SECOND):
        has, decoder = HasQuote(MAX_AGE_NS), gemini.new_decoder()
        moments = (BASE_NS - gap_ns, BASE_NS)
        frames = gemini_frames(BASE_WALL_NS - 3600 * SECOND, BASE_WALL_NS)
        for frame, at_ns in zip(frames, moments, strict=True):
            (event,) = decoder.on_frame(frame)
            assert isinstance(event, Quote)
            has.take(event, at_ns, BASE_WALL_NS - (BASE_NS - at_ns))
        venue = phase_at(judge_quote(has.stored, RULES), BASE_NS)
        assert venue.refusal is not None or venue.fresh_until_ns < BASE_NS


FRAMES: dict[str, tuple[ModuleType, str]] = {
    "coinbase": (
        coinbase,
        '{"channel":"ticker","events":[{"tickers":[{"product_id":"A","price":%s,"best_bid":%s,"best_ask":%s}]}]}',
    ),
    "kraken": (kraken, '{"channel":"ticker","data":[{"symbol":"A","last":%s,"bid":%s,"ask":%s}]}'),
    "gateio": (
        gateio,
        (
            '{"channel":"spot.tickers","event":"update",'
            '"result":{"currency_pair":"A","last":%s,"highest_bid":%s,"lowest_ask":%s}}'
        ),
    ),
    "cryptocom": (
        cryptocom,
        (
            '{"id":-1,"method":"subscribe","code":0,"result":{"channel":"ticker","instrument_name":"A",'
            '"data":[{"a":%s,"b":%s,"k":%s}]}}'
        ),
    ),
    "okx": (
        okx,
        '{"arg":{"channel":"tickers","instId":"A"},"data":[{"instId":"A","last":%s,"bidPx":%s,"askPx":%s}]}',
    ),
    "gemini": (gemini, '{"u":1,"s":"A","c":%s,"b":%s,"a":%s}'),
}


def told_by(quote: Quote) -> tuple[str, Decimal | None, Decimal | None, Decimal | None]:
    bid, ask, last = (price and price.decimal for price in (quote.bid, quote.ask, quote.last))
    return quote.symbol, bid, ask, last


@pytest.mark.parametrize("name", FRAMES)
def test_a_dead_last_price_stops_no_book(name: str) -> None:
    """In every decoder: the book goes on, and the refusal says what and of which symbol."""
    module, frame = FRAMES[name]
    quote, refused = module.new_decoder().on_frame((frame % ('"71312.3"', '"6.8504e4"', '"68509"')).encode())
    assert told_by(quote) == ("A", Decimal(68504), Decimal(68509), None)
    assert (refused.reason, refused.symbol) == ("last_off_book", "A")


@pytest.mark.parametrize("name", FRAMES)
def test_an_empty_side_is_gone_and_the_other_stays(name: str) -> None:
    """In every decoder: no bid, and neither zero nor the old one."""
    module, frame = FRAMES[name]
    (quote,) = module.new_decoder().on_frame((frame % ('"1.5e-7"', '""', '"1.6E-7"')).encode())
    assert told_by(quote) == ("A", None, Decimal("0.00000016"), Decimal("0.00000015"))
