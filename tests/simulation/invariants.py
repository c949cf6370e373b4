"""What must be true after each step, whatever happened.

    honest     a price that can be served lies where honest exchanges were, while at most floor((n-1)/2) of the n that
               are live lie, and a minority of an asset's own
    fresh      it rests on enough quotes that are no older than the asset's limit, by our receipt and by their making
    ledger     a row twice, or of nobody's answer, is found by the database at once; after a quiet period all is there
    limits     no caller was granted more than rate, burst and month allow
    health     processes and assets are in the report what they are in the world

Rules: the world's own knowledge judges (when a quote was made and by whom, who was granted what), never the numbers of
the code under test. Where the world cannot know (who counts as live within a second) it takes the side that accuses
nobody: honest exchanges are live when they surely are, liars when they may be.
"""

from typing import TYPE_CHECKING, NamedTuple

from tests.simulation.callers import TARGETS
from trinity.clock import NS_PER_MS, NS_PER_SECOND
from trinity.limits import EXCHANGE_CLOCK_ALLOWANCE_NS, HEARTBEAT_AGE_MAX_NS
from trinity.memory.answer_table import ANSWER_DTYPE, ROW_WORDS, SLOT_WORDS, AnswerState
from trinity.memory.cell import COUNTER_WORDS
from trinity.memory.price_table import RowState
from trinity.observe.status import read_node, report_health

if TYPE_CHECKING:
    from tests.simulation.world import World

# How far a served price may be from what honest exchanges said: their noise of 1 bp, spreads, ticks and an index.
TOLERANCE = 8e-4
# A caller's own age limit is met when a quote that young says about the same.
SAME = 5e-4
# A lie may work for as long as its quotes are good, an index of them is held and a price of that index is served.
AFTERMATH_NS = 90 * NS_PER_SECOND
_MARGIN_NS = NS_PER_SECOND
# A row that is called frozen although its exchange delivers was thrown out by the others' word: it counts as live.
_DELIVERS_NS = 2 * NS_PER_SECOND
BPS_OFF = 10_000
# Steps in which the consensus looks at its quotes: its turns, and its start, which measures the coins.
_MEASURES = ("turn", "settle", "start", "restart", "crash")

assert ANSWER_DTYPE.fields is not None
_STATE, _VALID_UNTIL, _PRICE, _SCALE = (
    int(ANSWER_DTYPE.fields[name][1]) // 8 for name in ("state", "valid_until_ns", "price", "scale")
)  # fmt: skip
_GOOD = int(AnswerState.GOOD)
_FROZEN, _UNKNOWN = int(RowState.FROZEN), int(RowState.UNKNOWN)


class InvariantError(Exception):
    """An invariant does not hold; `name` is one of the table above."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(f"{name}: {detail}")
        self.name = name
        self.detail = detail


class Served(NamedTuple):
    """What a worker would answer now without a caller's limits."""

    price: float
    valid_until_ns: int


