"""The compiled reader of frequent frames against the exchanges' decoders: what it reads, they read exactly so."""

import json
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feeds.exchanges import coinbase, cryptocom, gateio, gemini, kraken, okx
from feeds.exchanges.contract import Event, ExactPrice, Quote
from feeds.exchanges.frequent import NEXT_SEQUENCE, TICKER_DTYPE, make_memory, read_ticker, remember
from feeds.exchanges.registry import EXCHANGE_MODULES
from tests.feeds.exchanges.test_fuzz import RECORDED, SAMPLES, STRANGE, _paths
from trinity.native.octets import Integers, octets_of

pytestmark = pytest.mark.uncompiled
QUIETLY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
SEQUENCE = 6

# The frequent frames of each exchange as documentation and recordings have them; `%s` stands for bid, ask and last.
FREQUENT: dict[str, list[str]] = {
    "coinbase": [
        (
            '{"channel":"ticker","timestamp":"2026-08-09T21:05:48.229198328Z","sequence_num":6,"events":[{"type":"update",'
            '"tickers":[{"type":"ticker","product_id":"BTC-USD","price":"65086.18","volume_24_h":"2867.54532609",'
            '"best_bid":"65083.66","best_ask":"65083.67","best_ask_quantity":"0.24290402"}]}]}'
        ),
    ],
    "gemini": [
        (
            '{"u":1764528738061152,"E":1772616921156491301,"s":"btcusd","b":"71519.37000","B":"0.18358","a":"71519.38000",'
            '"A":"0.0007925"}'
        ),
        (
            '{"u":1764549594389752,"E":1783981140076872200,"s":"xrpgusd","b":"1.0614900","B":"958.69148000",'
            '"a":"1.0615000","A":"38.39060000","c":"1.0612500","C":"4.71027100"}'
        ),
        '{"E":1783981140085684200,"s":"btcrlusd","t":2840141014190422,"p":"62145.38000","q":"0.0162522200","m":true}',
    ],
    "kraken": [
        (
            '{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","bid":70000.1,"bid_qty":0.5,"ask":70000.20,'
            '"ask_qty":1.5e-3,"last":70000.2,"volume":123,"timestamp":"2026-01-02T03:04:05.123456Z"}]}'
        ),
    ],
    "gateio": [
        (
            '{"time":1790134390,"time_ms":1790134390863,"channel":"spot.tickers","event":"update","result":'
            '{"currency_pair":"BTC_USDT","last":"86690.3","lowest_ask":"86691.6","highest_bid":"86690",'
            '"change_percentage":"1.3401"}}'
        ),
    ],
    "cryptocom": [
        (
            '{"id":-1,"method":"subscribe","code":0,"result":{"instrument_name":"BTC_USD","subscription":"ticker.BTC_USD",'
            '"channel":"ticker","data":[{"h":"64531.99","a":"63958.47","c":null,"b":"63962.64","k":"63962.65",'
            '"i":"BTC_USD","t":1782032455141}]}}'
        ),
    ],
    "okx": [
        (
            '{"arg":{"channel":"tickers","instId":"BTC-USDT"},"data":[{"instType":"SPOT","instId":"BTC-USDT",'
            '"last":"70000.2","lastSz":"","askPx":"70000.3","bidPx":"70000.1","ts":"1767323045123"}]}'
        ),
    ],
}
CASES = [(exchange, frame) for exchange, frames in FREQUENT.items() for frame in frames]


def _recorded(exchange: str) -> list[str]:
    frames = []
    for path in sorted((RECORDED / exchange).glob("*.jsonl")):
        records = [json.loads(line) for line in path.read_text().splitlines()]
        frames += [record.get("data", "") for record in records if isinstance(record, dict)]
    return [frame for frame in frames if isinstance(frame, str)]


def read(exchange: str, frame: bytes, memory: Integers | None = None) -> Quote | None:
    """What the compiled reader makes of a frame, in the words of the decoders; before and behind it stand others."""
    octets = octets_of(b'{"' + frame + b'"}')
    ticker = np.zeros(1, dtype=TICKER_DTYPE)[0]
    memory = make_memory() if memory is None else memory
    end = len(frame) + 2
    if not read_ticker(octets, 2, end, EXCHANGE_MODULES[exchange].FREQUENT, memory, ticker):
        return None
    remember(memory, ticker)
    sides = [
        ExactPrice(int(ticker["mantissa"][side]), int(ticker["scale"][side])) if ticker["is_there"][side] else None
        for side in range(3)
    ]
    symbol = octets[ticker["symbol_at"] : ticker["symbol_end"]].tobytes().decode()
    return Quote(symbol, *sides, int(ticker["time_ns"]), bool(ticker["tells_book"]), bool(ticker["tells_last"]))


