"""A whole node while its exchanges misbehave: wrong, old or disputed prices are refused, not served.

The faults are set in the simulated exchanges and the answers are watched from outside. Limits are those of the
catalog (BTC: 10 s) and of the consensus.
"""

from typing import Any

import pytest

from tests.node.harness import Answer, Node

EXCHANGES = ("coinbase", "gemini", "kraken", "gateio", "cryptocom", "okx")
# The simulated market moves by far less than this within a test; a source that is 10% off would show.
HONEST_MOVE = 0.01


def _good(answer: Answer) -> bool:
    return answer[0] == 200


def _is_refused(answer: Answer, code: str) -> bool:
    return answer[0] == 503 and answer[1]["error"]["code"] == code


def _verdict_counts(node: Node, exchange: str) -> dict[str, float]:
    """Rejections of one exchange by reason, out of /metrics."""
    from prometheus_client.parser import text_string_to_metric_families

    counts: dict[str, float] = {}
    for family in text_string_to_metric_families(node.text("/metrics", "HEALTH_PORT_LPO")):
        for sample in family.samples:
            if sample.name == "trinity_price_rejected_total" and sample.labels["exchange"] == exchange:
                counts[sample.labels["reason"]] = sample.value
    return counts


def _metric(node: Node, name: str, **labels: str) -> float:
    from prometheus_client.parser import text_string_to_metric_families

    for family in text_string_to_metric_families(node.text("/metrics", "HEALTH_PORT_LPO")):
        for sample in family.samples:
            if sample.name == name and all(sample.labels.get(key) == value for key, value in labels.items()):
                return float(sample.value)
    return float("nan")


def test_one_exchange_off_by_ten_percent_does_not_move_the_price(healthy: Node) -> None:
    """The wrong source is left out as soon as it is wrong, and no answer in between is wrong."""
    before = healthy.price()[1]["price"]
    healthy.fault(exchange="kraken", fault="scale_price", value=1.1, seconds=30)

    def kraken_is_left_out() -> bool:
        status, price = healthy.price()
        assert status == 200
        assert abs(price["price"] / before - 1) < HONEST_MOVE
        return bool(price["sources"] == 5 and price["rejected"] == 1)

    healthy.wait("kraken left out", kraken_is_left_out)
    assert "simulated:kraken" not in healthy.price()[1]["exchanges"]
    own = healthy.price("BTC", "kraken")[1]["price"]
    assert own / before > 1.09, "asked for by name, an exchange's own price is its own"


def test_three_of_six_disagreeing_is_refused_with_the_last_good_price(healthy: Node) -> None:
    """A 3/3 split has no majority: 503 sources_disagree, the last good price and its age beside it; then it heals."""
    before = healthy.price()[1]["price"]
    for exchange in EXCHANGES[:3]:
        healthy.fault(exchange=exchange, asset="BTC", fault="scale_price", value=1.1, seconds=60)

    def refused() -> bool:
        answer = healthy.price()
        if _good(answer):
            assert abs(answer[1]["price"] / before - 1) < HONEST_MOVE
        return _is_refused(answer, "sources_disagree")

    healthy.wait("sources_disagree", refused)
    body = healthy.price()[1]
    assert abs(body["last_price"] / before - 1) < HONEST_MOVE
    assert body["age_ms"] >= 0
    assert _good(healthy.price("ETH")), "the fault is on BTC alone"
    assert healthy.ask(b"BTC")["error"]["code"] == "sources_disagree"
    healthy.clear_faults()
    healthy.wait_all_sources()


def test_a_frozen_exchange_is_dropped_within_its_limit_and_comes_back(healthy: Node) -> None:
    """Still pinging, delivering nothing, on WebSocket and REST: it leaves the price within BTC's 10 s."""
    healthy.fault(exchange="okx", fault="freeze", seconds=60)
    healthy.fault(exchange="okx", fault="rest_freeze", seconds=60)

    def dropped() -> bool:
        return "simulated:okx" not in healthy.price()[1].get("exchanges", [])

    healthy.wait("okx dropped", dropped, 15)
    assert _good(healthy.price())
    healthy.clear_faults()
    healthy.wait_all_sources()


