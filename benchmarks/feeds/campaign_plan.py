"""Which exchanges lie, are away or talk nonsense, and when: a random campaign against the simulated exchanges. Pure.

Rules: randomness and time are arguments. At any moment at most floor((n - 1) / 2) of the n exchanges that are surely
live lie; whoever is away or broken, or was so lately, is not counted as live, and whoever lied lately counts as a
liar. Now and then a majority lies for some seconds: from then until SILENCE_SECONDS after its end nothing is judged,
and nothing else goes wrong.
"""

from collections.abc import Sequence
from random import Random
from typing import Any, NamedTuple

# A lie may stay in a table for as long as a quote may be old, 30 s; a connection comes back within a minute.
LIE_TAIL_SECONDS = 35.0
RETURN_SECONDS = 60.0
# After a majority lied, wrong prices may be served for so long, and not a moment longer.
SILENCE_SECONDS = 60.0
EPISODE_SECONDS = (5.0, 40.0)
MAJORITY_SECONDS = (8.0, 20.0)
PAUSE_SECONDS = (1.0, 6.0)
# Of the choices, one every 3.5 s: a majority lies every four minutes or so, and a third of the time is not judged.
MAJORITY_SHARE = 0.015
# What no minority may pass on: from far away down to what lies within the windows of the rules.
SCALES = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.997, 0.998, 1.0024, 1.004, 1.01, 1.05, 1.1, 2.0)
COINS = ("USDT", "USDC")
AWAY: tuple[tuple[str, ...], ...] = (("refuse", "rest_500"), ("freeze", "rest_freeze"), ("freeze", "rest_500"))
BROKEN: tuple[tuple[str, ...], ...] = (
    ("zero_price",),
    ("crossed_book",),
    ("bad_payload",),
    ("bad_sequence",),
    ("no_timestamp",),
    ("clock_skew",),
    ("slow",),
    ("disconnect",),
    ("freeze", "rest_429"),
)


class Episode(NamedTuple):
    """Faults that begin together; `requests` are bodies of POST /faults."""

    kind: str  # "lie", "away", "broken" or "majority"
    exchanges: tuple[str, ...]
    seconds: float
    requests: tuple[dict[str, Any], ...]


class Plan:
    """The campaign's course; `listed` is exchange -> its assets. Times are seconds from any start."""

    def __init__(self, rng: Random, listed: dict[str, frozenset[str]]) -> None:
        self._rng = rng
        self._listed = listed
        self._lying_until: dict[str, float] = {}
        self._absent_until: dict[str, float] = {}
        self._next_at = 0.0
        self._unjudged_until = 0.0

    def is_judged(self, now: float) -> bool:
        """Whether the prices of this moment must be right."""
        return now >= self._unjudged_until

    def next(self, now: float) -> Episode | None:
        """What goes wrong now, if anything does."""
        if now < self._next_at:
            return None
        self._next_at = now + self._rng.uniform(*PAUSE_SECONDS)
        draw = self._rng.random()
        if draw < MAJORITY_SHARE:
            return self._majority(now)
        if draw < 0.65:
            return self._lie(now)
        return self._absence(now, "away", AWAY) if draw < 0.85 else self._absence(now, "broken", BROKEN)

    def liars(self, now: float) -> set[str]:
        return {exchange for exchange, until in self._lying_until.items() if now < until}

    def absent(self, now: float) -> set[str]:
        return {exchange for exchange, until in self._absent_until.items() if now < until}

    def _lie(self, now: float) -> Episode | None:
        liars, absent = self.liars(now), self.absent(now)
        allowed = _faulty(len(self._listed) - len(absent)) - len(liars)
        free = sorted(set(self._listed) - liars - absent)
        if allowed < 1 or not free:
            return None
        chosen = self._rng.sample(free, self._rng.randint(1, min(allowed, len(free))))
        return self._lies("lie", chosen, self._rng.uniform(*EPISODE_SECONDS), now)

    def _majority(self, now: float) -> Episode:
        chosen = self._rng.sample(sorted(self._listed), self._rng.randint(3, len(self._listed)))
        seconds = self._rng.uniform(*MAJORITY_SECONDS)
        self._unjudged_until = self._next_at = now + seconds + SILENCE_SECONDS
        return self._lies("majority", chosen, seconds, now)

    def _lies(self, kind: str, exchanges: Sequence[str], seconds: float, now: float) -> Episode:
        """All of them by one scale, or each by its own; in half of the cases the coins by another."""
        rng = self._rng
        together, coins_apart = rng.random() < 0.7, rng.random() < 0.5
        scale, coin_scale = rng.choice(SCALES), rng.choice(SCALES)
        requests = []
        for exchange in exchanges:
            self._lying_until[exchange] = now + seconds + LIE_TAIL_SECONDS
            if not together:
                scale, coin_scale = rng.choice(SCALES), rng.choice(SCALES)
            if rng.random() < 0.3:
                some = rng.sample(sorted(self._listed[exchange]), 8)
                requests += [_fault(exchange, "scale_price", seconds, scale, asset) for asset in some]
            else:
                requests.append(_fault(exchange, "scale_price", seconds, scale))
            if coins_apart:
                coins = [coin for coin in COINS if coin in self._listed[exchange]]
                requests += [_fault(exchange, "scale_price", seconds, coin_scale, coin) for coin in coins]
        return Episode(kind, tuple(exchanges), seconds, tuple(requests))

    def _absence(self, now: float, kind: str, ways: Sequence[tuple[str, ...]]) -> Episode | None:
        liars, absent = self.liars(now), self.absent(now)
        free = sorted(set(self._listed) - liars - absent)
        if not free or len(liars) > _faulty(len(self._listed) - len(absent) - 1):
            return None
        exchange = self._rng.choice(free)
        seconds = self._rng.uniform(*EPISODE_SECONDS)
        self._absent_until[exchange] = now + seconds + RETURN_SECONDS
        requests = tuple(_fault(exchange, fault, seconds) for fault in self._rng.choice(ways))
        return Episode(kind, (exchange,), seconds, requests)


def _faulty(live: int) -> int:
    return max(0, (live - 1) // 2)


def _fault(
    exchange: str, fault: str, seconds: float, value: float | None = None, asset: str | None = None
) -> dict[str, Any]:
    request: dict[str, Any] = {"exchange": exchange, "fault": fault, "seconds": round(seconds, 3)}
    if value is not None:
        request["value"] = value
    if asset is not None:
        request["asset"] = asset
    return request
