"""Simulated OKX: WebSocket v5 and REST."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from feeds.simulator.market import Instant
from feeds.simulator.venue import CloseSocket

At = Callable[[float], Instant]


def _subscribe(*instruments: str, channel: str = "tickers") -> str:
    args = [{"channel": channel, "instId": instrument} for instrument in instruments]
    return json.dumps({"id": "1512", "op": "subscribe", "args": args})


async def test_an_acknowledgement_an_argument_then_data(running: Any) -> None:
    """Each argument is acknowledged with the id and followed by its first ticker; ping is text."""
    async with await running.connect("/okx/ws/v5/public") as socket:
        await socket.send("ping")
        assert await socket.recv() == "pong"
        await socket.send(_subscribe("BTC-USDT", "ETH-USDT"))
        frames = [json.loads(await socket.recv()) for _ in range(4)]
    assert [frame.get("event") for frame in frames] == ["subscribe", None, "subscribe", None]
    assert frames[0]["arg"] == frames[1]["arg"] == {"channel": "tickers", "instId": "BTC-USDT"}
    assert frames[0]["id"] == "1512"
    ticker = frames[1]["data"][0]
    assert float(ticker["bidPx"]) <= float(ticker["last"]) <= float(ticker["askPx"])
    assert ticker["ts"].isdigit()
    assert all(isinstance(value, str) for value in ticker.values())


@pytest.mark.parametrize(
    ("channel", "fields"), [("bbo-tbt", {"asks", "bids", "ts", "seqId"}), ("trades", {"px", "ts"})]
)
async def test_the_other_channels_flow_too(running: Any, find_frame: Any, channel: str, fields: set[str]) -> None:
    """bbo-tbt carries the best offers as lists, trades the trades."""
    async with await running.connect("/okx/ws/v5/public") as socket:
        await socket.send(_subscribe("BTC-USDT", channel=channel))
        for _ in range(2):
            frame = await find_frame(socket, lambda one: "data" in one)
            assert frame["arg"] == {"channel": channel, "instId": "BTC-USDT"}
            assert fields <= set(frame["data"][0])


@pytest.mark.parametrize("argument", [("NO-USDT", "tickers"), ("BTC-USDT", "candle1m")])
def test_a_bad_argument_is_refused_alone(make_bench: Any, frames_of: Any, at: At, argument: tuple[str, str]) -> None:
    """The recorded sentence of 60018 with the argument's own words."""
    instrument, channel = argument
    frame = frames_of(make_bench("okx").open().on_text(_subscribe(instrument, channel=channel), at(0)))[0]
    assert (frame["event"], frame["code"]) == ("error", "60018")
    assert frame["msg"].startswith(
        f"Subscribe failed, wrong URL or channel:{channel},instId:{instrument} doesn't exist."
    )


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("hello", "60012"),
        ('{"op":"subscribe","argss":[]}', "60012"),
        ('{"op":"dance","args":[]}', "60012"),
        (_subscribe(*["BTC-USDT"] * 2000), "60013"),
    ],
)
def test_invalid_requests_have_their_codes(make_bench: Any, frames_of: Any, at: At, text: str, code: str) -> None:
    """60012 for what is no request, 60013 for arguments above 64 KB."""
    assert frames_of(make_bench("okx").open().on_text(text, at(0)))[0]["code"] == code


def test_the_481st_subscription_of_an_hour_is_too_frequent(make_bench: Any, frames_of: Any, at: At) -> None:
    """480 operations a connection and hour, then 60014."""
    session = make_bench("okx").open()
    answers = [frames_of(session.on_text(_subscribe("BTC-USDT"), at(0)))[0] for _ in range(481)]
    assert answers[479]["event"] == "subscribe"
    assert answers[480]["code"] == "60014"


def test_a_ticker_comes_at_most_every_100_ms(make_bench: Any, frames_of: Any, at: At) -> None:
    """A second quote within 100 ms waits and the newest one is sent when they are over."""
    bench = make_bench("okx")
    session = bench.open()
    session.on_text(_subscribe("BTC-USDT"), at(0))
    sent = [session.on_quote(bench.quote("BTC-USDT", bid=float(n)), {}, at(1 + n / 100)) for n in (1, 2, 3)]
    assert [len(out) for out in sent] == [1, 0, 0]
    assert frames_of(session.on_timer(at(1.12)))[0]["data"][0]["bidPx"] == "3.0"


def test_a_silent_socket_is_closed_after_30_seconds(make_bench: Any, at: At) -> None:
    """Neither data nor a ping for 30 s; a ping starts them anew."""
    session = make_bench("okx").open()
    session.on_text("ping", at(20))
    assert session.on_timer(at(49)) == []
    assert session.on_timer(at(50)) == [CloseSocket(4004, "No data received in 30s.")]


def test_unsubscribing_stops_the_instrument(make_bench: Any, frames_of: Any, at: At) -> None:
    """Acknowledged, and neither new nor waiting quotes come."""
    bench = make_bench("okx")
    session = bench.open()
    session.on_text(_subscribe("BTC-USDT"), at(0))
    for number in (1, 2):
        session.on_quote(bench.quote("BTC-USDT"), {}, at(1 + number / 100))
    answer = session.on_text(_subscribe("BTC-USDT").replace('"subscribe"', '"unsubscribe"'), at(1.05))
    assert frames_of(answer)[0]["event"] == "unsubscribe"
    assert session.on_timer(at(2)) == []
    assert session.on_quote(bench.quote("BTC-USDT"), {}, at(3)) == []


async def test_rest_answers_have_the_documented_shape(running: Any) -> None:
    """ticker, tickers and instruments in the envelope of v5."""
    _, one = await running.get("/okx/api/v5/market/ticker?instId=BTC-USDT")
    assert (one["code"], one["msg"], one["data"][0]["instType"]) == ("0", "", "SPOT")
    names = ["BTC-USDT", "ETH-USDT", "PEPE-USDT", "USDC-USDT"]
    for path in ("market/tickers", "public/instruments"):
        _, everything = await running.get(f"/okx/api/v5/{path}?instType=SPOT")
        assert [one["instId"] for one in everything["data"]][: len(names)] == names
        _, swaps = await running.get(f"/okx/api/v5/{path}?instType=SWAP")
        assert swaps["data"] == []
    _, now = await running.get("/okx/api/v5/public/time")
    assert now["data"][0]["ts"].isdigit()


async def test_an_unknown_instrument_is_51001_with_status_200(running: Any) -> None:
    """As recorded; a missing type is a 400."""
    status, body = await running.get("/okx/api/v5/market/ticker?instId=NO-USDT")
    assert (status, body["code"], body["data"]) == (200, "51001", [])
    status, body = await running.get("/okx/api/v5/market/tickers")
    assert (status, body["code"]) == (400, "50014")