def test_rest_takes_over_when_a_socket_dies_and_hands_back(healthy: Node) -> None:
    """While the WebSocket is refused the row says `rest` and stays in the price; afterwards it says `ws` again."""
    healthy.fault(exchange="kraken", fault="refuse", seconds=120)
    healthy.fault(exchange="kraken", fault="disconnect", seconds=1)
    try:
        healthy.wait("kraken by REST", lambda: healthy.price("BTC", "kraken")[1].get("via") == "rest", 30)
    finally:
        healthy.clear_faults()
    healthy.wait("kraken by WebSocket", lambda: healthy.price("BTC", "kraken")[1].get("via") == "ws", 60)


@pytest.mark.parametrize(
    ("fault", "fields"),
    [
        ("zero_price", {}),
        ("crossed_book", {}),
        ("clock_skew", {"value": 3600}),
        ("clock_skew", {"value": -3600}),
    ],
    ids=["zero_price", "crossed_book", "clock_ahead", "clock_behind"],
)
def test_a_source_that_sends_nonsense_is_left_out(healthy: Node, fault: str, fields: dict[str, Any]) -> None:
    """Zero prices, crossed books and wrong clocks cost the source its place, never the price its value."""
    before = healthy.price()[1]["price"]
    healthy.fault(exchange="cryptocom", fault=fault, seconds=60, **fields)

    def left_out() -> bool:
        status, price = healthy.price()
        assert status == 200
        assert abs(price["price"] / before - 1) < HONEST_MOVE
        return "simulated:cryptocom" not in price["exchanges"]

    healthy.wait(f"cryptocom left out for {fault}", left_out, 20)


def test_a_missing_timestamp_is_not_age_zero_and_not_a_reason_to_drop(healthy: Node) -> None:
    """Without exchange time the receipt's age counts: used while the source delivers, dropped when it stops."""
    healthy.fault(exchange="gateio", fault="no_timestamp", seconds=120)

    def gateio() -> dict[str, Any]:
        sources = healthy.get("/explain?asset=BTC", "TCP_PORT_LRS")[1]["sources"]
        return next(source for source in sources if source["exchange"].endswith("gateio"))

    healthy.wait("quotes without a time", lambda: gateio()["quote"]["bid"]["exchange_age_ms"] is None)
    received: set[str] = set()

    def is_used_again() -> bool:
        source = gateio()
        assert source["freshness"] == "fresh", "no time is no reason to drop"
        received.add(source["quote"]["bid"]["received_at"])
        return len(received) >= 3 and source["verdict"] == "used"

    healthy.wait("more quotes without a time, used", is_used_again)
    healthy.fault(exchange="gateio", fault="freeze", seconds=120)
    healthy.fault(exchange="gateio", fault="rest_freeze", seconds=120)
    healthy.wait("the end of a source that stopped", lambda: gateio()["freshness"] != "fresh", 40)


def test_a_payload_of_another_shape_raises_an_alarm(healthy: Node) -> None:
    """Frames that nobody understands are counted by reason, and the alarm metric goes to 1."""
    healthy.fault(exchange="coinbase", fault="bad_payload", seconds=30)

    def alarm() -> bool:
        return _metric(healthy, "trinity_payload_shape_alarm", exchange="coinbase") == 1

    healthy.wait("shape alarm", alarm, 20)
    assert _metric(healthy, "trinity_payload_shape_alarm", exchange="okx") == 0
    assert _good(healthy.price())


def test_too_few_sources_are_refused(healthy: Node) -> None:
    """With four exchanges silent two are left, and BTC needs three."""
    for exchange in EXCHANGES[:4]:
        healthy.fault(exchange=exchange, asset="BTC", fault="freeze", seconds=120)
        healthy.fault(exchange=exchange, asset="BTC", fault="rest_freeze", seconds=120)
    healthy.wait("refusal", lambda: healthy.price()[0] == 503, 40)
    assert healthy.price()[1]["error"]["code"] in ("too_few_sources", "stale_price")
    healthy.clear_faults()
    healthy.wait_all_sources()


def test_a_stated_quality_that_is_not_met_is_refused(healthy: Node) -> None:
    """max_age_ms, min_sources and max_conf_bps hold for this one question only."""
    assert _good(healthy.get("/price?asset=BTC&min_sources=6&max_age_ms=60000&max_conf_bps=500"))
    status, body = healthy.get("/price?asset=BTC&min_sources=7")
    assert (status, body["error"]["code"]) == (503, "too_few_sources")
    _, body = healthy.get("/prices?assets=BTC,NOPE,ETH")
    assert [item["status"] for item in body["prices"]] == ["fresh", "unknown_asset", "fresh"]
