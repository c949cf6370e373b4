"""Every decoder against random bytes and mutated frames: only declared events come out."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feeds.exchanges.contract import Event, Quote, Reconnect, Refusal, RestRequest
from feeds.exchanges.registry import EXCHANGE_MODULES
from trinity.limits import FRAME_BYTES_MAX
from trinity.memory.price_table import SCALE_MAX
from trinity.vocabulary import RECONNECT_REASONS, REFUSAL_REASONS

RECORDED = Path(__file__).resolve().parents[4] / "shared" / "recorded"
# Longer frames (whole books, lists of all products) only make the mutations rarer.
SEED_BYTES_MAX = 1_500
SEEDS_OF_A_FILE = 40
# A loaded machine is no finding.
FUZZ = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Documented shapes with our own numbers: what is fuzzed where there are no recorded frames.
SAMPLES: dict[str, list[str]] = {
    "coinbase": [
        (
            '{"channel":"ticker","timestamp":"2026-01-02T03:04:05.123456789Z","sequence_num":6,"events":[{"type":"update","tickers":'
            '[{"type":"ticker","product_id":"BTC-USD","price":"70000.18","best_bid":"70000.17","best_ask":"70000.19"}]}]}'
        ),
        '{"channel":"subscriptions","sequence_num":2,"events":[{"subscriptions":{"ticker":["BTC-USD"]}}]}',
        '{"type":"error","message":"Failed to subscribe","reason":"ABC-USD is not a valid product"}',
        '{"ask":"70000.19","bid":"70000.17","price":"70000.18","time":"2026-01-02T03:04:05.123456Z"}',
    ],
    "gemini": [
        '{"u":7,"E":1767323045123456789,"s":"btcusd","b":"70000.17","B":"1","a":"70000.19","A":"1","c":"70000.18"}',
        '{"E":1767323045123456789,"s":"btcusd","t":9,"p":"70000.18","q":"0.01","m":true}',
        '{"id":1,"status":400,"error":{"code":-1013,"msg":"Invalid stream name: abcusd@trade"}}',
        '{"symbol":"BTCUSD","close":"70000.18","bid":"70000.17","ask":"70000.19"}',
    ],
    "kraken": [
        (
            '{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","bid":70000.1,"ask":70000.3,"last":70000.2,'
            '"timestamp":"2026-01-02T03:04:05.123456Z"}]}'
        ),
        '{"method":"subscribe","result":{"channel":"ticker","symbol":"BTC/USD"},"success":true}',
        '{"error":"Currency pair not supported ABC/USD","method":"subscribe","success":false,"symbol":"ABC/USD"}',
        '{"error":[],"result":{"XXBTZUSD":{"a":["70000.3","1"],"b":["70000.1","1"],"c":["70000.2","1"]}}}',
    ],
    "gateio": [
        (
            '{"time":1767323045,"time_ms":1767323045123,"channel":"spot.tickers","event":"update","result":'
            '{"currency_pair":"BTC_USDT","last":"70000.2","lowest_ask":"70000.3","highest_bid":"70000.1"}}'
        ),
        (
            '{"time":1,"id":1,"channel":"spot.tickers","event":"subscribe","error":{"code":2,"message":'
            '"unknown currency pair: ABC_USDT"},"result":{"status":"fail"}}'
        ),
        '[{"currency_pair":"BTC_USDT","last":"70000.2","lowest_ask":"70000.3","highest_bid":"70000.1"}]',
    ],
    "cryptocom": [
        (
            '{"id":1,"method":"subscribe","code":0,"result":{"instrument_name":"BTC_USD","channel":"ticker","data":'
            '[{"i":"BTC_USD","b":"70000.1","k":"70000.3","a":"70000.2","t":1767323045123}]}}'
        ),
        '{"id":1767323045123,"method":"public/heartbeat","code":0}',
        '{"id":1,"method":"subscribe","code":40003,"channel":"ticker.ABC_USD","message":"Unknown symbol"}',
        '{"code":0,"result":{"data":[{"i":"BTC_USD","b":"70000.1","k":"70000.3","a":"70000.2","t":1767323045123}]}}',
    ],
    "okx": [
        (
            '{"arg":{"channel":"tickers","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","last":"70000.2","askPx":"70000.3",'
            '"bidPx":"70000.1","ts":"1767323045123"}]}'
        ),
        '{"event":"subscribe","arg":{"channel":"tickers","instId":"BTC-USDT"}}',
        '{"event":"notice","code":"64008","msg":"The connection will soon be closed."}',
        '{"code":"0","msg":"","data":[{"instId":"BTC-USDT","last":"70000.2","askPx":"70000.3","bidPx":"70000.1","ts":"1"}]}',
    ],
}


def _seeds(exchange: str) -> list[str]:
    """Documented frames, and recorded ones where they are at hand."""
    seeds = list(SAMPLES[exchange])
    for path in sorted((RECORDED / exchange).glob("*.jsonl")):
        records = [json.loads(line) for line in path.read_text().splitlines()]
        texts = [record.get("data", "") for record in records if isinstance(record, dict)]
        seeds += [text for text in texts if text and len(text) <= SEED_BYTES_MAX][:SEEDS_OF_A_FILE]
    return seeds


SEEDS = {exchange: _seeds(exchange) for exchange in EXCHANGE_MODULES}

# What a field may turn into: other types, no-numbers, numbers that no cell holds, numbers that never end.
STRANGE: list[Any] = [
    *(None, True, False, 0, -1, 1.5, 2**63, 10**400, -(10**400), "", "0", "-1", "0.0", " 1", "1e5", "NaN", "Infinity"),
    *(
        "-Infinity",
        "1E+999999999",
        "9" * 19,
        "9" * 5_000,
        "\u0661",
        "\ud800",
        "\x00",
        "1970-01-01T00:00:00Z",
        "a" * 300,
    ),
    *([], {}, [[]], [{}], [None], {"a": {}}, {"": None}, [["1", "2"]], ["ticker"], "ticker", "update", "subscribe"),
]


def _paths(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Ways to every value below `node`."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [way for key, child in children for way in ((*path, key), *_paths(child, (*path, key)))]


@st.composite
def mutated_json(draw: st.DrawFn, exchange: str) -> bytes:
    """A frame with some of its fields deleted, doubled or replaced."""
    tree = {"root": json.loads(_json_text(draw(st.sampled_from(SEEDS[exchange]))))}
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(_paths(tree)))
        parent: Any = tree
        for key in path[:-1]:
            parent = parent[key]
        action = draw(st.sampled_from(("delete", "replace", "nest")))
        if action == "delete" and len(path) > 1:
            del parent[path[-1]]
        elif action == "nest":
            parent[path[-1]] = [parent[path[-1]]]
        else:
            parent[path[-1]] = deepcopy(draw(st.sampled_from(STRANGE)))
    return json.dumps(tree["root"]).encode()


def _json_text(seed: str) -> str:
    try:
        json.loads(seed)
    except ValueError:
        return "{}"  # a text frame, such as a pong
    return seed


@st.composite
def mutated_bytes(draw: st.DrawFn, exchange: str) -> bytes:
    """A frame with some of its bytes replaced, cut out or doubled."""
    frame = bytearray(draw(st.sampled_from(SEEDS[exchange])).encode())
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(frame)))
        end = min(len(frame), start + draw(st.integers(0, 8)))
        frame[start:end] = draw(st.binary(max_size=4) | st.sampled_from((frame[start:end] * 2, b"[" * 2_000, b'"')))
    return bytes(frame)


def check(events: list[Event]) -> None:
    """Only declared events, with declared reasons; prices that the table can hold."""
    for event in events:
        assert isinstance(event, get_args(Event))
        if isinstance(event, Refusal):
            assert event.reason in REFUSAL_REASONS
        elif isinstance(event, Reconnect):
            assert event.reason in RECONNECT_REASONS
        elif isinstance(event, Quote):
            check_quote(event)


def check_quote(quote: Quote) -> None:
    assert quote.symbol
    assert quote.tells_book or quote.tells_last
    assert quote.tells_book or quote.bid is quote.ask is None
    assert quote.tells_last or quote.last is None
    assert quote.exchange_time_ns is None or 0 < quote.exchange_time_ns < 2**63
    for price in (quote.bid, quote.ask, quote.last):
        if price is not None:
            assert 0 < price.mantissa < 10**SCALE_MAX
            assert 0 <= price.scale <= SCALE_MAX


def feed(exchange: str, frames: list[bytes]) -> None:
    """The frames as those of one connection, and each as the answer of a REST request."""
    module = EXCHANGE_MODULES[exchange]
    symbols = {"gemini": "btcusd", "kraken": "BTC/USD", "okx": "BTC-USDT", "coinbase": "BTC-USD", "gateio": "BTC_USDT"}
    symbol = symbols.get(exchange, "BTC_USD")
    decoder = module.new_decoder()
    decoder.subscribe([symbol], 0)
    for frame in frames:
        check(decoder.on_frame(frame))
        for status in (200, 400):
            check(module.on_rest(RestRequest("/", (symbol,)), status, frame))
        check(module.on_rest(RestRequest("/", (symbol, "ABC")), 200, frame))


@pytest.mark.parametrize("exchange", EXCHANGE_MODULES)
@settings(FUZZ, max_examples=100)
@given(st.data())
def test_random_bytes_give_only_declared_events(exchange: str, data: st.DataObject) -> None:
    """Whatever a peer sends, nothing is raised and no price is invented."""
    feed(exchange, data.draw(st.lists(st.binary(max_size=200) | st.text(max_size=50).map(str.encode), max_size=4)))


@pytest.mark.parametrize("exchange", EXCHANGE_MODULES)
@settings(FUZZ, max_examples=250)
@given(st.data())
def test_mutated_fields_give_only_declared_events(exchange: str, data: st.DataObject) -> None:
    """Deleted keys, swapped types and huge numbers end in refusals."""
    feed(exchange, data.draw(st.lists(mutated_json(exchange), min_size=1, max_size=4)))


@pytest.mark.parametrize("exchange", EXCHANGE_MODULES)
@settings(FUZZ, max_examples=200)
@given(st.data())
def test_mutated_bytes_give_only_declared_events(exchange: str, data: st.DataObject) -> None:
    """Cut, doubled and flipped bytes end in refusals."""
    feed(exchange, data.draw(st.lists(mutated_bytes(exchange), min_size=1, max_size=4)))


@pytest.mark.parametrize("exchange", EXCHANGE_MODULES)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_frame_beyond_the_bound_is_refused_unread(exchange: str, seed: int) -> None:
    """Even when it is well-formed."""
    frame = SAMPLES[exchange][seed].encode() + b" " * FRAME_BYTES_MAX
    (event,) = EXCHANGE_MODULES[exchange].new_decoder().on_frame(frame)
    assert isinstance(event, Refusal)
    assert event.reason == "too_large"


@pytest.mark.parametrize("exchange", EXCHANGE_MODULES)
@pytest.mark.parametrize("opening", [b"[", b'{"data":[', b'{"result":', b'{"events":[{"tickers":['])
def test_a_deeply_nested_frame_is_refused(exchange: str, opening: bytes) -> None:
    """Nesting ends in a refusal, not in the interpreter's recursion limit."""
    frame = opening * 10_000
    (event,) = EXCHANGE_MODULES[exchange].new_decoder().on_frame(frame)
    assert isinstance(event, Refusal)
    assert event.reason in ("not_json", "unknown_shape")