class Invariants:
    """Of one world; `check` after each step."""

    def __init__(self, world: "World") -> None:
        self._world = world
        assets = world.catalog.assets
        self._max_age_ns = [asset.rules.max_age_ms * NS_PER_MS for asset in assets]
        self._min_sources = [asset.rules.min_sources for asset in assets]
        self._dishonest_until_ns = [0] * len(assets)  # until then lies may still work
        self._forgiven = 0
        self._assets = range(len(assets))
        self._fresh_until_ns = [0] * len(assets)  # so long enough of the quotes at its decision are young
        self._answers: object = None
        self._newest: list[tuple[int, Served | None] | None] = []

    def check(self, kind: str) -> None:
        """Raise the first InvariantError after a step of this kind.

        What a step of its kind cannot have changed is not looked at again: a million steps are to take minutes.
        """
        decides = kind == "turn"
        if kind in _MEASURES:
            self._watch_liars()
        served = [self.served(asset) for asset in self._assets]
        now_ns = self._world.clock.true_ns
        for asset, one in zip(self._assets, served, strict=True):
            if one is None:
                continue
            if decides or kind in ("move", "settle"):
                self._honest(asset, one.price)
            if now_ns > self._fresh_until_ns[asset]:
                name = self._world.catalog.assets[asset].name
                over = (now_ns - self._fresh_until_ns[asset]) / NS_PER_SECOND
                raise InvariantError("fresh", f"{name} is served {over:.3f} s after too few of its quotes are fresh")
        if kind == "ask":
            self._limits()
            self._answer(served)
        if kind == "settle":
            self._ledger()
        if kind in ("health", "settle", "kill"):
            self._health(served)

    def served(self, asset: int) -> Served | None:
        """The consensus answer as it stands in the table, None while it must not be given."""
        words, at = self._words(), asset * self._row_words
        counter = words[at]
        newest = self._newest[asset]
        if newest is None or newest[0] != counter:
            slot = at + COUNTER_WORDS + (counter & 1) * SLOT_WORDS
            one = None
            if counter and words[slot + _STATE] == _GOOD:
                scale = words[slot + _SCALE] & 0xFFFF_FFFF
                one = Served(words[slot + _PRICE] / 10**scale, words[slot + _VALID_UNTIL])
            newest = self._newest[asset] = counter, one
            self._fresh_until_ns[asset] = self._basis_ends_ns(asset)
        return newest[1] if newest[1] is not None and self._now() < newest[1].valid_until_ns else None

    def _words(self) -> memoryview:
        """The answer table's words, of the node's present life."""
        answers = self._world.answers
        if answers is not self._answers:
            self._answers = answers
            self._memory = memoryview(answers.words).cast("B").cast("q")
            self._newest = [None] * len(self._assets)
            self._row_words = (1 + answers.exchanges) * ROW_WORDS
        return self._memory

    def _now(self) -> int:
        return self._world.clock.monotonic_ns()

    # --- honest --------------------------------------------------------------------------------------------

    def _watch_liars(self) -> None:
        """Note for each asset whether its liars are few enough now; if not, for how long their word may last."""
        world = self._world
        now_ns = world.clock.true_ns
        if now_ns - world.market.lied_ns > max(self._max_age_ns) + AFTERMATH_NS:
            return
        assets = self._assets
        liars: list[set[int]] = [set() for _ in assets]
        honest: list[set[int]] = [set() for _ in assets]
        for exchange, feed in enumerate(world.feeds):
            for asset, cell in feed.cells.items():
                if cell.made.is_lie and now_ns - cell.received_ns <= self._max_age_ns[asset] + _MARGIN_NS:
                    liars[asset].add(exchange)
                elif not cell.made.is_lie and self._surely_counts(exchange, asset, cell.received_ns, cell.made.at_ns):
                    honest[asset].add(exchange)
        all_liars, all_honest = set().union(*liars), set().union(*honest)
        if not all_liars:
            return
        in_market = 2 * len(all_liars) <= len(all_liars | all_honest) - 1
        for asset in assets:
            in_asset = 2 * len(liars[asset]) <= len(liars[asset] | honest[asset]) - 1
            if not (in_market and (in_asset or not liars[asset])):
                self._dishonest_until_ns[asset] = now_ns + AFTERMATH_NS

    def _surely_counts(self, exchange: int, asset: int, received_ns: int, made_ns: int) -> bool:
        world = self._world
        now_ns, max_age_ns = world.clock.true_ns, self._max_age_ns[asset] - _MARGIN_NS
        if now_ns - received_ns > max_age_ns or now_ns - made_ns > max_age_ns:
            return False
        apart_ns = abs(received_ns - made_ns) + abs(world.market.skew_ns(exchange)) + abs(world.clock.wall_error_ns)
        if apart_ns > EXCHANGE_CLOCK_ALLOWANCE_NS - _MARGIN_NS:
            return False
        state = int(world.prices.read_state(exchange, asset))
        return state != _UNKNOWN and (state != _FROZEN or now_ns - received_ns <= _DELIVERS_NS)

    def _honest(self, asset: int, price: float) -> None:
        world = self._world
        if world.clock.true_ns < self._dishonest_until_ns[asset]:
            return
        true = [value for _, value in world.market.honest[asset]]
        if not min(true) * (1 - TOLERANCE) <= price <= max(true) * (1 + TOLERANCE):
            liars = [name for name, factor in zip(world.market.names, world.market.factor, strict=True) if factor != 1]
            off = (price / true[-1] - 1) * BPS_OFF
            name = world.catalog.assets[asset].name
            raise InvariantError("honest", f"{name} is served at {price}, {off:+.1f} bps off; liars: {liars or 'none'}")

    # --- fresh ---------------------------------------------------------------------------------------------

    def _basis_ends_ns(self, asset: int) -> int:
        """When too few of the quotes that stand in the table now are within the asset's limit: a decision's end.

        By our receipt, and by when each was made, as far as the clocks allow.
        """
        world = self._world
        limit_ns, ends = self._max_age_ns[asset], []
        for exchange, feed in enumerate(world.feeds):
            cell = feed.cells.get(asset)
            if cell is not None:
                clocks_ns = abs(world.market.skew_ns(exchange)) + abs(world.clock.wall_error_ns)
                allowed_ns = EXCHANGE_CLOCK_ALLOWANCE_NS + clocks_ns + _MARGIN_NS
                ends.append(min(cell.received_ns, cell.made.at_ns + allowed_ns) + limit_ns)
        ends.sort(reverse=True)
        needed = self._min_sources[asset]
        return ends[needed - 1] if len(ends) >= needed else 0

    # --- limits and answers --------------------------------------------------------------------------------

    def _limits(self) -> None:
        broken, self._world.callers.broken = self._world.callers.broken, None
        if broken is not None:
            raise InvariantError("limits", broken)

    def _answer(self, served: list[Served | None]) -> None:
        """What a caller got agrees with the table, and with the limit that the caller stated."""
        world = self._world
        answer, world.callers.newest = world.callers.newest, None
        if answer is None or answer.status != 200:
            return
        target = TARGETS[answer.target]
        if "exchange=" in target:
            return
        for body in answer.body.get("prices", [answer.body]):
            asset = world.catalog.asset_index(body["asset"])
            one = served[asset]
            if body["status"] != "fresh":
                continue
            if one is None:
                raise InvariantError("fresh", f"{target} was answered with a price that is over")
            if "max_age_ms=" in target:
                self._young(asset, body["price"], int(target.partition("max_age_ms=")[2]))

    def _young(self, asset: int, price: float, limit_ms: int) -> None:
        """Some exchange whose quote is within the caller's limit said about this price."""
        world = self._world
        oldest_ns = world.clock.true_ns - limit_ms * NS_PER_MS
        for feed in world.feeds:
            for which, cell in reversed(feed.said):
                if cell.received_ns < oldest_ns:
                    break
                if which == asset and (abs(price / cell.made.usd - 1) <= SAME or cell.made.is_lie):
                    return
        raise InvariantError("fresh", f"{price} was served within {limit_ms} ms, and nobody so young said it")

    # --- ledger --------------------------------------------------------------------------------------------

    def _ledger(self) -> None:
        """After a quiet period every counted answer is a row or in a sum, and none is both."""
        world, database = self._world, self._world.database
        loaded = len(database.ids) + database.sampled + database.lost_detail
        expected = len(database.expected) - self._forgiven
        if world.crashed_since_quiet:  # what was not synced may be gone, and is known from now on
            world.crashed_since_quiet = False
            self._forgiven += max(0, expected - loaded)
            expected = min(expected, loaded)
        if loaded != expected:
            raise InvariantError("ledger", f"{expected} answers were counted, {loaded} are in rows and sums")
        refused = database.refused_rows + database.sampled
        if database.refused != refused:
            raise InvariantError("ledger", f"{refused} refusals arrived, {database.refused} are in their sums")
        for unit, sums in database.sums.items():
            if sums["requests"] != expected:
                raise InvariantError(
                    "ledger", f"{expected} answers were counted, {sums['requests']} in sums of {unit} min"
                )
        billed, counted = dict(database.by_key), dict(database.expected_by_key)
        too_many = any(count > counted.get(key_id, 0) for key_id, count in billed.items())
        if too_many or (not self._forgiven and billed != counted):
            raise InvariantError("ledger", f"by key {billed} are billed, {counted} were counted")

    # --- health --------------------------------------------------------------------------------------------

    def _health(self, served: list[Served | None]) -> None:
        world = self._world
        now_ns = world.clock.true_ns
        _, report = report_health(read_node(world.memory, self._now(), world.rings))
        alive = {}
        for name, view in report["processes"].items():
            alive[name] = now_ns - world.progress.get(name, -(10**18)) <= HEARTBEAT_AGE_MAX_NS
            if bool(view["alive"]) != alive[name]:
                raise InvariantError("health", f"{name} is called {'alive' if view['alive'] else 'dead'}")
        fresh = sum(one is not None for one in served)
        called = report["consensus"]["fresh_assets"]
        if called != fresh:
            raise InvariantError("health", f"{called} assets are called fresh, {fresh} are")
        answers = any(alive[name] for name in alive if name.startswith("worker"))
        if (report["status"] == "down") == bool(fresh and answers):
            raise InvariantError("health", f"the node is called {report['status']} with {fresh} fresh assets")
        if report["status"] == "ok" and not (all(alive.values()) and fresh == len(served)):
            raise InvariantError("health", "the node is called ok, and is not")
        for exchange, feed in enumerate(world.feeds):
            self._exchange(exchange, feed.name, report["feeds"][world.market.names[exchange]]["status"])
        ledger = report["ledger"]
        has_word = ledger is not None and world.flusher.is_alive and world.flusher.has_shown
        if has_word and ledger["spool_writable"] != world.flusher.is_writable:
            raise InvariantError("health", f"the disk is called {'well' if ledger['spool_writable'] else 'full'}")

    def _exchange(self, exchange: int, feed: str, status: str) -> None:
        """An exchange that has been silent for longer than any limit is not said to deliver."""
        world = self._world
        checked_ns = world.progress.get(feed, 0)
        newest_ns = max((cell.received_ns for cell in world.feeds[exchange].cells.values()), default=0)
        is_judged = world.is_alive(feed) and checked_ns == world.clock.true_ns
        silent_ns = world.clock.true_ns - newest_ns
        if is_judged and status != "down" and silent_ns > max(self._max_age_ns) + _MARGIN_NS:
            raise InvariantError("health", f"{feed} is called {status} and has been silent")
