"""A whole node, asked for assets that its catalog does not name: the resolver, the workers and the ledger together."""

import contextlib
import itertools
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from feeds.simulator.beyond import further_markets
from tests.node.harness import START_SECONDS, Node, new_node
from trinity.markets import load_catalog
from trinity.store.embedded import embedded_url

_MARKETS = further_markets(load_catalog())
_ASSETS = {market.asset for market in _MARKETS}
_ON = {asset: {market.exchange for market in _MARKETS if market.asset == asset} for asset in _ASSETS}
PRICED = sorted(asset for asset, exchanges in _ON.items() if len(exchanges) >= 4)
SCARCE = sorted(asset for asset, exchanges in _ON.items() if len(exchanges) < 3)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One node with simulated exchanges, which list 400 assets beyond the catalog."""
    with new_node(tmp_path_factory.mktemp("beyond"), REQUEST_WORKERS="1") as started:
        started.start()
        started.wait("a first price", lambda: started.price()[0] == 200, START_SECONDS)
        # The lists of what is listed where are fetched at the start; before, every exchange is asked.
        started.wait("an asset beyond the catalog", lambda: started.price(PRICED[0])[0] == 200, START_SECONDS)
        yield started
        assert started.stop() == 0


def statuses(answer: Any) -> list[tuple[str, str]]:
    return [(price["asset"], price.get("status", "")) for price in answer.get("prices", [])]


def settled(node: Node, name: str) -> tuple[int, str]:
    """What is said of a name when nobody is told to come again: a busy machine may not be done in time."""

    def answer() -> tuple[int, str] | None:
        status, body = node.price(name)
        code = body.get("status") or body.get("error", {}).get("code", "")
        return (status, code) if status and code != "asset_resolving" else None

    found: tuple[int, str] = node.wait(f"what {name} is", answer)
    return found


def test_assets_beyond_the_catalog_are_answered_over_every_protocol(node: Node) -> None:
    """With a price of the exchanges that list it, and its name in the answer."""
    names = PRICED[1:5]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(10)
        asker.connect(("127.0.0.1", node.ports["UDP_PORT_LPO"]))

        def ask(question: bytes) -> Any:
            asker.send(question)
            return json.loads(asker.recv(65536))

        name = names[0].lower().encode().ljust(700)
        node.wait(names[0], lambda: ask(name).get("asset") == names[0])
        both = json.dumps({"assets": ["BTC", names[1]], "id": 3}).encode().ljust(1500)
        wanted = [("BTC", "fresh"), (names[1], "fresh")]
        node.wait(names[1], lambda: statuses(ask(both)) == wanted)
    wanted = [(name, "fresh") for name in (names[2], "ETH", names[3])]
    node.wait(names[2], lambda: statuses(node.get(f"/prices?assets={names[2]},ETH,{names[3]}")[1]) == wanted)
    exchange = sorted(_ON[names[2]])[0]
    node.wait(exchange, lambda: node.price(names[2], exchange)[0] == 200)
    assert node.price(names[2], exchange)[1]["source"].endswith(exchange)


def test_a_name_that_no_exchange_has_is_unknown_and_one_that_few_have_is_refused(node: Node) -> None:
    """With the reason, at the first question and at the next."""
    for _ in range(2):
        assert settled(node, "NOSUCHASSET") == (404, "unknown_asset")
        assert settled(node, SCARCE[0]) == (503, "too_few_sources")


def test_many_who_ask_at_once_wait_for_one_answer(node: Node) -> None:
    """Thirty connections, one new name: all of them are answered, and the catalog meanwhile.

    Where the machine was too busy for that in time, all are told to come again, and another name is asked for.
    """
    with ThreadPoolExecutor(31) as pool:
        for name in (PRICED[6], *PRICED[10:14]):
            crowd = [pool.submit(node.price, name) for _ in range(30)]
            assert node.price("BTC")[0] == 200
            answers = [found.result() for found in crowd]
            if all(status == 200 for status, _ in answers):
                return
            codes = {body["error"]["code"] for status, body in answers if status != 200}
            assert codes == {"asset_resolving"}
    pytest.fail("nobody was answered in time")


def test_the_other_port_asks_and_does_not_wait(node: Node) -> None:
    """9090 answers at once, never with a price that is not fresh, and has it soon."""
    name = PRICED[7]
    node.wait_reports_ready()
    status, body = node.get(f"/price?asset={name}", "TCP_PORT_LRS")
    assert status != 200 or body["status"] == "fresh"
    node.wait(f"{name} on 9090", lambda: node.get(f"/price?asset={name}", "TCP_PORT_LRS")[0] == 200)


def test_a_killed_resolver_leaves_no_wrong_price_and_new_names_are_told_to_come_again(node: Node) -> None:
    """SIGKILL, again and again: what has a row is answered, what has none is being resolved; then all of it is."""
    known, new = PRICED[9], PRICED[20:24]
    node.wait(known, lambda: node.price(known)[0] == 200)
    assert node.health()["beyond_catalog"]["state"] == "up"
    told: set[tuple[int, str]] = set()
    names = itertools.cycle(new)

    def is_told_so() -> bool:
        pid = node.pid("resolver")
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert node.price("BTC")[0] == 200
        for name in (known, next(names)):
            status, body = node.price(name)
            told.add((status, body.get("status") or body["error"]["code"]))
            if status == 200:
                assert_true(node, name, body)
        return (503, "asset_resolving") in told

    node.wait("a new name that is told to come again", is_told_so, START_SECONDS)
    assert told <= {(200, "fresh"), (503, "asset_resolving"), (429, "miss_budget_exceeded")}
    for name in (known, *new):
        status, body = node.wait(
            f"{name} again", lambda name=name: (a := node.price(name))[0] == 200 and a, START_SECONDS
        )
        assert status == 200
        assert_true(node, name, body)
    node.wait("a resolver", lambda: node.health()["beyond_catalog"]["state"] == "up", START_SECONDS)


def assert_true(node: Node, name: str, body: Any) -> None:
    """It is this asset's price, no older than its rules allow, and what the simulated markets have had."""
    assert body["asset"] == name
    assert time.time() * 1e3 - body["timestamp"] <= load_catalog().defaults.max_age_ms + 1_000
    market = node.get("/market", "SIMULATOR_PORT")[1]["markets"]
    (true, *_) = [float(one["last"]) for one in market if one["asset"] == name and one["last"] is not None]
    assert abs(float(body["price"]) / true - 1) < 0.05


def test_the_ledger_and_the_metrics_have_them_by_name(node: Node) -> None:
    """One row for each good answer; the share of hits can be read."""
    name, good = PRICED[8], 0
    node.wait(name, lambda: node.price(name)[0] == 200)
    for _ in range(3):
        good += node.price(name)[0] == 200

    def rows() -> Any:
        with psycopg.connect(embedded_url(node.data_dir)) as connection:
            query = (
                "SELECT coalesce(sum(requests), 0)::int FROM usage_minute "
                "JOIN assets ON assets.id = asset_id WHERE name = %s AND status = 200"
            )
            return connection.execute(query, (name,)).fetchone()

    node.wait("a row each", lambda: rows() == (1 + good,))
    for result in ("catalog", "table", "miss", "refused"):
        node.wait(result, lambda result=result: sum(node.metrics("trinity_asset_lookups_total", result=result)) > 0)
    assert node.get("/assets")[1]["beyond_catalog"] is True
