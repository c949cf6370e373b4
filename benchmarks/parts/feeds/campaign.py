"""Is a wrong price ever served while the liars are a minority? Random faults on a whole node, every answer checked.

A whole node with simulated exchanges; feeds/campaign_plan.py says who lies, is away or talks nonsense. All assets are
asked for in turn over HTTP, and each fresh price is held against what the simulator's markets truly were (`GET
/market`, before any fault) for as long as a quote may be old: further than OFF_BPS_MAX outside of that is wrong.

Rules: loopback only; what ends the node early is a PeerError. Prices while a majority lies, and for 60 s after, are
counted but not judged.
"""

import contextlib
import http.client
import json
import math
from collections import Counter, deque
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from benchmarks.errors import PeerError
from benchmarks.feeds.campaign_plan import Episode, Plan
from benchmarks.progress import Progress
from benchmarks.servers.node import Node, start_whole
from trinity.clock import NS_PER_SECOND, Clock
from trinity.markets import load_catalog

OFF_BPS_MAX = 50.0
# A quote may be 30 s old; one second for the time between two looks at the market.
WINDOW_SECONDS = 31.0
LOOK_SECONDS = 0.5
# All assets this often: some 270 prices a second, which one connection asks for one by one.
ROUND_SECONDS = 0.1
EXAMPLES_MAX = 20
_TIMEOUT_SECONDS = 5.0


class Look(NamedTuple):
    """The market at one moment: asset -> lowest bid and highest ask of all exchanges, in USD."""

    at: float
    ranges: dict[str, tuple[float, float]]


class Truth:
    """What was true lately."""

    def __init__(self) -> None:
        self._looks: deque[Look] = deque()

    def add(self, look: Look) -> None:
        self._looks.append(look)
        while look.at - self._looks[0].at > WINDOW_SECONDS:
            self._looks.popleft()

    def off_bps(self, asset: str, price: float) -> float:
        """How far a price is outside of everything that was true within the window."""
        low = min(look.ranges[asset][0] for look in self._looks)
        high = max(look.ranges[asset][1] for look in self._looks)
        return max(low - price, price - high, 0.0) / low * 10_000


def measure_campaign(folder: Path, minutes: float, seed: int, clock: Clock, progress: Progress) -> dict[str, Any]:
    """Run the campaign; `wrong` is how many judged fresh prices were."""
    with contextlib.ExitStack() as stopping:
        progress.step("starting a whole node for the campaign")
        node = start_whole(folder, workers=1)
        stopping.callback(node.stop)
        campaign = _Campaign(node, Random(seed), clock)
        stopping.callback(campaign.close)
        campaign.run(minutes * 60, progress)
    return {"minutes": minutes, "seed": seed, "off_bps_max": OFF_BPS_MAX, **campaign.found()}


