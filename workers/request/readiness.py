"""Whether a request worker may open its ports: where LISTEN_WHEN_READY is on, once the node has prices.

Behind a load balancer a connection that is refused is tried at another node, while a 503 is an answer: a node that
starts beside others opens its ports when it can give prices. Rules: it waits a bounded time, because prices of what no
exchange has never come; it beats meanwhile. It has no handlers yet: SIGTERM ends it at once, and nobody waits for it.
"""

from collections.abc import Callable

from trinity.clock import Clock
from trinity.limits import LISTEN_WAIT_MAX_NS
from trinity.memory.answer_table import AnswerState, AnswerTable, served_state

# The rest may be assets that are in trouble: a worker that is started again beside them need not wait for them.
FRESH_SHARE = 0.9
# The supervisor expects a beat each 250 ms.
_TURN_NS = 50_000_000


def wait_for_prices(answers: AnswerTable, clock: Clock, beat: Callable[[int], None]) -> bool:
    """Until most assets have a price, or the time is up; whether they have."""
    deadline_ns = clock.monotonic_ns() + LISTEN_WAIT_MAX_NS
    while not _has_prices(answers, now_ns := clock.monotonic_ns()):
        if now_ns >= deadline_ns:
            return False
        beat(now_ns)
        clock.sleep_ns(_TURN_NS)
    return True


def _has_prices(answers: AnswerTable, now_ns: int) -> bool:
    rows = (answers.row_of(asset) for asset in range(answers.assets))
    good = sum(served_state(answers.read(row), now_ns) is AnswerState.GOOD for row in rows)
    return good >= FRESH_SHARE * answers.assets
