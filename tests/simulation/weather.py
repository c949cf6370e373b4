"""What happens next: each history has its own weather, a random choice of what goes wrong in it and how often.

Rules: the only randomness of a simulation. It proposes actions and looks at the world only to propose what makes sense;
the world is a function of the actions. A history in which everything goes wrong at once explores less than many in each
of which some things do (swarm testing), so most kinds of fault are absent from most histories.
"""

import random
from collections.abc import Collection
from typing import TYPE_CHECKING

from tests.simulation.callers import ANSWERED, CALLERS, DIES_AFTER, DIES_BEFORE, TARGETS
from tests.simulation.exchanges import LOST, ONCE, TWICE
from tests.simulation.faults import FULL, TAKES, TEARS
from tests.simulation.ledger import COMMITS_UNKNOWN, DOWN, FAILS, FAILS_AT_COMMIT, UP

if TYPE_CHECKING:
    from tests.simulation.world import Action, World

# Of 1,000 events in fair weather.
_FAIR = {
    "quote": 590, "turn": 110, "check": 70, "ask": 140, "drain": 25, "load": 4, "timer": 25, "move": 25, "rest": 8,
    "sync": 2, "settle": 1, "health": 6,
}  # fmt: skip
# And those of a kind of trouble, when a history has it.
_TROUBLES = {
    "lies": {"lie": 8},
    "absences": {"away": 8},
    "bad networks": {},
    "deaths": {"kill": 8, "start": 16},
    "clocks": {"wall": 3, "skew": 4},
    "bad disk": {"disk": 12, "drain": 25},
    "bad database": {"database": 12, "load": 8},
    "reboots": {"restart": 1, "crash": 1, "writeback": 4},
}
_PACES_MS = (5, 20, 60)
_STABLE = (2, 3)
_MONTH_SECONDS = 31 * 86_400


class Weather:
    """Of one history; `troubles` None: drawn."""

    def __init__(self, seed: str, action: "type[Action]", troubles: Collection[str] | None = None) -> None:
        self._rng = random.Random(seed)
        self._action = action
        drawn = {name for name in _TROUBLES if self._rng.random() < 0.35}
        self.troubles = drawn if troubles is None else set(troubles)
        weights = dict(_FAIR)
        for name, kinds in _TROUBLES.items():  # in the table's order: that of a set is another in every process
            for kind, weight in kinds.items() if name in self.troubles else ():
                weights[kind] = weights.get(kind, 0) + weight
        self._kinds, self._weights = list(weights), list(weights.values())
        self._pace_ms = self._rng.choice(_PACES_MS)
        self._standing_still = self._rng.random() < 0.15  # the truth does not move: quotes repeat to the digit

    def propose(self, world: "World") -> "Action":
        """The next event."""
        rng = self._rng
        kind = rng.choices(self._kinds, self._weights)[0]
        args = getattr(self, f"_{kind}")(world)
        pace = self._pace_ms
        after_ms = rng.randrange(pace) if rng.random() < 0.999 else rng.randrange(100 * pace)
        return self._action(after_ms, kind, args)

    # --- fair weather --------------------------------------------------------------------------------------

    def _quote(self, _: "World") -> tuple[int, ...]:
        rng, fate = self._rng, ONCE
        if "bad networks" in self.troubles and rng.random() < 0.2:
            fate = rng.choice((LOST, TWICE, rng.randrange(3, 500), rng.randrange(500, 12_000)))
        noise = 0 if self._standing_still else rng.randrange(-100, 101)
        return rng.randrange(6), rng.randrange(4), noise, fate

    def _move(self, _: "World") -> tuple[int, ...]:
        asset = self._rng.randrange(4)
        if self._standing_still:
            return asset, 0
        reach = 3 if asset in _STABLE else 60
        return asset, self._rng.randrange(-reach, reach + 1)

    def _turn(self, _: "World") -> tuple[int, ...]:
        return self._maybe_fatal("deaths", 0.03, 1500)

    def _check(self, _: "World") -> tuple[int, ...]:
        return (self._rng.randrange(6),)

    _timer = _check

    def _rest(self, _: "World") -> tuple[int, ...]:
        late_ms = self._rng.randrange(4_000) if "bad networks" in self.troubles else 50
        return self._rng.randrange(6), late_ms

    def _ask(self, _: "World") -> tuple[int, ...]:
        rng, fate = self._rng, ANSWERED
        if "deaths" in self.troubles and rng.random() < 0.01:
            fate = rng.choice((DIES_BEFORE, DIES_AFTER, DIES_AFTER + rng.randrange(1, 9)))
        return rng.randrange(2), rng.randrange(len(CALLERS)), rng.randrange(len(TARGETS)), fate

    def _drain(self, _: "World") -> tuple[int, ...]:
        return self._maybe_fatal("deaths", 0.05, 8)

    def _load(self, _: "World") -> tuple[int, ...]:
        return self._maybe_fatal("deaths", 0.1, 25)

    def _sync(self, _: "World") -> tuple[int, ...]:
        return ()

    _settle = _health = _restart = _crash = _writeback = _sync

    # --- trouble -------------------------------------------------------------------------------------------

    def _lie(self, world: "World") -> tuple[int, ...]:
        """As many liars as the live exchanges bear; now and then more, which no consensus can bear."""
        rng = self._rng
        liars = [i for i, factor in enumerate(world.market.factor) if factor != 1.0]
        live = [i for i in range(6) if not world.market.is_away[i]]
        bound = (len(live) - 1) // 2 + (rng.random() < 0.02)
        exchange = rng.choice(live) if live else 0
        if exchange in liars or len(liars) >= bound:
            return (rng.choice(liars) if liars else exchange), 0
        bps = [round((factor - 1) * 10_000) for factor in world.market.factor if factor != 1.0]
        return exchange, (bps[0] if bps and rng.random() < 0.8 else rng.choice((-500, 500, -150, 150, -2000, 1000)))

    def _away(self, world: "World") -> tuple[int, ...]:
        exchange = self._rng.randrange(6)
        goes = not world.market.is_away[exchange]
        liars = sum(factor != 1.0 for factor in world.market.factor)
        live = 6 - sum(world.market.is_away)
        if goes and liars > (live - 2) // 2:
            return exchange, 0
        return exchange, int(goes)

    def _kill(self, _: "World") -> tuple[int, ...]:
        return (self._rng.randrange(10),)

    _start = _kill

    def _skew(self, _: "World") -> tuple[int, ...]:
        return self._rng.randrange(6), self._rng.choice((0, 0, 300, -300, 2_000, -2_000, 7_000, -7_000, -60_000))

    def _wall(self, world: "World") -> tuple[int, ...]:
        rng = self._rng
        if world.clock.wall_error_ns and rng.random() < 0.5:
            return (-world.clock.wall_error_ns // 10**9,)
        return (rng.choice((1, -1, 3, -3, 90, -90, 3600, -3600, _MONTH_SECONDS, -_MONTH_SECONDS)),)

    def _disk(self, _: "World") -> tuple[int, ...]:
        return (self._rng.choice((TAKES, TAKES, FULL, TEARS)),)

    def _database(self, _: "World") -> tuple[int, ...]:
        return self._rng.choice((UP, UP, DOWN, FAILS, FAILS_AT_COMMIT, COMMITS_UNKNOWN)), self._rng.randrange(25)

    def _maybe_fatal(self, trouble: str, share: float, calls: int) -> tuple[int, ...]:
        if trouble in self.troubles and self._rng.random() < share:
            return (self._rng.randrange(1, calls),)
        return ()