def check(exchange: str, frame: bytes) -> bool:
    """Whether the compiled reader takes the frame; then the decoder has the same quote and nothing else."""
    for due in (-1, SEQUENCE):
        decoder = EXCHANGE_MODULES[exchange].new_decoder()
        decoder.memory[NEXT_SEQUENCE] = due
        memory = decoder.memory.copy()
        quote = read(exchange, frame, memory)
        events = decoder.on_frame(frame)
        if quote is not None:
            assert events == [quote]
            assert memory[NEXT_SEQUENCE] == decoder.memory[NEXT_SEQUENCE]
    return quote is not None


@pytest.mark.parametrize(("exchange", "frame"), CASES)
def test_a_frequent_frame_is_read(exchange: str, frame: str) -> None:
    """As it is sent, and with its keys in another order; written with spaces it is left to the decoder."""
    assert check(exchange, frame.encode())
    assert check(exchange, json.dumps(json.loads(frame), sort_keys=True, separators=(",", ":")).encode())
    assert not check(exchange, json.dumps(json.loads(frame)).encode())


@pytest.mark.parametrize("exchange", EXCHANGE_MODULES)
def test_the_form_names_all_that_the_decoder_reads(exchange: str) -> None:
    """A key that a decoder reads and the form does not know would be passed over."""
    structs: dict[str, list[type[msgspec.Struct]]] = {
        "coinbase": [coinbase._Frame, coinbase._ChannelEvent, coinbase._Ticker],
        "gemini": [gemini._Frame],
        "kraken": [kraken._Frame, kraken._Ticker],
        "gateio": [gateio._Frame, gateio._Ticker],
        "cryptocom": [cryptocom._Frame, cryptocom._Result, cryptocom._Ticker],
        "okx": [okx._Frame, okx._Argument, okx._Ticker],
    }
    form = EXCHANGE_MODULES[exchange].FREQUENT
    inside = [
        {
            form["texts"][form["bounds"][row] : form["bounds"][row + 1]].tobytes().decode()
            for row in range(form["first"][around], form["last"][around])
        }
        for around in range(int(form["last"].max()))
        if form["last"][around] > form["first"][around]
    ]
    for struct in structs[exchange]:
        names = {field.encode_name for field in msgspec.structs.fields(struct)}
        assert any(names <= keys for keys in inside), names


@pytest.mark.parametrize("exchange", EXCHANGE_MODULES)
@pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded sessions are not on this machine")
def test_recorded_frames_are_read_the_same(exchange: str) -> None:
    """Of any dialect; in the one that the exchange speaks today nearly all tickers are frequent frames."""
    frames = _recorded(exchange)
    assert sum(check(exchange, frame.encode()) for frame in frames) > 0


@st.composite
def mutated(draw: st.DrawFn, exchange: str) -> bytes:
    """A frequent frame, or another one of the exchange, in which something was replaced: as JSON, then as bytes."""
    seed = draw(st.sampled_from(FREQUENT[exchange] * 3 + SAMPLES[exchange]))
    if seed.startswith("{") and draw(st.booleans()):
        tree = {"root": json.loads(seed)}
        for _ in range(draw(st.integers(1, 2))):
            path = draw(st.sampled_from(_paths(tree)))
            parent: Any = tree
            for key in path[:-1]:
                parent = parent[key]
            action = draw(st.sampled_from(("delete", "replace", "double", "wrap")))
            if action == "delete" and len(path) > 1:
                del parent[path[-1]]
            elif action == "double" and isinstance(parent[path[-1]], list):
                parent[path[-1]] = parent[path[-1]] * 2
            elif action == "wrap":
                parent[path[-1]] = [parent[path[-1]]]
            else:
                parent[path[-1]] = deepcopy(draw(st.sampled_from([*STRANGE, "70000.1", 7, 1767323045, "12.50"])))
        seed = json.dumps(tree["root"], separators=(",", ":"))
    frame = bytearray(seed.encode())
    for _ in range(draw(st.integers(0, 2))):
        start = draw(st.integers(0, len(frame)))
        end = min(len(frame), start + draw(st.integers(0, 3)))
        piece = st.sampled_from(
            [b"0", b"9", b".", b"-", b'"', b",", b" ", b"\\", b"e", b"null", b"\xc3\xa9", b"}", b"{"]
        )
        frame[start:end] = draw(piece | st.binary(max_size=2) | st.just(bytes(frame[start:end] * 2)))
    return bytes(frame)


