"""One exchange's REST, asked for single assets: paced, batched, and left alone while it does not answer.

Rules: the exchange's published gap lies between any two questions. What waits goes out in one question where the
exchange has one for many and the wait would be long. Each question has a bound; after a 429, a 5xx or silence the
exchange is left alone for a while, so that one that hangs does not hold every answer. What it answered is a fact: a
quote with the moment of its receipt, an unknown symbol, or nothing.
"""

import asyncio
from random import Random
from typing import Protocol

import aiohttp

from feeds.exchanges.contract import ExactPrice, Exchange, Listed, Quote, Refusal, RestRequest, UnknownSymbol
from feeds.exchanges.fields import HTTP_OK
from feeds.ingest.rest import RATE_LIMITED_SECONDS, read_bounded, retry_after_of
from feeds.ingest.turns import RestTurns
from trinity.backoff import Backoff
from trinity.clock import NS_PER_SECOND, Clock
from trinity.limits import ASK_BATCH_SECONDS, ASK_SILENT_SECONDS, ASK_TIMEOUT_SECONDS, REST_TIMEOUT_SECONDS
from trinity.markets import Market
from trinity.memory.price_table import Side, StoredQuote, Via
from trinity.net.egress import NO_PROXIES, REDIRECTS, Proxies, failure_of

# Who has not answered for so long, when some 50 ms are usual, is not asked for anything else meanwhile.
_SILENT_NS = int(ASK_SILENT_SECONDS * NS_PER_SECOND)
NEVER_NS = 2**62


class NotListed:
    """The exchange says that it has no such market."""


class NoAnswer:
    """It said nothing that can be used."""


NOT_LISTED, NO_ANSWER = NotListed(), NoAnswer()
Answer = StoredQuote | NotListed | NoAnswer


class Meter(Protocol):
    """Who is told what became of the questions (counters.py)."""

    def asked(self, exchange: str, result: str) -> None: ...


