"""Answers that were made a moment ago: in this process for a second, and in Valkey, where CACHE_URL names one.

    report:<SHA-256 of the question>    the answer's bytes    as long as the caller says

Rules: a cache only, rebuilt by asking. Valkey unset, slow or unreachable is never an error: the database is asked, a
metric says so, and Valkey is left alone for `REST_NS` before it is tried again. Nobody's key stands in a name.
"""

import hashlib
from collections import OrderedDict
from typing import Any

import msgspec
import valkey.asyncio
from valkey.exceptions import ValkeyError

from trinity.clock import NS_PER_SECOND, Clock
from trinity.memory.control import ProcessBlock
from trinity.observe.metrics import REPORTER

# Valkey answers within 1 ms; the database does within some 10: waiting longer for a cache would be absurd.
VALKEY_SECONDS = 0.05
# Calls that are under way with Valkey; more of them wait their turn for as long as for an answer.
CONNECTIONS_MAX = 8
REST_NS = NS_PER_SECOND
# Own memory: so short that nobody can tell, long enough for a page that is loaded by many.
OWN_NS = NS_PER_SECOND
OWN_ANSWERS_MAX = 1_000
ANSWER_BYTES_MAX = 64 * 1024  # larger answers are seldom asked for twice

# Parameters of statements that are the same for every question.
_CONSTANTS = ("bounds", "codes", "protocols", "sources")

_RESULTS = {result: REPORTER.index("report_cache_total", result) for result in ("hit", "miss", "unreachable")}


class Cache:
    """Answers by their question."""

    def __init__(self, url: str | None, clock: Clock, block: ProcessBlock) -> None:
        self._clock = clock
        self._block = block
        self._own: OrderedDict[bytes, tuple[int, bytes]] = OrderedDict()
        self._absent_until_ns = 0
        self._valkey: valkey.asyncio.Valkey | None = None
        if url is not None:
            pool = valkey.asyncio.BlockingConnectionPool.from_url(
                url,
                max_connections=CONNECTIONS_MAX,
                timeout=VALKEY_SECONDS,
                socket_timeout=VALKEY_SECONDS,
                socket_connect_timeout=VALKEY_SECONDS,
            )
            self._valkey = valkey.asyncio.Valkey.from_pool(pool)

    async def get(self, question: bytes) -> bytes | None:
        """The answer, None when nobody has it."""
        made_at_ns, answer = self._own.get(question, (0, b""))
        if answer and self._clock.monotonic_ns() - made_at_ns < OWN_NS:
            return answer
        if not self._may_ask():
            return None
        assert self._valkey is not None
        try:
            found: bytes | None = await self._valkey.get(name_of(question))
        except (ValkeyError, OSError, TimeoutError):
            self._rest()
            return None
        self._block.count(_RESULTS["miss" if found is None else "hit"])
        return found

    async def set(self, question: bytes, answer: bytes, seconds: int) -> None:
        """Keep an answer for so long."""
        if len(answer) > ANSWER_BYTES_MAX:
            return
        self._own[question] = self._clock.monotonic_ns(), answer
        self._own.move_to_end(question)
        if len(self._own) > OWN_ANSWERS_MAX:
            self._own.popitem(last=False)
        if not self._may_ask():
            return
        assert self._valkey is not None
        try:
            await self._valkey.set(name_of(question), answer, ex=seconds)
        except (ValkeyError, OSError, TimeoutError):
            self._rest()

    async def close(self) -> None:
        if self._valkey is not None:
            await self._valkey.aclose()

    def _may_ask(self) -> bool:
        return self._valkey is not None and self._clock.monotonic_ns() >= self._absent_until_ns

    def _rest(self) -> None:
        self._block.count(_RESULTS["unreachable"])
        self._absent_until_ns = self._clock.monotonic_ns() + REST_NS


def question_of(report: str, parameters: dict[str, Any], head: Any) -> bytes:
    """What an answer depends on, as bytes: the same for the same question in every process."""
    asked = {name: value for name, value in parameters.items() if name not in _CONSTANTS}
    return msgspec.json.encode([report, asked, head], order="sorted")


def name_of(question: bytes) -> str:
    """The name of an answer in Valkey."""
    return f"report:{hashlib.sha256(question).hexdigest()}"
