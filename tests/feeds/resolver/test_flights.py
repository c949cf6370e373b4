"""feeds/resolver/flights.py, asked as workers ask, against running simulated exchanges."""

import asyncio
import json
import os

import pytest

from tests.feeds.resolver.asked_resolver import CATALOG, ON, ON_ALL, ON_TWO, Bench
from trinity.limits import MISS_BUDGET_BURST
from trinity.memory.answer_table import AnswerState
from trinity.memory.asset_table import SpareState

ASSET = ON_ALL[0]


async def test_an_asset_beyond_the_catalog_is_answered_by_all_exchanges_that_list_it(bench: Bench) -> None:
    """An asset beyond the catalog is answered by all exchanges that list it."""
    await bench.start()
    await bench.ask(ASSET)
    body = json.loads(bench.body(ASSET))
    assert (body["asset"], body["currency"], body["source"]) == (ASSET, "USD", "consensus")
    assert body["exchanges"] == [f"simulated:{name}" for name in CATALOG.exchanges]
    own = json.loads(bench.body(ASSET, "okx"))
    assert (own["asset"], own["currency"], own["source"], own["via"]) == (ASSET, "USDT", "okx", "rest")
    assert abs(own["price"] * 0.9997 / body["price"] - 1) < 0.01
    cell = bench.cell(ASSET)
    assert cell is not None
    assert cell.state is SpareState.ANSWERED
    assert cell.valid_until_ns == int(bench.row(ASSET)["valid_until_ns"])
    assert cell.valid_until_ns <= bench.context.clock.monotonic_ns() + CATALOG.defaults.max_age_ms * 1_000_000
    assert bench.outcomes() == {"rest": 1}


async def test_an_exchange_that_does_not_list_it_says_so_in_its_own_row(bench: Bench) -> None:
    """An exchange that does not list it says so in its own row."""
    await bench.start()
    name = next(name for name, exchanges in ON.items() if len(exchanges) == 5)
    absent = next(one for one in CATALOG.exchanges if one not in ON[name])
    await bench.ask(name)
    assert bench.state(name) is AnswerState.GOOD
    assert bench.state(name, absent) is AnswerState.NOT_LISTED


async def test_however_many_ask_an_exchange_is_asked_once_and_all_are_woken(bench: Bench) -> None:
    """However many ask an exchange is asked once and all are woken."""
    await bench.start()
    before = await bench.asked_over_rest()
    for _ in range(50):
        bench.put(ASSET)
    await bench.ask(ASSET)
    after = await bench.asked_over_rest()
    assert {name: after[name] - before[name] for name in after} == dict.fromkeys(after, 1)
    assert os.eventfd_read(bench.wakes.asker_fds[0]) >= 1
    assert bench.counter("asset_misses_total") == 51


async def test_a_name_that_nobody_lists_is_unknown_and_no_exchange_is_asked(bench: Bench) -> None:
    """A name that nobody lists is unknown and no exchange is asked."""
    await bench.start()
    before = await bench.asked_over_rest()
    await bench.ask("NOSUCHCOIN")
    assert bench.code("NOSUCHCOIN") == "unknown_asset"
    assert bench.cell("NOSUCHCOIN") is None
    assert await bench.asked_over_rest() == before
    assert bench.outcomes() == {"unknown": 1}


async def test_without_lists_all_are_asked_and_an_unknown_name_is_what_all_call_unknown(bench: Bench) -> None:
    """Without lists all are asked and an unknown name is what all call unknown."""
    for name in CATALOG.exchanges:
        await bench.fault(exchange=name, fault="rest_500", seconds=60)
    await bench.start(with_lists=False)
    await bench.until(lambda: bench.resolver.lists_tried == len(CATALOG.exchanges))
    await bench.clear_faults()
    await bench.ask(ASSET)
    assert bench.state(ASSET) is AnswerState.GOOD
    await bench.until(bench.all_have_their_turn)
    await bench.ask("NOSUCHCOIN")
    assert bench.code("NOSUCHCOIN") == "unknown_asset"


async def test_an_asset_on_too_few_exchanges_is_refused_with_the_reason_and_their_own_prices_are_there(
    bench: Bench,
) -> None:
    """An asset on too few exchanges is refused with the reason and their own prices are there."""
    await bench.start()
    name = ON_TWO[0]
    await bench.ask(name)
    assert bench.state(name) is AnswerState.TOO_FEW_SOURCES
    for exchange in ON[name]:
        assert bench.state(name, exchange) is AnswerState.GOOD
    assert bench.outcomes() == {"refused": 1}