class Asker:
    """Asks one exchange; `run` pumps until cancelled."""

    def __init__(
        self,
        exchange: Exchange,
        base_url: str,
        clock: Clock,
        random: Random,
        turns: RestTurns,
        meter: Meter,
        proxies: Proxies = NO_PROXIES,
    ) -> None:
        self.name = exchange.PROFILE.name
        self._exchange = exchange
        self._base_url = base_url
        self._clock = clock
        self._meter = meter
        self._proxy = proxies.of(base_url)
        self._turns = turns
        pair = [exchange.symbol_of(Market(self.name, asset, "USD")) for asset in ("AAA", "BBB")]
        # Whether one question serves all that wait, or each is one of its own.
        self.asks_many = len(exchange.rest_requests(pair)) == 1
        self._backoff = Backoff(random, exchange.PROFILE.rest_gap_seconds, reset_seconds=0)
        self._waiting: dict[str, asyncio.Future[Answer]] = {}
        self._asks_alone = 0
        self._filled = asyncio.Event()
        self._sent: dict[asyncio.Task[None], int] = {}  # and when
        self._session: aiohttp.ClientSession | None = None

    def wait_ns(self, now_ns: int) -> int:
        """How long a question that is put now would wait before it is sent; NEVER_NS while the exchange is silent."""
        if any(now_ns - sent_at_ns > _SILENT_NS for sent_at_ns in self._sent.values()):
            return NEVER_NS
        ahead = 0 if self._is_batch(len(self._waiting) + 1) else len(self._waiting)
        return self._until_free_ns(now_ns) + ahead * self._turns.gap_ns

    def ask(self, symbol: str) -> "asyncio.Future[Answer]":
        """The answer for one symbol, in time or NO_ANSWER; two that ask for the same get the same."""
        found = self._waiting.get(symbol)
        if found is None or found.done():
            found = self._waiting[symbol] = asyncio.get_running_loop().create_future()
            self._filled.set()
        return found

    def withdraw(self, symbol: str) -> bool:
        """Nobody waits for this symbol any more: if it was not sent yet, it is not, and that is True."""
        future = self._waiting.pop(symbol, None)
        if future is not None and not future.done():
            future.set_result(NO_ANSWER)
        return future is not None

    async def run(self) -> None:
        """Send what waits, forever."""
        timeout = aiohttp.ClientTimeout(total=ASK_TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(headers=self._exchange.PROFILE.headers, timeout=timeout) as session:
            self._session = session
            try:
                while True:
                    await self._filled.wait()
                    await self._until_free()
                    if self._waiting:
                        await self._take_turn()
                    if self._waiting:
                        self._send()
                    if not self._waiting:
                        self._filled.clear()
            finally:
                for task in self._sent:
                    task.cancel()
                await asyncio.gather(*self._sent, return_exceptions=True)

    async def listing(self) -> Listed | Refusal:
        """What the exchange lists now."""
        assert self._session is not None, "run first"
        request = self._exchange.listing_request()
        await self._until_free()
        await self._take_turn()
        try:
            async with self._session.get(
                self._base_url + request.path,
                proxy=self._proxy,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=REST_TIMEOUT_SECONDS),
            ) as response:
                body = await read_bounded(response)
                status = response.status
        except Exception as error:  # noqa: BLE001 - whatever a library raises ends this question and no more
            return Refusal("exchange_error", failure_of(error).words)
        if body is None:
            return Refusal("too_large", request.path)
        return self._exchange.on_listing(status, body)

    async def _until_free(self) -> None:
        while (wait_ns := self._until_free_ns(self._clock.monotonic_ns())) > 0:
            await asyncio.sleep(wait_ns / NS_PER_SECOND)

    def _until_free_ns(self, now_ns: int) -> int:
        return max(self._turns.wait_ns(now_ns), self._backoff.due_ns - now_ns, 0)

    async def _take_turn(self) -> None:
        """The next one; where the feed was quicker, that is a gap away."""
        await asyncio.sleep(self._turns.take(self._clock.monotonic_ns()) / NS_PER_SECOND)

    def _is_batch(self, count: int) -> bool:
        return self.asks_many and count * self._turns.gap_ns > ASK_BATCH_SECONDS * NS_PER_SECOND

    def _send(self) -> None:
        """Send the question of those that wait longest."""
        symbols = list(self._waiting)
        if self._asks_alone:
            self._asks_alone -= 1
            symbols = symbols[:1]
        elif not self._is_batch(len(symbols)):
            symbols = symbols[:1]
        request = self._exchange.rest_requests(symbols)[0]
        futures = {symbol: self._waiting.pop(symbol) for symbol in request.symbols}
        task = asyncio.create_task(self._ask(request, futures))
        self._sent[task] = self._clock.monotonic_ns()
        task.add_done_callback(self._sent.pop)

    async def _ask(self, request: RestRequest, futures: dict[str, "asyncio.Future[Answer]"]) -> None:
        answers: dict[str, Answer] = {}
        result = "failed"
        try:
            answers, result = await self._answers(request)
        finally:
            for symbol, future in futures.items():
                if not future.done():
                    future.set_result(answers.get(symbol, NO_ANSWER))
            self._meter.asked(self.name, result)

    async def _answers(self, request: RestRequest) -> tuple[dict[str, Answer], str]:
        assert self._session is not None, "run first"
        now_ns = self._clock.monotonic_ns
        try:
            url = self._base_url + request.path
            async with self._session.get(url, proxy=self._proxy, allow_redirects=False) as response:
                body = await read_bounded(response)
                status, wait_seconds = response.status, retry_after_of(response)
        except Exception:  # noqa: BLE001 - whatever a library raises ends this question and no more
            self._backoff.on_failure(now_ns())
            return {}, "failed"
        if status == 429:
            self._backoff.on_failure(now_ns(), max(wait_seconds, RATE_LIMITED_SECONDS))
            return {}, "rate_limited"
        if status >= 500 or status in REDIRECTS or body is None:
            self._backoff.on_failure(now_ns(), wait_seconds)
            return {}, "failed"
        self._backoff.on_good(now_ns())
        self._backoff.failures = 0
        answers = self._read(request, status, body)
        if not answers and len(request.symbols) > 1:
            self._asks_alone = len(request.symbols)  # one unknown symbol may refuse all: find it
        return answers, "ok" if answers else "refused"

    def _read(self, request: RestRequest, status: int, body: bytes) -> dict[str, Answer]:
        at_ns, wall_ns = self._clock.monotonic_ns(), self._clock.wall_ns()
        answers: dict[str, Answer] = {}
        for event in self._exchange.on_rest(request, status, body):
            if isinstance(event, Quote):
                answers[event.symbol] = stored(event, at_ns, wall_ns)
            elif isinstance(event, UnknownSymbol) or (isinstance(event, Refusal) and _is_missing(event, status)):
                # A list of all that lacks one proves nothing: lists are cut, and have no thin markets.
                answers.setdefault(str(event.symbol), NOT_LISTED if len(request.symbols) == 1 else NO_ANSWER)
        return answers


def _is_missing(refusal: Refusal, status: int) -> bool:
    """A good answer without the symbol that was asked for."""
    return status == HTTP_OK and refusal.reason == "unknown_symbol" and refusal.symbol is not None


def stored(quote: Quote, at_ns: int, wall_ns: int) -> StoredQuote:
    """A quote as the tables keep it, received now."""

    def side(price: ExactPrice | None) -> Side | None:
        return Side(price.decimal, quote.exchange_time_ns, at_ns, wall_ns) if price is not None else None

    return StoredQuote(side(quote.bid), side(quote.ask), side(quote.last), Via.REST)
