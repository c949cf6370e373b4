"""What all simulated exchanges share: frames built once, pacing, deformation, time stamps."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from feeds.simulator.market import NS_PER_SECOND, Instant
from feeds.simulator.venue import RestCall, SendPing, deform, rest_ticker, rfc3339

At = Callable[[float], Instant]


def test_time_stamps_have_the_digits_that_are_asked_for() -> None:
    """RFC 3339 with six or nine digits of the second, zeros kept."""
    wall_ns = 1_790_222_068_000_165_007
    assert rfc3339(wall_ns, 9) == "2026-09-24T03:54:28.000165007Z"
    assert rfc3339(wall_ns) == "2026-09-24T03:54:28.000165Z"


def test_a_deformed_frame_is_still_json_but_has_other_price_fields() -> None:
    """bad_payload renames the fields that carry prices and nothing else."""
    text = deform('{"price":"1","size":"2","bid":3}', ("price", "bid"))
    assert json.loads(text) == {"price_v2": "1", "size": "2", "bid_v2": 3}


def test_a_rest_answer_is_deformed_when_one_of_its_quotes_is(make_bench: Callable[[str], Any]) -> None:
    """One deformed market is enough to change the shape of the answer that has it."""
    quote = make_bench("kraken").quote("BTC/USD")
    assert rest_ticker('{"a":1}', [quote], ("a",)).body == '{"a":1}'
    assert rest_ticker('{"a":1}', [quote, quote._replace(deformed=True)], ("a",)).body == '{"a_v2":1}'


def test_a_frame_is_built_once_for_all_sockets(make_bench: Callable[[str], Any]) -> None:
    """The second session that wants the same channel gets the text that the first one built."""
    bench = make_bench("gemini")
    quote, frames, built = bench.quote("btcusd"), {}, []

    def build(_: object) -> str:
        built.append(1)
        return "text"

    assert [bench.open().frame("bookTicker", quote, frames, build) for _ in range(3)] == ["text"] * 3
    assert len(built) == 1


def test_a_paced_channel_keeps_the_newest_quote_until_its_time(make_bench: Callable[[str], Any], at: At) -> None:
    """Within the gap quotes wait, the newer replaces the older, and one is released when the gap is over."""
    bench = make_bench("okx")
    session = bench.open()
    quotes = [bench.quote("BTC-USDT", number=number) for number in range(3)]
    gap_ns = NS_PER_SECOND
    assert session.is_due("tickers", quotes[0], {}, gap_ns, at(0))
    assert not session.is_due("tickers", quotes[1], {}, gap_ns, at(0.2))
    assert not session.is_due("tickers", quotes[2], {}, gap_ns, at(0.4))
    assert session.released("tickers", gap_ns, at(0.9)) == []
    assert session.released("tickers", gap_ns, at(1.0)) == [(quotes[2], {})]
    assert session.released("tickers", gap_ns, at(2.0)) == []


def test_a_rest_call_gives_the_first_of_several_values(at: At) -> None:
    """A query name may be repeated; most exchanges look at the first."""
    call = RestCall({}, {"pair": ("a", "b")}, at(0))
    assert (call.first("pair"), call.first("other")) == ("a", None)


@pytest.mark.parametrize("exchange", ["coinbase", "gemini", "kraken", "gateio", "cryptocom", "okx"])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "{}",
        "[]",
        "null",
        '"a"',
        '{"id":{}}',
        '{"method":1}',
        '{"method":"\\ud800","type":"\\ud800","op":"\\ud800"}',
        "{" * 5000,
    ],
)
def test_no_session_raises_for_what_a_client_sent(
    make_bench: Callable[[str], Any], at: At, exchange: str, text: str
) -> None:
    """Whatever arrives is answered with an error or with nothing; pings and closes go out as such."""
    out = make_bench(exchange).open().on_text(text, at(0))
    assert all(isinstance(one, str | SendPing) for one in out)