@pytest.mark.parametrize("exchange", EXCHANGE_MODULES)
@settings(QUIETLY, max_examples=200)
@given(st.data())
def test_what_is_read_the_decoder_reads_exactly_so(exchange: str, data: st.DataObject) -> None:
    """Whatever is changed in a frame: the same quote and no other event, or it is left to the decoder."""
    check(exchange, data.draw(mutated(exchange)))


digits = st.text("0123456789", min_size=1, max_size=19)
price_texts = st.one_of(
    digits,
    st.builds("{}.{}".format, digits, digits),
    st.sampled_from(["", "0", "0.0", "1.", ".1", "-1", "1e3", "1..2"]),
)


@settings(QUIETLY, max_examples=200)
@given(bid=price_texts, ask=price_texts, last=price_texts, quoted=st.booleans())
def test_prices_keep_their_digits(bid: str, ask: str, last: str, quoted: bool) -> None:
    """Any digits, with a point or none, as strings and as numbers."""
    mark = '"' if quoted else ""
    prices = f'"bid":{mark}{bid}{mark},"ask":{mark}{ask}{mark},"last":{mark}{last}{mark}'
    time = '"timestamp":"2026-01-02T03:04:05Z"'
    check("kraken", f'{{"channel":"ticker","data":[{{"symbol":"A",{prices},{time}}}]}}'.encode())


@settings(QUIETLY, max_examples=200)
@given(
    bid=st.integers(1, 10**13),
    spread=st.integers(0, 10**11),
    off=st.integers(-400, 400),
    scales=st.tuples(*[st.integers(0, 4)] * 3),
)
def test_a_last_price_at_the_edge_of_its_book(bid: int, spread: int, off: int, scales: tuple[int, int, int]) -> None:
    """Read when it is within the bound, to the last digit; left to the decoder when it is not."""
    ask = bid + spread
    last = (bid if off < 0 else ask) * (10_000 + off) // 10_000
    texts = [f"{price}.{'0' * scale}".rstrip(".") for price, scale in zip((bid, ask, last), scales, strict=True)]
    prices = '"bid":{},"ask":{},"last":{}'.format(*texts)
    time = '"timestamp":"2026-01-02T03:04:05Z"'
    check("kraken", f'{{"channel":"ticker","data":[{{"symbol":"A",{prices},{time}}}]}}'.encode())


moments = st.integers(0, 10**10).map(lambda seconds: datetime(1960, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds))


@settings(QUIETLY, max_examples=200)
@given(moments, st.text("0123456789", max_size=10), st.sampled_from(["Z", "+00:00", "", "z"]))
def test_every_time_of_the_calendar_is_read_the_same(moment: datetime, fraction: str, zone: str) -> None:
    """Of the years that the table holds and around them, with any digits of the second."""
    text = moment.strftime("%Y-%m-%dT%H:%M:%S") + (f".{fraction}" if fraction else "") + zone
    taken = check("kraken", CASES[4][1].replace("2026-01-02T03:04:05.123456Z", text).encode())
    assert taken or zone != "Z" or len(fraction) > 9 or not 1971 <= moment.year <= 2261


@settings(QUIETLY, max_examples=200)
@given(st.one_of(st.integers(0, 10**20), st.integers(0, 19).map(lambda power: 10**power)), st.booleans())
def test_every_integer_time_is_read_the_same(number: int, quoted: bool) -> None:
    """In whatever unit, as a number or a string."""
    text = f'"{number}"' if quoted else f"{number}"
    check("gateio", FREQUENT["gateio"][0].replace("1790134390863", text).encode())


def test_a_gap_in_the_sequence_is_left_to_the_decoder() -> None:
    """The reader goes on where the decoder is, and the decoder where the reader is."""
    frame = FREQUENT["coinbase"][0]
    decoder = coinbase.new_decoder()

    def numbered(number: int) -> bytes:
        return frame.replace('"sequence_num":6', f'"sequence_num":{number}').encode()

    def kinds(events: list[Event]) -> list[str]:
        return [type(event).__name__ for event in events]

    assert read("coinbase", numbered(6), decoder.memory) is not None
    assert kinds(decoder.on_frame(numbered(7))) == ["Quote"]
    assert read("coinbase", numbered(9), decoder.memory) is None
    assert kinds(decoder.on_frame(numbered(9))) == ["Quote", "Refusal", "Reconnect"]
    assert read("coinbase", numbered(10), decoder.memory) is not None
    assert decoder.memory[NEXT_SEQUENCE] == 11
