"""Simulated Crypto.com: WebSocket v1 and REST."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from feeds.simulator.cryptocom import FIRST_HEARTBEAT_SECONDS
from feeds.simulator.market import Instant
from feeds.simulator.venue import CloseSocket, SendPing

At = Callable[[float], Instant]


def _subscribe(*channels: str, request_id: int = 5) -> str:
    return json.dumps({"id": request_id, "method": "subscribe", "params": {"channels": list(channels)}})


async def test_the_first_data_frame_carries_the_id_of_the_request(running: Any, find_frame: Any) -> None:
    """No acknowledgement: the first frame has the request's id, the next ones -1."""
    async with await running.connect("/cryptocom/exchange/v1/market") as socket:
        await socket.send(_subscribe("ticker.BTC_USD"))
        first = json.loads(await socket.recv())
        second = await find_frame(socket, lambda one: "result" in one)
    assert (first["id"], second["id"]) == (5, -1)
    assert first["result"]["subscription"] == "ticker.BTC_USD"
    ticker = first["result"]["data"][0]
    assert set(ticker) == {"h", "l", "a", "c", "b", "bs", "k", "ks", "i", "v", "vv", "oi", "t"}
    assert float(ticker["b"]) <= float(ticker["a"]) <= float(ticker["k"])


@pytest.mark.parametrize(
    ("channel", "message"),
    [("ticker.NO_USD", "Unknown symbol"), ("ticker", "Unknown symbol"), ("gossip.X", "Unrecognized channel")],
)
def test_a_bad_channel_is_refused_alone(make_bench: Any, frames_of: Any, at: At, channel: str, message: str) -> None:
    """Code 40003 with the channel's name; the good channel of the same frame flows."""
    frames = frames_of(make_bench("cryptocom").open().on_text(_subscribe(channel, "ticker.BTC_USD"), at(0)))
    assert frames[0] == {"id": 5, "method": "subscribe", "code": 40003, "channel": channel, "message": message}
    assert frames[1]["result"]["instrument_name"] == "BTC_USD"


def test_the_401st_subscription_is_refused(make_bench: Any, frames_of: Any, at: At) -> None:
    """400 a connection, then code 40107; subscribing again to one that is held is none."""
    bench = make_bench("cryptocom")
    row = bench.board.rows["BTC_USD"]
    bench.board.rows.update({f"X{number}_USD": row for number in range(401)})
    session = bench.open()
    frames = frames_of(session.on_text(_subscribe(*(f"ticker.X{number}_USD" for number in range(401))), at(0)))
    assert [frame["code"] for frame in frames] == [0] * 400 + [40107]
    assert frames[-1]["message"] == "Maximum subscriptions exceeded"
    assert frames_of(session.on_text(_subscribe("ticker.X0_USD"), at(0)))[0]["code"] == 0


def _heartbeats(session: Any, at: At, answering: bool) -> tuple[list[float], float | None]:
    """When heartbeats came within 200 s, and when the socket was closed."""
    times: list[float] = []
    for tick in range(1, 2000):
        for one in session.on_timer(at(tick / 10)):
            if isinstance(one, CloseSocket):
                assert one.code == 1000
                return times, tick / 10
            if isinstance(one, str):
                times.append(tick / 10)
                beat = json.loads(one)
                assert beat["method"] == "public/heartbeat"
                reply = {"id": beat["id"], "method": "public/respond-heartbeat"}
                if answering:
                    assert session.on_text(json.dumps(reply), at(tick / 10)) == []
    return times, None


def test_heartbeats_come_every_30_seconds_and_must_be_answered(make_bench: Any, at: At) -> None:
    """The first comes 5 to 27 s after connecting; an answered connection lives on."""
    times, closed = _heartbeats(make_bench("cryptocom").open(), at, answering=True)
    assert closed is None
    assert FIRST_HEARTBEAT_SECONDS[0] <= times[0] <= FIRST_HEARTBEAT_SECONDS[1] + 0.1
    assert times[1] - times[0] == pytest.approx(30.0, abs=0.2)
    assert len(times) >= 6


def test_the_third_unanswered_heartbeat_closes_with_1000(make_bench: Any, at: At) -> None:
    """65 to 87 s after connecting, as probed."""
    times, closed = _heartbeats(make_bench("cryptocom").open(), at, answering=False)
    assert len(times) == 3
    assert closed == times[2]


def test_an_answer_with_another_id_does_not_count(make_bench: Any, at: At) -> None:
    """Only the id of the last heartbeat answers it."""
    session = make_bench("cryptocom").open()
    session.on_timer(at(28))
    session.on_text('{"id":1,"method":"public/respond-heartbeat"}', at(28))
    session.on_timer(at(59))
    assert isinstance(session.on_timer(at(90))[-1], CloseSocket)


def test_the_server_pings_every_five_seconds(make_bench: Any, at: At) -> None:
    """Protocol pings beside the heartbeats."""
    session = make_bench("cryptocom").open()
    assert SendPing() not in session.on_timer(at(4.9))
    assert SendPing() in session.on_timer(at(5.0))


def test_requests_are_limited_by_the_calendar_second(make_bench: Any, frames_of: Any, at: At) -> None:
    """100 in a second; the next second has 100 again."""
    session = make_bench("cryptocom").open()
    codes = [frames_of(session.on_text(_subscribe("ticker.BTC_USD"), at(0)))[0]["code"] for _ in range(101)]
    assert codes == [0] * 100 + [42901]
    assert frames_of(session.on_text(_subscribe("ticker.BTC_USD"), at(1)))[0]["code"] == 0


def test_unsubscribing_and_unknown_methods_are_answered(make_bench: Any, frames_of: Any, at: At) -> None:
    """unsubscribe stops the channel; another method is code 40003."""
    bench = make_bench("cryptocom")
    session = bench.open()
    session.on_text(_subscribe("ticker.BTC_USD"), at(0))
    stop = _subscribe("ticker.BTC_USD").replace('"subscribe"', '"unsubscribe"')
    assert frames_of(session.on_text(stop, at(0)))[0] == {"id": 5, "method": "unsubscribe", "code": 0}
    assert session.on_quote(bench.quote("BTC_USD"), {}, at(0)) == []
    assert frames_of(session.on_text('{"id":1,"method":"public/auth"}', at(0)))[0]["message"] == "No such method"


async def test_rest_answers_have_the_documented_shape(running: Any) -> None:
    """One instrument, all of them, and the list of instruments."""
    _, one = await running.get("/cryptocom/exchange/v1/public/get-tickers?instrument_name=BTC_USD")
    assert (one["code"], one["method"], one["result"]["data"][0]["i"]) == (0, "public/get-tickers", "BTC_USD")
    _, everything = await running.get("/cryptocom/exchange/v1/public/get-tickers")
    names = ["BTC_USD", "ETH_USD", "PEPE_USD", "USDT_USD"]
    assert [ticker["i"] for ticker in everything["result"]["data"]][: len(names)] == names
    _, listed = await running.get("/cryptocom/exchange/v1/public/get-instruments")
    assert [instrument["symbol"] for instrument in listed["result"]["data"]][: len(names)] == names
    assert listed["result"]["data"][0]["inst_type"] == "CCY_PAIR"


async def test_an_unknown_instrument_is_code_40003(running: Any) -> None:
    """The REST error has the shape of the socket's."""
    status, body = await running.get("/cryptocom/exchange/v1/public/get-tickers?instrument_name=NO_USD")
    assert (status, body["code"]) == (400, 40003)
