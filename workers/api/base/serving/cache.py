"""Answers that were made a moment ago: in this process for a second, and in Valkey, where CACHE_URL names one.

Rules: a cache only, rebuilt by asking. Valkey unset, slow, full or unreachable is never an error: the database is
asked, and a metric says so; how long it is then left alone the client knows (trinity/cache/breaker.py). Nobody's key
stands in a name.
"""

import hashlib
from collections import OrderedDict
from typing import Any

import msgspec

from trinity.cache.client import CacheClient
from trinity.cache.keys import REPORT
from trinity.clock import NS_PER_SECOND, Clock
from trinity.errors import CacheUnavailableError
from trinity.memory.control import ProcessBlock
from trinity.observe.metrics import REPORTER

# Valkey answers within 1 ms; the database does within some 10: waiting longer for a cache would be absurd.
VALKEY_SECONDS = 0.05
# Own memory: so short that nobody can tell, long enough for a page that is loaded by many.
OWN_NS = NS_PER_SECOND
OWN_ANSWERS_MAX = 1_000
ANSWER_BYTES_MAX = 64 * 1024  # larger answers are seldom asked for twice

# Parameters of statements that are the same for every question.
_CONSTANTS = ("bounds", "codes", "protocols", "sources")

_RESULTS = {result: REPORTER.index("report_cache_total", result) for result in ("hit", "miss", "unreachable")}


class Cache:
    """Answers by their question."""

    def __init__(self, client: CacheClient | None, clock: Clock, block: ProcessBlock) -> None:
        self._client, self._clock, self._block = client, clock, block
        self._own: OrderedDict[bytes, tuple[int, bytes]] = OrderedDict()

    async def get(self, question: bytes) -> bytes | None:
        """The answer, None when nobody has it."""
        made_at_ns, answer = self._own.get(question, (0, b""))
        if answer and self._clock.monotonic_ns() - made_at_ns < OWN_NS:
            return answer
        if self._client is None:
            return None
        try:
            found = await self._client.get(name_of(question), VALKEY_SECONDS)
        except CacheUnavailableError:
            self._block.count(_RESULTS["unreachable"])
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
        if self._client is None:
            return
        try:
            await self._client.set(name_of(question), answer, seconds, VALKEY_SECONDS)
        except CacheUnavailableError:
            self._block.count(_RESULTS["unreachable"])


def question_of(report: str, parameters: dict[str, Any], head: Any) -> bytes:
    """What an answer depends on, as bytes: the same for the same question in every process."""
    asked = {name: value for name, value in parameters.items() if name not in _CONSTANTS}
    return msgspec.json.encode([report, asked, head], order="sorted")


def name_of(question: bytes) -> str:
    """The name of an answer in Valkey."""
    return REPORT.name(hashlib.sha256(question).hexdigest())