def ranges_of(markets: list[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """asset -> (lowest bid, highest ask) in USD; what is quoted in a coin is taken at that coin's own extremes."""
    in_usd: dict[str, tuple[float, float]] = {}
    for is_converted in (False, True):
        coins = dict(in_usd)
        for market in markets:
            currency = market["currency"]
            if (currency != "USD") is not is_converted:
                continue
            low_usd, high_usd = coins[currency] if is_converted else (1.0, 1.0)
            low, high = in_usd.get(market["asset"], (math.inf, 0.0))
            in_usd[market["asset"]] = (min(low, market["bid"] * low_usd), max(high, market["ask"] * high_usd))
    return in_usd


class _Campaign:
    """One campaign against one node."""

    def __init__(self, node: Node, rng: Random, clock: Clock) -> None:
        catalog = load_catalog()
        listed = {name: frozenset(m.asset for m in catalog.markets_of(name)) for name in catalog.exchanges}
        self._plan = Plan(rng, listed)
        self._node = node
        self._clock = clock
        self._truth = Truth()
        self._answers: Counter[str] = Counter()
        self._refusals: Counter[str] = Counter()
        self._episodes: Counter[str] = Counter()
        self._worst_bps = 0.0
        self._examples: list[dict[str, Any]] = []
        self._last: dict[str, Episode] = {}
        self._ask = http.client.HTTPConnection("127.0.0.1", node.tcp_port, timeout=_TIMEOUT_SECONDS)
        self._simulator = http.client.HTTPConnection("127.0.0.1", node.simulator_port, timeout=_TIMEOUT_SECONDS)

    def run(self, seconds: float, progress: Progress) -> None:
        """All of it, a round of all assets after the other."""
        started = look_at = self._now()
        said_minutes = 0
        while (now := self._now()) - started < seconds:
            if now >= look_at:
                self._look()
                look_at = now + LOOK_SECONDS
            self._act(now - started)
            for asset in self._node.assets:
                self._check(asset, started)
            if (now - started) // 60 > said_minutes:
                said_minutes += 1
                judged = self._answers["judged"]
                progress.step(f"minute {said_minutes}: {judged} fresh prices, {self._answers['wrong']} wrong")
            if self._node.server.ended_within(max(0.001, now + ROUND_SECONDS - self._now())):
                raise PeerError("node", "it ended during the campaign")

    def found(self) -> dict[str, Any]:
        return {
            "judged": self._answers["judged"],
            "wrong": self._answers["wrong"],
            "unjudged": self._answers["unjudged"],
            "unjudged_off": self._answers["unjudged_off"],
            "refused": dict(self._refusals),
            "episodes": dict(self._episodes),
            "worst_bps": round(self._worst_bps, 1),
            "examples": self._examples,
        }

    def close(self) -> None:
        self._ask.close()
        self._simulator.close()

    def _act(self, now: float) -> None:
        """Begin what the plan says."""
        episode = self._plan.next(now)
        if episode is None:
            return
        self._episodes[episode.kind] += 1
        self._last[episode.kind] = episode
        for request in episode.requests:
            status, body = _exchange(self._simulator, "POST", "/faults", json.dumps(request))
            if status != http.HTTPStatus.CREATED:
                raise PeerError("simulator", f"it refused {request}: {body!r}")

    def _look(self) -> None:
        status, body = _exchange(self._simulator, "GET", "/market")
        if status != http.HTTPStatus.OK:
            raise PeerError("simulator", f"GET /market: {status}")
        self._truth.add(Look(self._now(), ranges_of(json.loads(body)["markets"])))

    def _check(self, asset: str, started: float) -> None:
        """One price; the moment before it was asked for decides whether it is judged."""
        now = self._now() - started
        status, body = _exchange(self._ask, "GET", f"/price?asset={asset}")
        said = json.loads(body)
        if status != http.HTTPStatus.OK:
            self._refusals[said["error"]["code"]] += 1
            return
        off_bps = self._truth.off_bps(asset, float(said["price"]))
        is_wrong = off_bps > OFF_BPS_MAX
        if not self._plan.is_judged(now):
            self._answers["unjudged"] += 1
            self._answers["unjudged_off"] += is_wrong
            return
        self._answers["judged"] += 1
        self._answers["wrong"] += is_wrong
        self._worst_bps = max(self._worst_bps, off_bps)
        if is_wrong and len(self._examples) < EXAMPLES_MAX:
            faults = {kind: episode._asdict() for kind, episode in self._last.items()}
            example = {"second": round(now, 1), "asset": asset, "off_bps": round(off_bps, 1), "answer": said}
            liars, absent = sorted(self._plan.liars(now)), sorted(self._plan.absent(now))
            self._examples.append({**example, "liars": liars, "absent": absent, "last_episodes": faults})

    def _now(self) -> float:
        return self._clock.monotonic_ns() / NS_PER_SECOND


def _exchange(
    connection: http.client.HTTPConnection, method: str, path: str, body: str | None = None
) -> tuple[int, bytes]:
    """One request and its answer; a connection that the other side closed is opened again, once."""
    for is_last in (False, True):
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            return response.status, response.read()
        except (http.client.HTTPException, ConnectionError):
            connection.close()
            if is_last:
                raise
    raise AssertionError("the second try returns or raises")