async def test_an_asset_that_cannot_have_a_price_takes_no_turn_that_others_need(bench: Bench) -> None:
    """It stands on Gemini and one more, and Gemini's turn is seconds away: the other's own price is there."""
    await bench.start()
    name = next(name for name in ON_TWO if "gemini" in ON[name] and "coinbase" not in ON[name])
    gemini = bench.resolver.rest[CATALOG.exchange_index("gemini")].asker
    for number in range(5):
        gemini.ask(f"busy{number}usd")
    await bench.ask(name)
    assert bench.state(name) is AnswerState.TOO_FEW_SOURCES
    other = next(one for one in ON[name] if one != "gemini")
    assert bench.state(name, other) is AnswerState.GOOD
    assert bench.state(name, "gemini") is AnswerState.EMPTY


async def test_what_cannot_get_enough_turns_for_a_price_takes_none(bench: Bench) -> None:
    """Coinbase and Gemini are busy for long, so two of the four that list it could answer: come again."""
    await bench.start()
    name = next(one for one, at in ON.items() if len(at) == 4 and {"coinbase", "gemini"} <= set(at))
    for exchange, symbols in (("coinbase", 12), ("gemini", 3)):
        asker = bench.resolver.rest[CATALOG.exchange_index(exchange)].asker
        for number in range(symbols):
            asker.ask(f"BUSY{number}-USD" if exchange == "coinbase" else f"busy{number}usd")
    before = await bench.asked_over_rest()
    await bench.ask(name)
    assert bench.code(name) == "asset_resolving"
    after = await bench.asked_over_rest()
    others = set(ON[name]) - {"coinbase", "gemini"}
    assert {one: after[one] for one in others} == {one: before[one] for one in others}


async def test_exchanges_that_disagree_give_no_price(bench: Bench) -> None:
    """Three of six are wrong by a tenth: no majority."""
    for name in ("coinbase", "gemini", "kraken"):
        await bench.fault(exchange=name, asset=ASSET, fault="scale_price", value=1.1, seconds=60)
    await bench.start()
    await bench.ask(ASSET)
    assert bench.state(ASSET) is AnswerState.SOURCES_DISAGREE


async def test_one_liar_of_six_is_left_out(bench: Bench) -> None:
    """One liar of six is left out."""
    await bench.fault(exchange="kraken", asset=ASSET, fault="scale_price", value=1.1, seconds=60)
    await bench.start()
    await bench.ask(ASSET)
    body = json.loads(bench.body(ASSET))
    assert "simulated:kraken" not in body["exchanges"]
    assert body["rejected"] == 1


@pytest.mark.parametrize("fault", ["rest_hang", "rest_500", "rest_429", "bad_payload"])
async def test_an_exchange_that_fails_in_any_way_does_not_keep_the_others_from_answering(
    bench: Bench, fault: str
) -> None:
    """An exchange that fails in any way does not keep the others from answering."""
    await bench.start()
    await bench.fault(exchange="gateio", fault=fault, seconds=60)
    await bench.ask(ASSET)
    body = json.loads(bench.body(ASSET))
    assert set(body["exchanges"]) == {f"simulated:{name}" for name in CATALOG.exchanges if name != "gateio"}
    assert bench.state(ASSET, "gateio") in (AnswerState.EMPTY, AnswerState.STALE)


async def test_an_exchange_that_is_slow_holds_nobody_up_and_its_late_answer_is_in_the_row(bench: Bench) -> None:
    """Five of six agree: who waits is answered while the sixth is still waited for."""
    await bench.start()
    await bench.fault(exchange="gateio", fault="rest_hang", seconds=60)
    await bench.ask(ASSET)
    assert bench.resolver.flights.is_flying(ASSET)
    assert "simulated:gateio" not in json.loads(bench.body(ASSET))["exchanges"]
    await bench.clear_faults()
    await bench.until(lambda: len(json.loads(bench.body(ASSET))["exchanges"]) == 6)
    assert bench.outcomes() == {"rest": 1}


async def test_who_asks_for_what_is_answered_while_late_answers_are_waited_for_is_woken_at_once(bench: Bench) -> None:
    """A worker that looked just before the row was there."""
    await bench.start()
    await bench.fault(exchange="gateio", fault="rest_hang", seconds=60)
    await bench.ask(ASSET)
    assert os.eventfd_read(bench.wakes.asker_fds[0]) == 1
    bench.put(ASSET)
    await bench.until(lambda: bench.outcomes() == {"rest": 1, "known": 1})
    assert os.eventfd_read(bench.wakes.asker_fds[0]) == 1


