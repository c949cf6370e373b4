"""Assets beyond the catalog, against simulated exchanges whose REST takes 40 ms.

    latency   how soon: one asset after the other, each asked for twice; first nobody knows it, then it is a row
    zipf      how often: 2,000 lookups a second of 400 assets by Zipf's law, whenever the answers come, and what share
              of them the table answers; of two loads the second counts, the first fills the rows
    flood     how many questions: names that nobody lists, and names that somebody does, of one address and of many, as
              fast as they go; the exchanges' questions meanwhile are counted where they are simulated

Rules: each address of the loopback network is a caller of its own, with its own budget of misses. Exchanges are asked
in their published gaps, so assets of `latency` come far enough apart for all six to have their turn.
"""

import http.client
import itertools
import json
import random
import statistics
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.errors import PeerError
from benchmarks.generators.http import HttpGenerator
from benchmarks.generators.load import Load
from benchmarks.progress import Progress
from benchmarks.servers.node import Node, start_whole
from trinity.limits import MISS_BUDGET_BURST, MISS_BUDGET_RATE
from trinity.memory.node import NodeMemory
from trinity.observe.metrics import REQUEST

REST_DELAY_MS = 40
# One further than the longest published gap of the six, a second.
_APART_SECONDS = 1.1
_FIRST_LISTS_SECONDS = 30.0
_CALLERS = 64
_ZIPF_EXPONENT = 1.0
_ZIPF_RATE = 2_000
# Each has one lookup out at a time: so many that those who wait for an asset do not hold up the rest.
_ZIPF_CALLERS = 256
_RESULTS = ("catalog", "table", "miss", "refused")
_GAPS = {"coinbase": 0.15, "gemini": 1.0, "kraken": 1.0, "gateio": 0.2, "cryptocom": 0.1, "okx": 0.2}


def measure_misses(folder: Path, assets: int, seconds: float, progress: Progress) -> dict[str, Any]:
    """Latency of so many assets, and so long a load of each kind."""
    from feeds.simulator.beyond import FURTHER_ASSETS, further_markets
    from trinity.markets import load_catalog

    listed = [market.asset for market in further_markets(load_catalog())]
    node = start_whole(folder, 1, extra={"SIMULATOR_REST_DELAY_MS": str(REST_DELAY_MS)})
    try:
        _wait_for_lists(node)
        priced = [name for name in FURTHER_ASSETS if listed.count(name) >= 4]
        random.Random(1).shuffle(priced)
        progress.step(f"{assets} assets, one after the other")
        latency = _measure_latency(node, priced[:assets])
        progress.step("a load by Zipf's law over 400 assets")
        zipf = _measure_zipf(node, list(FURTHER_ASSETS), seconds)
        progress.step("floods")
        unknown = (f"NOSUCH{number}" for number in itertools.count())
        floods = {
            "unknown names, one address": _measure_flood(node, unknown, 1, seconds / 4),
            "unknown names, many addresses": _measure_flood(node, unknown, _CALLERS, seconds / 4),
            "listed names, many addresses": _measure_flood(node, itertools.cycle(priced[::-1]), _CALLERS, seconds / 4),
        }
        return {
            "rest_delay_ms": REST_DELAY_MS,
            "latency": latency,
            "zipf": zipf,
            "budget_per_second": MISS_BUDGET_RATE,
            "budget_burst": MISS_BUDGET_BURST,
            "floods": floods,
            "wrong": latency["failed"] + sum(flood["over_the_gaps"] for flood in floods.values()),
        }
    finally:
        node.stop()


class _Caller:
    """One address on one connection."""

    def __init__(self, node: Node, number: int) -> None:
        self._number = number
        self._connection = http.client.HTTPConnection(
            "127.0.0.1", node.tcp_port, timeout=10, source_address=(f"127.0.{1 + number // 250}.{1 + number % 250}", 0)
        )

    def ask(self, asset: str) -> tuple[int, dict[str, Any], float]:
        """Status, body, and seconds until it was there."""
        began = time.perf_counter()
        self._connection.request("GET", f"/price?asset={asset}")
        answer = self._connection.getresponse()
        body = answer.read()
        return answer.status, json.loads(body), time.perf_counter() - began

    def close(self) -> None:
        self._connection.close()


def _measure_latency(node: Node, assets: list[str]) -> dict[str, Any]:
    first, second, sources, failed = [], [], [], 0
    before = _lookups(node)
    for number, asset in enumerate(assets):
        caller = _Caller(node, number)
        caller.ask("BTC")  # the connection is there, and the worker awake
        status, body, seconds = caller.ask(asset)
        again, _, seconds_again = caller.ask(asset)
        failed += status != 200 or again != 200
        if status == 200:
            first.append(seconds * 1e3)
            second.append(seconds_again * 1e6)
            sources.append(len(body["exchanges"]))
        caller.close()
        time.sleep(_APART_SECONDS)
    if not first:
        raise PeerError("misses", "no asset beyond the catalog was answered")
    after = _lookups(node)
    return {
        "assets": len(assets),
        "failed": failed,
        "first_ms": _spread(first),
        "second_us": _spread(second),
        "sources": statistics.mean(sources),
        "table_hits": after["table"] - before["table"],
        "misses": after["miss"] - before["miss"],
    }


