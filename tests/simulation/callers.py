"""Who asks, and the request workers that answer: real requests through parser, gate, answer and usage record.

Rules: a worker here is its memory and one compiled call after the other, without sockets; once a second it does what
its loop does. What every caller was granted is kept by the world's own arithmetic (`Granted`), not the gate's.
"""

import datetime
import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from trinity.access import gate
from trinity.clock import NS_PER_SECOND
from trinity.compiled import refer_to
from trinity.config import AccessSection
from trinity.memory.access import AccessMemory
from trinity.memory.address_table import AddressTable
from trinity.memory.block_table import BlockTable
from trinity.memory.key_table import KeyTable
from trinity.memory.limit_table import MONTH_FLOOR, LimitTable
from trinity.process import AskerMemory
from trinity.vocabulary import KeyState
from workers.request import ledger
from workers.request.admission import gate_counters
from workers.request.beyond import make_beyond
from workers.request.forwarded import PEER, make_caller
from workers.request.http import parse, routes
from workers.request.http.context import make_context, response_bytes_max
from workers.request.http.response import write_date

if TYPE_CHECKING:
    from tests.simulation.world import World

ANONYMOUS_RATE = 10
SECTION = AccessSection(auth="optional", anonymous_rate=ANONYMOUS_RATE)


class Terms(NamedTuple):
    """What a caller may do; key id 0 is a caller without a key, from an address of its own."""

    key_id: int
    rate: int
    burst: int
    quota: int


CALLERS = (Terms(1, 5, 10, 0), Terms(2, 0, 0, 60), Terms(3, 20, 5, 300), Terms(0, ANONYMOUS_RATE, ANONYMOUS_RATE, 0))
TARGETS = (
    "/price?asset=BTC",
    "/price?asset=ETH",
    "/price?asset=USDT",
    "/price?asset=BTC&max_age_ms=1500",
    "/price?asset=ETH&min_sources=4",
    "/price?asset=BTC&exchange=kraken",
    "/prices",
    "/price?asset=XXX",
    "/price?asset=BTC&max_conf_bps=0.5",
)
ANSWERED, DIES_BEFORE, DIES_AFTER = range(3)  # fates of an answer; above these, the worker dies at that store


class Answer(NamedTuple):
    """What a caller got."""

    caller: int
    target: int
    status: int
    body: Any


class Granted:
    """A caller's bucket and month, kept by the rules as they are documented: never more than this."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.tokens = float(terms.burst)
        self._at_ns = 0
        self.newest_month = 0
        self.in_month = 0
        self.written_back = 0

    def take(self, true_ns: int, month: int, lookups: int = 1) -> str | None:
        """One more request was granted, with so many prices; what that breaks."""
        terms = self.terms
        if terms.rate:
            passed = (true_ns - self._at_ns) / NS_PER_SECOND
            self.tokens = min(float(terms.burst), self.tokens + passed * terms.rate) - 1
            self._at_ns = true_ns
            if self.tokens < (-1.0 if terms.key_id == 0 else 0.0) - 1e-6:
                return f"caller {terms} was granted more than its rate and burst"
        if terms.quota and lookups:
            if month < MONTH_FLOOR:  # a clock that cannot be right: what was counted goes on
                month = self.newest_month
            if month > self.newest_month:
                self.in_month = self.in_month if self.newest_month == 0 else 0
                self.newest_month = month
            elif month < self.newest_month - 1:
                self.newest_month = month
            self.in_month += lookups
            if self.in_month > terms.quota:
                return f"caller {terms} was granted {self.in_month} prices in one month"
        return None

    def forget_pace(self) -> None:
        self.tokens = float(self.terms.burst)


class Callers:
    """All callers, and the files of their limits."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.limits_path = world.folder / "access" / "limits"
        self.granted = [Granted(terms) for terms in CALLERS]
        self.newest: Answer | None = None  # of the last step
        self.broken: str | None = None

    def open_tables(self) -> AccessMemory:
        """The node's access tables, with the keys that the access process would have loaded."""
        clock = self._world.clock
        boot = self._world.boot_number.to_bytes(16, "little") if hasattr(self._world, "boot_number") else bytes(16)
        limits = LimitTable.open(self.limits_path, len(CALLERS), boot, clock.monotonic_ns(), clock.wall_ns())
        limits.note_clock(clock.monotonic_ns(), clock.wall_ns())
        keys = KeyTable.private(len(CALLERS))
        for terms in CALLERS:
            if terms.key_id:
                digest = hashlib.sha256(key_of(terms).encode()).digest()
                keys.write(terms.key_id, digest, KeyState.ACTIVE, terms.rate, terms.burst, terms.quota, False)
            else:
                self.granted[CALLERS.index(terms)].forget_pace()  # addresses are kept in memory alone
        keys.mark_loaded()
        return AccessMemory(keys, limits, AddressTable.private(), BlockTable.private())

    def written_back(self) -> None:
        for granted in self.granted:
            granted.written_back = granted.in_month

    def crash(self) -> None:
        """What the disk did not have of the limits is forgotten: the file says that some seconds may be."""
        for granted in self.granted:
            granted.forget_pace()
            granted.in_month = min(granted.in_month, granted.written_back)