async def test_an_exchange_that_hangs_is_not_asked_again_while_it_is_silent(bench: Bench) -> None:
    """An exchange that hangs is not asked again while it is silent."""
    await bench.start()
    await bench.fault(exchange="okx", fault="rest_hang", seconds=60)
    before = await bench.asked_over_rest()
    asker = bench.resolver.rest[CATALOG.exchanges.index("okx")].asker
    await bench.ask(ASSET)
    await bench.until(lambda: asker.wait_ns(bench.context.clock.monotonic_ns()) > 0)
    silent_from = await bench.asked_over_rest()
    others = [name for name in ON_ALL if name != ASSET][:3]
    for name in others:
        await bench.ask(name)
    after = await bench.asked_over_rest()
    assert silent_from["okx"] - before["okx"] == 1
    assert after["okx"] - silent_from["okx"] <= 1


async def test_when_all_exchanges_are_away_the_name_is_refused_for_a_while_and_then_asked_for_again(
    bench: Bench,
) -> None:
    """When all exchanges are away the name is refused for a while and then asked for again."""
    await bench.start()
    for name in CATALOG.exchanges:
        await bench.fault(exchange=name, fault="rest_500", seconds=60)
    await bench.ask(ASSET)
    assert bench.code(ASSET) == "stale_price"
    assert bench.cell(ASSET) is None
    await bench.clear_faults()
    await bench.until(lambda: bench.code(ASSET) == "ok")
    await bench.until(bench.all_have_their_turn)
    await bench.ask(ASSET)
    assert bench.state(ASSET) is AnswerState.GOOD


async def test_more_misses_than_the_budget_are_told_to_come_again_and_exchanges_keep_their_gaps(bench: Bench) -> None:
    """More misses than the budget are told to come again and exchanges keep their gaps."""
    await bench.start()
    before, started_ns = await bench.asked_over_rest(), bench.context.clock.monotonic_ns()
    for name in ON:
        bench.put(name)
    await bench.until(lambda: all(bench.is_decided(name) for name in ON) or sum(bench.outcomes().values()) >= len(ON))
    after = await bench.asked_over_rest()
    seconds = (bench.context.clock.monotonic_ns() - started_ns) / 1e9
    for rest in bench.resolver.rest:
        profile = rest.exchange.PROFILE
        assert after[profile.name] - before[profile.name] <= seconds / profile.rest_gap_seconds + 1
    outcomes = bench.outcomes()
    assert sum(outcomes.values()) >= len(ON)
    assert outcomes["rest"] <= MISS_BUDGET_BURST + 50 * seconds + 1
    assert outcomes["budget"] > 0  # the others: no turn in time, or too few exchanges list it
    assert {bench.code(name) for name in ON if bench.cell(name) is None} <= {"asset_resolving", "ok"}


async def test_two_spellings_are_one_asset_for_the_queue_has_upper_case_alone(bench: Bench) -> None:
    """Two spellings are one asset for the queue has upper case alone."""
    await bench.start()
    with pytest.raises(ValueError, match="no name of an asset"):
        bench.put(ASSET.lower())


async def test_a_name_or_an_alias_of_the_catalog_is_never_resolved(bench: Bench) -> None:
    """A name or an alias of the catalog is never resolved."""
    await bench.start()
    before = await bench.asked_over_rest()
    bench.put("TON")
    bench.put("BTC")
    await bench.until(lambda: bench.outcomes() == {"known": 2})
    assert await bench.asked_over_rest() == before
    assert bench.cell("TON") is None


async def test_a_resolver_that_is_killed_in_a_flight_leaves_nothing_wrong_and_its_successor_answers(
    bench: Bench,
) -> None:
    """A resolver that is killed in a flight leaves nothing wrong and its successor answers."""
    await bench.start()
    await bench.ask(ASSET)
    body = bench.body(ASSET)
    await bench.fault(exchange="gateio", fault="rest_hang", seconds=60)
    other = ON_ALL[1]
    bench.put(other)
    await asyncio.sleep(0)
    await bench.kill()
    assert bench.body(ASSET) == body, "what was answered stands until it ends"
    await bench.clear_faults()
    await bench.start()
    assert bench.body(ASSET) == body
    await bench.ask(other)
    assert json.loads(bench.body(other))["asset"] == other