def _measure_zipf(node: Node, assets: list[str], seconds: float) -> dict[str, Any]:
    """The share of the second half counts: in the first, rows are filled."""
    weights = 1.0 / np.arange(1, len(assets) + 1) ** _ZIPF_EXPONENT
    # As many as a connection sends, and what no two connections have in common.
    drawn = int(_ZIPF_RATE * seconds / _ZIPF_CALLERS) + 1
    ranks = np.random.default_rng(1).choice(len(assets), (2, drawn * _ZIPF_CALLERS), p=weights / weights.sum())
    # A first run compiles the load, for longer than a connection may wait for its first request.
    warm = HttpGenerator(node.http_target(), 1)
    warm.run(Load(0.1, 100))
    warm.close()
    sources = tuple(f"127.0.{5 + number // 250}.{1 + number % 250}" for number in range(_ZIPF_CALLERS))
    halves, outcomes = [], []
    for half in ranks:
        target = node.http_target([assets[int(rank)] for rank in half])
        generator = HttpGenerator(replace(target, stride=drawn, sources=sources), _ZIPF_CALLERS)
        before = _lookups(node)
        outcomes.append(generator.run(Load(seconds, _ZIPF_RATE)))
        generator.close()
        after = _lookups(node)
        halves.append({name: after[name] - before[name] for name in _RESULTS})
    counted = halves[1]["table"] + halves[1]["miss"] + halves[1]["refused"]
    return {
        "assets": len(assets),
        "seconds": seconds,
        "lookups_per_second": round(sum(outcome.sent for outcome in outcomes) / seconds / 2),
        "filling": halves[0],
        "filled": halves[1],
        "share_of_hits": halves[1]["table"] / counted,
        "answers": [outcome.as_dict() for outcome in outcomes],
    }


def _measure_flood(node: Node, names: "itertools.cycle[str] | Any", addresses: int, seconds: float) -> dict[str, Any]:
    callers = [_Caller(node, 2_000 + number) for number in range(addresses)]
    statuses = dict[int, int]()
    before, began = _asked(node), time.perf_counter()
    asked = 0
    while time.perf_counter() - began < seconds:
        status, _, _ = callers[asked % addresses].ask(next(names))
        statuses[status] = statuses.get(status, 0) + 1
        asked += 1
    spent = time.perf_counter() - began
    after = _asked(node)
    for caller in callers:
        caller.close()
    questions = {name: after[name] - before[name] for name in after}
    allowed = {name: spent / _GAPS[name] + 1 for name in after}
    return {
        "names_per_second": round(asked / spent),
        "statuses": {str(status): count for status, count in sorted(statuses.items())},
        "questions": questions,
        "allowed": {name: round(count) for name, count in allowed.items()},
        "over_the_gaps": sum(questions[name] > allowed[name] for name in questions),
    }


def _lookups(node: Node) -> dict[str, int]:
    """Names by what the workers made of them."""
    memory = NodeMemory.attach(node.name)
    found = dict.fromkeys(_RESULTS, 0)
    for index, entry in enumerate(memory.card.processes):
        if entry.kind == "worker":
            block = memory.control.block(index)
            for result in _RESULTS:
                found[result] += block.read_counter(REQUEST.index("asset_lookups_total", result))
    return found


def _asked(node: Node) -> dict[str, int]:
    """Questions over REST, as the simulated exchanges have counted them."""
    with urllib.request.urlopen(f"http://127.0.0.1:{node.simulator_port}/", timeout=10) as answer:
        described = json.loads(answer.read())
    return {name: fields["rest_requests"] for name, fields in described["exchanges"].items()}


def _wait_for_lists(node: Node) -> None:
    """Until a name that nobody lists is told so at once: all lists are there."""
    ends, number = time.perf_counter() + _FIRST_LISTS_SECONDS, 0
    while time.perf_counter() < ends:
        caller = _Caller(node, 3_000 + number)
        before = _asked(node)
        status, _, _ = caller.ask(f"NOLIST{number}")
        caller.close()
        if status == 404 and _asked(node) == before:
            return
        number += 1
        time.sleep(0.5)
    raise PeerError("misses", "the exchanges' lists did not come")


def _spread(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "median": round(statistics.median(ordered), 1),
        "p90": round(ordered[int(len(ordered) * 0.9)], 1),
        "worst": round(ordered[-1], 1),
    }