def key_of(terms: Terms) -> str:
    return f"trk_simulated{terms.key_id}"


class Worker:
    """A request worker."""

    def __init__(self, world: "World", number: int) -> None:
        self._world = world
        self._number = number
        self.name = f"worker-{number}"
        self.is_alive = False
        self._context: Any = None
        self._referred: Any = None  # the same, as the compiled code takes it
        self._next_second_ns = 0
        self._peers = np.zeros(2, dtype=np.uint64)
        self._raw = np.zeros(512, dtype=np.uint8)
        self._month = 0

    def forget(self) -> None:
        self._context = self._referred = None

    def start(self) -> None:
        context, world = self._world.context(self.name), self._world
        tables = world.tables_of_worker()
        self._block = context.block
        made = gate.make_gate(
            tables.keys,
            tables.limits,
            tables.addresses,
            tables.blocks,
            gate_counters(context.block.counters),
            SECTION,
            remembered=64,
        )
        self._context = make_context(
            table_words=world.answers.words,
            catalog=context.catalog,
            node="sim",
            simulated=True,
            worker=self._number,
            caller=make_caller(()),
            gate=made,
            ledger=ledger.make_ledger(world.rings[self._number].words, context.catalog),
            beyond=make_beyond(AskerMemory.private(), len(context.catalog.assets), False, 1),
        )
        self._referred = refer_to(self._context)
        self._out = np.zeros(response_bytes_max(self._context), dtype=np.uint8)
        self._next_second_ns = 0
        self.beat()

    def beat(self) -> None:
        """What the loop does in each turn, and once a second."""
        clock = self._world.clock
        now_ns = clock.monotonic_ns()
        self._block.beat(now_ns)
        self._world.beaten(self.name)
        if now_ns >= self._next_second_ns:
            wall_ns = clock.wall_ns()
            context = self._context
            write_date(context.stamp.octets, wall_ns // NS_PER_SECOND)
            context.ledger.tally[ledger.WALL_OFFSET_NS] = wall_ns - now_ns
            gate.turn_month(context.gate, wall_ns, now_ns)
            date = datetime.datetime.fromtimestamp(wall_ns // NS_PER_SECOND, datetime.UTC)
            self._month = date.year * 12 + date.month - 1
            self._next_second_ns = now_ns + NS_PER_SECOND - wall_ns % NS_PER_SECOND

    def ask(self, caller: int, target: int, fate: int) -> None:
        """A request, its answer and its record; dying before the answer is sent, it has answered nobody."""
        world, context, terms = self._world, self._context, CALLERS[caller]
        self.beat()
        now_ns = world.clock.monotonic_ns()
        key = f"X-API-Key: {key_of(terms)}\r\n" if terms.key_id else ""
        raw = f"GET {TARGETS[target]} HTTP/1.1\r\nHost: x\r\n{key}\r\n".encode()
        self._raw[: len(raw)] = np.frombuffer(raw, dtype=np.uint8)
        context.caller.words[PEER] = 0
        context.caller.words[PEER + 1] = 0x0100_007F_FFFF_0000  # ::ffff:127.0.0.1 in network order
        assert parse.parse_head(self._raw, 0, len(raw), context.head) == parse.REQUEST
        end = routes.answer_request(self._referred, self._raw, False, now_ns, self._out, 0)
        answer = bytes(self._out[:end])
        status = int(answer[9:12])
        body = msgspec.json.decode(answer.partition(b"\r\n\r\n")[2])
        if status != 429:
            granted = world.callers.granted[caller]
            world.callers.broken = granted.take(world.clock.true_ns, self._month, _prices_in(body))
        if fate == DIES_BEFORE:
            world.kill(self.name)
            return
        if fate > DIES_AFTER:
            world.stores.append_and_die(context.ledger, context.caller, now_ns, fate - DIES_AFTER)
        lookups = int(context.ledger.tally[ledger.TALLY_LOOKUPS])
        if ledger.record(context.ledger, context.caller, now_ns, now_ns + 1000):
            world.database.counted(self._number, terms.key_id, status, lookups)
        if fate == DIES_AFTER:
            world.kill(self.name)
            return
        world.callers.newest = Answer(caller, target, status, body)


def _prices_in(body: Any) -> int:
    """How many prices the caller got: those that are good, and those refused for its own limits beside the last one."""
    own_limits = ("price_too_old", "confidence_too_wide")
    return sum(
        price["status"] in ("fresh", *own_limits) or "min_sources" in price["error"]["message"]
        for price in body.get("prices", [body])
        if "status" in price
    )
