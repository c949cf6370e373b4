"""Answer records: the bytes parsed back by foreign parsers say what the numbers say."""

import json
from decimal import Decimal

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feeds.consensus.decimals.render import (
    Labels,
    LastGood,
    last_good_of,
    price_text,
    render_consensus,
    render_nothing,
    render_venue,
)
from feeds.consensus.decimals.rules import ConsensusState, evaluate
from feeds.consensus.decimals.venue import judge_quote
from tests.feeds.consensus.cases import EXCHANGES, NOW_NS, RULES, WALL_NS, decide, quote_of, source_of
from trinity.clock import NS_PER_MS
from trinity.memory.answer_table import ANSWER_DTYPE, BODY_BYTES, HEAD_BYTES, AnswerState

SIX = ["71000", "71005", "70998", "71003", "71010", "71002"]
D = Decimal
LABELS = Labels("BTC", "kraken", "USD", simulated=False)


def body_of(record: np.ndarray) -> bytes:
    return bytes(record["body"][0][: int(record["body_length"][0])])


def head_of(record: np.ndarray) -> bytes:
    return bytes(record["head"][0][: int(record["head_length"][0])])


def scaled(record: np.ndarray, field: str) -> Decimal:
    return D(int(record[field][0])).scaleb(-int(record["scale"][0]))


def test_a_consensus_answer_has_the_promised_fields_and_no_space() -> None:
    """The body of the six known prices, byte for byte."""
    prices = [*SIX[:5], "75000"]
    old = quote_of("71003", at_ns=NOW_NS - 3000 * NS_PER_MS)  # the median
    sources = [source_of(i, old if price == "71003" else quote_of(price)) for i, price in enumerate(prices)]
    decision, _ = evaluate(sources, RULES, {}, ConsensusState(), NOW_NS)
    record, _ = render_consensus("BTC", decision, EXCHANGES, RULES.min_sources, None)

    assert body_of(record).decode() == (
        '{"asset":"BTC","price":71003,"currency":"USD","confidence":4,"sources":5,"rejected":1,"source":"consensus",'
        f'"timestamp":{WALL_NS // NS_PER_MS - 3000},"newest_timestamp":{WALL_NS // NS_PER_MS},"status":"fresh",'
        '"disagreement_bps":563.638,"exchanges":["coinbase","gemini","kraken","gateio","cryptocom"]}'
    )
    assert int(record["received_at_ns"][0]) == NOW_NS - 3000 * NS_PER_MS
    assert int(record["timestamp_ms"][0]) == WALL_NS // NS_PER_MS - 3000


def test_the_head_is_complete_but_for_what_changes_with_the_request() -> None:
    """Status line and headers, each with its CRLF, the true length, no blank line."""
    decision, _ = decide(SIX)
    record, _ = render_consensus("BTC", decision, EXCHANGES, RULES.min_sources, None)
    head = head_of(record)

    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 200 OK"
    assert lines[-1] == b""
    assert b"\r\n\r\n" not in head
    assert f"Content-Length: {len(body_of(record))}".encode() in lines
    assert {line.partition(b":")[0] for line in lines[1:-1]} == {
        b"Content-Type",
        b"Cache-Control",
        b"Access-Control-Allow-Origin",
        b"Content-Length",
    }


def test_an_exchanges_answer_has_the_prices_that_it_sent() -> None:
    """Only those present, in its own currency, with how it came and whether it is simulated."""
    quote = quote_of("71000.10", "71000.30", "71000.2")
    venue = judge_quote(quote, RULES)
    labels = Labels("BTC", "gateio", "USDT", simulated=True)

    record, last = render_venue(labels, quote.via, venue, AnswerState.GOOD, None)

    assert json.loads(body_of(record)) == {
        "asset": "BTC",
        "price": 71000.2,
        "currency": "USDT",
        "bid": 71000.1,
        "ask": 71000.3,
        "last": 71000.2,
        "source": "gateio",
        "simulated": True,
        "via": "ws",
        "timestamp": WALL_NS // NS_PER_MS,
        "status": "fresh",
    }
    assert last is not None
    assert last.price == D("71000.2")
    assert scaled(record, "confidence") == D("0.1")
    assert int(record["valid_until_ns"][0]) == NOW_NS + RULES.max_age_ms * NS_PER_MS + 1


def test_absent_prices_are_absent() -> None:
    """A row with a last price only shows no bid, no ask and no mark of simulation."""
    quote = quote_of(None, None, "5.5")
    record, _ = render_venue(LABELS, quote.via, judge_quote(quote, RULES), AnswerState.GOOD, None)

    assert set(json.loads(body_of(record))) == {
        "asset", "price", "currency", "last", "source", "via", "timestamp", "status",
    }  # fmt: skip


