"""One flight an asset: Valkey, then the exchanges that list it, then the consensus, its rows, and who waits.

    nobody lists it              unknown, for a minute; no exchange is asked
    too few list it              refused, for some time; who has its turn is asked, for the rows of the exchanges
    Valkey has a price of it     quotes of another node, decided here by the same rules
    else all that list it        at once, each in its turn; those whose turn is far off only where too few are left
    settled                      rows written, waiters woken; who has not answered yet is still waited for
    all answers                  rows written anew, Valkey written behind it

Rules: however many wait, it is asked once. It is settled when no answer that is out can undo the price
(deciding.is_settled), so a slow exchange, or one whose turn comes late, holds nobody up. What is not settled is decided
with all answers, or FLIGHT_GRACE_NS after enough of them for a price, or with FLIGHT_NS. What cannot be decided is
refused with its reason, and for how long is in limits.py. Valkey costs one short wait, and nothing while its circuit is
open.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple

from feeds.consensus.decimals.rules import ConsensusState
from feeds.exchanges.contract import Exchange
from feeds.resolver.asking import NO_ANSWER, NOT_LISTED, Answer, Asker
from feeds.resolver.budget import Budget
from feeds.resolver.cached import BadCacheValueError, CachedQuote, decode, encode
from feeds.resolver.counters import ResolverCounters
from feeds.resolver.deciding import Decided, DecisionInput, Offer, decide, is_settled
from feeds.resolver.listings import Listings, Where
from feeds.resolver.market import MarketView
from feeds.resolver.rows import SpareRows
from trinity.cache.client import CacheClient
from trinity.cache.keys import PRICE
from trinity.clock import NS_PER_SECOND
from trinity.errors import CacheUnavailableError
from trinity.limits import (
    BUSY_ASSET_NS,
    FLIGHT_GRACE_NS,
    FLIGHT_NS,
    PRICE_CACHE_SECONDS,
    PRICE_CACHE_TIMEOUT_SECONDS,
    REFUSED_ASSET_NS,
    SCARCE_ASSET_NS,
    TURN_WAIT_MAX_NS,
    TURN_WAIT_NS,
    UNKNOWN_ASSET_NS,
)
from trinity.markets import AssetRules, Market
from trinity.memory.asset_table import AssetTable, SpareState
from trinity.memory.price_table import StoredQuote
from trinity.process import ProcessContext
from trinity.vocabulary import CODE_OK, CODES

_UNKNOWN, _STALE, _TOO_FEW, _RESOLVING = (
    CODES.index(code) for code in ("unknown_asset", "stale_price", "too_few_sources", "asset_resolving")
)


class Rest(NamedTuple):
    """One exchange to ask."""

    exchange: Exchange
    asker: Asker


class Told(NamedTuple):
    """What the exchanges have answered so far, of those that were asked; `is_complete` when that is all that may list
    the asset, and each has answered or had its time."""

    answers: Mapping[int, Answer]
    is_complete: bool

    @property
    def quotes(self) -> dict[int, StoredQuote]:
        return {one: answer for one, answer in self.answers.items() if isinstance(answer, StoredQuote)}


class Flights:
    """What is being resolved, and who waits for it."""

    def __init__(
        self,
        context: ProcessContext,
        rules: AssetRules,
        assets: AssetTable,
        rows: SpareRows,
        market: MarketView,
        listings: Listings,
        rest: Sequence[Rest],
        budget: Budget,
        asker_fds: Sequence[int],
        counters: ResolverCounters,
        cache: CacheClient | None,
    ) -> None:
        self._clock = context.clock
        self._node = context.node
        self._log = context.log
        self._exchanges = context.catalog.exchanges
        self._known = context.catalog.names()
        self._rules = rules
        self._assets = assets
        self._rows = rows
        self._market = market
        self._listings = listings
        self._rest = rest
        self._budget = budget
        self._asker_fds = asker_fds
        self._counters = counters
        self._cache = cache
        self._waiters: dict[str, set[int]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._behind: set[asyncio.Task[None]] = set()

    def want(self, name: str, asker: int) -> None:
        """A process asks for a name; it is woken when there is something to say."""
        now_ns = self._clock.monotonic_ns()
        cell = self._assets.find(name)
        is_there = cell is not None and cell.state is SpareState.ANSWERED and now_ns < cell.valid_until_ns
        self._waiters.setdefault(name, set()).add(asker)
        if is_there:
            self._end(name, "known")  # also while late answers are waited for
        elif name not in self._tasks:
            if name in self._known or self._assets.refusal(name, now_ns) != CODE_OK:
                self._end(name, "known")
            else:
                self._start(name)

    def renew(self, name: str) -> None:
        """A hot asset's answer is about to end."""
        if name not in self._tasks:
            self._start(name)

    def is_flying(self, name: str) -> bool:
        return name in self._tasks

    async def close(self) -> None:
        """End all flights."""
        tasks = [*self._tasks.values(), *self._behind]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def review(self, name: str, offers: Mapping[int, Offer]) -> None:
        """Decide an asset that has rows by these offers, and publish what comes out."""
        case = self._case(name, offers)
        self._rows.write(case, decide(case, self._rules))

    # --- one flight ------------------------------------------------------------------------------------------

    def _start(self, name: str) -> None:
        where = self._listings.where(name)
        if not where.currencies:
            self._refuse(name, _UNKNOWN, UNKNOWN_ASSET_NS, "unknown")
            return
        self._tasks[name] = task = asyncio.create_task(self._fly(name, where))
        task.add_done_callback(lambda ended: self._landed(name, ended))

    def _landed(self, name: str, task: asyncio.Task[None]) -> None:
        del self._tasks[name]
        if not task.cancelled() and task.exception() is not None:
            self._log.error("a flight failed", exc_info=task.exception(), extra={"fields": {"asset": name}})
            self._refuse(name, _RESOLVING, BUSY_ASSET_NS, "failed")

    async def _fly(self, name: str, where: Where) -> None:
        held = self._rows.get(name)
        is_renewal = held is not None and self._clock.monotonic_ns() < held.valid_until_ns
        if not is_renewal and await self._from_cache(name, where):
            self._end(name, "cache")
            return
        now_ns = self._clock.monotonic_ns()
        symbols = {
            one: self._rest[one].exchange.symbol_of(Market(self._exchanges[one], name, currency))
            for one, currency in where.currencies.items()
        }
        chosen = self._chosen(symbols, now_ns, is_scarce=self._is_scarce(where))
        if not self._is_scarce(where) and len(chosen) < self._rules.min_sources <= len(symbols):
            self._refuse(name, _RESOLVING, BUSY_ASSET_NS, "busy")  # no turn is spent on what cannot make a price
            return
        if not is_renewal and not self._budget.take(now_ns):
            self._refuse(name, _RESOLVING, BUSY_ASSET_NS, "budget")
            return
        told, settled = Told({}, is_complete=False), False
        async for told in self._ask_all(symbols, chosen, now_ns):
            settled = settled or self._is_settled(name, where, told)
        self._conclude(name, where, told, settled)

    def _is_settled(self, name: str, where: Where, told: Told) -> bool:
        """Whether these answers settle it; then its rows are written and who waits is woken."""
        if len(told.quotes) < self._rules.min_sources:
            return False
        # Who may list it and has not said otherwise counts as if it stood against them all.
        listing = frozenset(one for one in where.currencies if told.answers.get(one) is not NOT_LISTED)
        case, decided = self._decide(name, where, told, listing)
        if not is_settled(decided, self._rules, len(listing)) or not self._rows.write(case, decided):
            return False
        self._end(name, "rest")
        return True

    def _conclude(self, name: str, where: Where, told: Told, settled: bool) -> None:
        """All answers that come are there."""
        quotes, is_scarce = told.quotes, self._is_scarce(where)
        if not quotes:
            self._refuse_without(name, told, is_scarce=is_scarce)
            return
        case, decided = self._decide(name, where, told)
        if not settled and not decided.is_good and not told.is_complete and not is_scarce:
            # Too few had their turn: that says nothing of the asset.
            self._refuse(name, _RESOLVING, BUSY_ASSET_NS, "busy")
            return
        refused_ns = SCARCE_ASSET_NS if is_scarce and told.is_complete else REFUSED_ASSET_NS
        if not self._rows.write(case, decided, refused_ns):
            self._refuse(name, _RESOLVING, BUSY_ASSET_NS, "full")
            return
        if not settled:
            self._end(name, "rest" if decided.is_good else "refused")
        self._write_through(
            name, {self._exchanges[one]: CachedQuote(where.currencies[one], quotes[one]) for one in quotes}
        )

    def _decide(
        self, name: str, where: Where, told: Told, listing: frozenset[int] = frozenset()
    ) -> tuple[DecisionInput, Decided]:
        """By these answers, and of who has not answered by what is held; `listing` count as live."""
        held = self._rows.get(name)
        offers = dict(held.offers) if held is not None else {}
        quotes = told.quotes
        offers |= {
            one: Offer(where.currencies[one], quotes[one])
            if one in quotes
            else offers.get(one, Offer(where.currencies[one], None))
            for one in where.currencies
        }
        case = self._case(name, offers)
        case = case._replace(live=case.live | listing)
        return case, decide(case, self._rules)

    def _refuse_without(self, name: str, told: Told, *, is_scarce: bool) -> None:
        """No exchange gave a quote."""
        if not told.answers and is_scarce:
            self._refuse(name, _TOO_FEW, REFUSED_ASSET_NS, "refused")
        elif not told.answers:
            self._refuse(name, _RESOLVING, BUSY_ASSET_NS, "busy")
        elif told.is_complete and all(answer is NOT_LISTED for answer in told.answers.values()):
            self._refuse(name, _UNKNOWN, UNKNOWN_ASSET_NS, "unknown")
        else:
            self._refuse(name, _STALE, REFUSED_ASSET_NS, "refused")

    def _case(self, name: str, offers: Mapping[int, Offer]) -> DecisionInput:
        now_ns = self._clock.monotonic_ns()
        held = self._rows.get(name)
        carried = held.carried if held is not None else ConsensusState()
        return DecisionInput(name, offers, self._market.live(now_ns), self._market.indexes(now_ns), carried, now_ns)

    async def _from_cache(self, name: str, where: Where) -> bool:
        """Whether another node's quotes make a price."""
        if self._cache is None:
            return False
        try:
            value = await self._cache.get(PRICE.name(name), PRICE_CACHE_TIMEOUT_SECONDS)
        except CacheUnavailableError:
            return False
        if value is None:
            return False
        indexes = {self._exchanges[one]: one for one in where.currencies}
        currencies = {exchange: where.currencies[one] for exchange, one in indexes.items()}
        try:
            quotes = decode(value, name, currencies, self._clock.monotonic_ns(), self._clock.wall_ns())
        except BadCacheValueError as error:
            self._counters.bad_cache_value()
            fields = {"asset": name, "reason": error.reason}
            self._log.warning("a cached price is not as we write it", extra={"fields": fields})
            return False
        offers = {
            one: Offer(where.currencies[one], quotes[exchange].quote if exchange in quotes else None)
            for exchange, one in indexes.items()
        }
        case = self._case(name, offers)
        decided = decide(case, self._rules)
        return decided.is_good and self._rows.write(case, decided)

    def _is_scarce(self, where: Where) -> bool:
        """Whether it stands on so few exchanges that there cannot be a price, whatever they say."""
        return where.is_sure and len(where.currencies) < self._rules.min_sources

    async def _ask_all(self, symbols: Mapping[int, str], chosen: list[int], now_ns: int) -> AsyncIterator[Told]:
        """Ask the chosen; what they have said, each time that one more has, and at last."""
        asked = {one: self._rest[one].asker.ask(symbols[one]) for one in chosen}
        unsent: set[int] = set()
        try:
            async for _ in self._rounds(set(asked.values()), now_ns + FLIGHT_NS):
                yield Told({one: future.result() for one, future in asked.items() if future.done()}, is_complete=False)
        finally:
            unsent = {
                one
                for one, future in asked.items()
                if not future.done() and self._rest[one].asker.withdraw(symbols[one])
            }
        answers = {
            one: future.result() if future.done() else NO_ANSWER for one, future in asked.items() if one not in unsent
        }
        yield Told(answers, len(answers) == len(symbols))

    def _chosen(self, symbols: Mapping[int, str], now_ns: int, *, is_scarce: bool) -> list[int]:
        """Who is asked: whoever has its turn soon, or one question for all that wait; else as many as a price needs."""
        askers = {one: self._rest[one].asker for one in symbols}
        waits = sorted((askers[one].wait_ns(now_ns), one) for one in symbols)
        due = [(wait_ns, one) for wait_ns, one in waits if wait_ns <= TURN_WAIT_MAX_NS]
        chosen = [one for wait_ns, one in due if wait_ns <= TURN_WAIT_NS or askers[one].asks_many]
        later = [one for _, one in due if one not in chosen]
        return chosen if is_scarce else chosen + later[: max(0, self._rules.min_sources + 1 - len(chosen))]

    async def _rounds(self, pending: set[asyncio.Future[Answer]], end_ns: int) -> AsyncIterator[None]:
        """Each time that one more has answered, until all have, or the grace behind enough of them, or the end."""
        good = 0
        while pending:
            wait_ns = end_ns - self._clock.monotonic_ns()
            if wait_ns <= 0:
                return
            done, pending = await asyncio.wait(
                pending, timeout=wait_ns / NS_PER_SECOND, return_when=asyncio.FIRST_COMPLETED
            )
            before, good = good, good + sum(isinstance(future.result(), StoredQuote) for future in done)
            if before < self._rules.min_sources <= good:
                end_ns = min(end_ns, self._clock.monotonic_ns() + FLIGHT_GRACE_NS)
            if done:
                yield

    # --- what comes of it --------------------------------------------------------------------------------------

    def _refuse(self, name: str, code: int, life_ns: int, outcome: str) -> None:
        self._assets.refuse(name, code, self._clock.monotonic_ns() + life_ns)
        self._end(name, outcome)

    def _end(self, name: str, outcome: str) -> None:
        """Count it and wake who waits."""
        self._counters.outcome(outcome)
        for asker in self._waiters.pop(name, ()):
            os.eventfd_write(self._asker_fds[asker], 1)

    def _write_through(self, name: str, quotes: Mapping[str, CachedQuote]) -> None:
        if self._cache is not None:
            task = asyncio.create_task(self._put(name, encode(name, self._node, quotes)))
            self._behind.add(task)
            task.add_done_callback(self._behind.discard)

    async def _put(self, name: str, value: bytes) -> None:
        assert self._cache is not None, "it was asked before"
        with contextlib.suppress(CacheUnavailableError):  # the next node asks the exchanges then
            await self._cache.set(
                PRICE.name(name), value, PRICE_CACHE_SECONDS, timeout_seconds=PRICE_CACHE_TIMEOUT_SECONDS
            )


def _quote_of(offer: Offer | None) -> StoredQuote | None:
    return offer.quote if offer is not None else None