@pytest.mark.parametrize("state", [state for state in AnswerState if state is not AnswerState.GOOD])
def test_a_price_that_cannot_be_given_keeps_the_last_good_one(state: AnswerState) -> None:
    """No head, no body, nothing valid; price, text and times of the last good answer stay for the error."""
    decision, _ = decide(SIX)
    _, last = render_consensus("BTC", decision, EXCHANGES, RULES.min_sources, None)
    bad, _ = decide(["71000", "75000", "80000"])
    assert len(bad.used) == 3

    record, after = render_consensus("BTC", bad._replace(state=state), EXCHANGES, RULES.min_sources, last)

    assert (head_of(record), body_of(record), int(record["valid_until_ns"][0])) == (b"", b"", 0)
    assert int(record["state"][0]) == state
    assert (int(record["sources"][0]), int(record["voters"][0])) == (0, 3)
    assert int(record["majority"][0]) == (2 if state is AnswerState.SOURCES_DISAGREE else 0)
    assert last_good_of(record) == last == after
    assert last is not None
    assert last.text == b"71002.5"


def test_a_row_that_never_had_a_price_says_so() -> None:
    """No last good price is not a last price of zero."""
    record, last = render_nothing(AnswerState.NOT_LISTED, None)

    assert last is None
    assert last_good_of(record) is None
    assert int(record["has_last_good"][0]) == 0


def test_the_longest_answer_fits() -> None:
    """18-digit prices, six marked exchanges and the longest asset name stay within the record's fields."""
    names = [f"simulated:{name}" for name in EXCHANGES]
    decision, _ = decide([f"0.{i}23456789012345678" for i in [1] * 6])
    long = decision._replace(
        disagreement_milli_bps=2**62, received_wall_ns=2**63 - 1, newest_received_wall_ns=2**63 - 1
    )

    record, _ = render_consensus("A" * 16, long, names, 6, None)

    assert len(body_of(record)) < BODY_BYTES
    assert len(head_of(record)) < HEAD_BYTES
    assert json.loads(body_of(record))["sources"] == 6


prices = st.builds(lambda digits, scale: D(digits).scaleb(-scale), st.integers(1, 10**17 - 1), st.integers(0, 17))


@given(price=prices)
def test_a_price_is_plain_digits(price: Decimal) -> None:
    """Never an exponent, never a trailing zero behind the point, and the same number."""
    text = price_text(price)

    assert set(text) <= set("0123456789.")
    assert D(text) == price
    assert "." not in text or text[-1] not in "0."


@settings(max_examples=150)
@given(
    price=prices,
    spreads=st.lists(st.integers(0, 40), min_size=3, max_size=6),
    index=st.one_of(st.none(), st.integers(970_000_000_000, 1_030_000_000_000)),
)
def test_the_body_says_what_the_record_says(price: Decimal, spreads: list[int], index: int | None) -> None:
    """Price and confidence of the JSON, by two parsers, are mantissa and scale of the record; both fit 64 bits."""
    quotes = []
    for spread in spreads:
        ask = price + (price * spread / 100_000).quantize(D(1).scaleb(-max(0, 16 - price.adjusted())))
        quotes.append(quote_of(price, ask))
    indexes = {"USDT": D(index).scaleb(-12)} if index is not None else {}
    sources = [source_of(i, quote, "USDT" if indexes and i % 3 == 0 else "USD") for i, quote in enumerate(quotes)]
    rules = msgspec.structs.replace(RULES, min_sources=1)

    decision, _ = evaluate(sources, rules, indexes, ConsensusState(), NOW_NS)
    record, last = render_consensus("BTC", decision, EXCHANGES, 1, None)

    if decision.price is None:
        assert body_of(record) == b""
        return
    parsed = json.loads(body_of(record), parse_float=D, parse_int=D)
    assert msgspec.json.decode(body_of(record))["sources"] == int(record["sources"][0]) == len(decision.used)
    assert parsed["price"] == scaled(record, "price") == decision.price
    assert parsed["confidence"] == scaled(record, "confidence") == decision.confidence
    assert parsed["disagreement_bps"] * 1000 == int(record["disagreement_milli_bps"][0])
    assert parsed["rejected"] == int(record["rejected"][0])
    assert isinstance(last, LastGood)
    assert last_good_of(record) == last
    assert D(last.text.decode()) == last.price == decision.price


def test_the_record_has_the_tables_layout() -> None:
    """One record of ANSWER_DTYPE, writable, as the table publishes it."""
    record, _ = render_nothing(AnswerState.EMPTY, None)

    assert record.dtype == ANSWER_DTYPE
    assert record.shape == (1,)
    assert record.flags.writeable
