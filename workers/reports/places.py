"""How many streams may be open: in this process, and of one caller.

Rules: a place is checked before the answer begins, so that a refusal has a status and a code, and taken when the
stream runs. Several that come in one turn of the event loop may be let in beyond the bound; the next is refused.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator

from workers.reports.problems import RefusedError

# A stream costs some 30 KB and a write a tick: so many fill a core.
STREAMS_MAX = 4096
# Of one key, or of one address without a key: a quarter, so that it takes several to lock others out.
STREAMS_PER_CALLER_MAX = 1024
_RETRY_AFTER_SECONDS = 5


class Places:
    """The streams that are open in this process, by caller."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()
        self.total = 0

    def check(self, caller: str) -> None:
        """Raise when there is no place left for this caller."""
        retry = {"Retry-After": str(_RETRY_AFTER_SECONDS)}
        if self._open[caller] >= STREAMS_PER_CALLER_MAX:
            detail = (
                f"{STREAMS_PER_CALLER_MAX} streams of this caller are open: close one, or ask for several assets in one"
            )
            raise RefusedError(429, "too_many_streams", detail, headers=retry)
        if self.total >= STREAMS_MAX:
            raise RefusedError(503, "no_stream_free", f"all {STREAMS_MAX} streams are taken: try again", headers=retry)

    @contextlib.contextmanager
    def taken(self, caller: str) -> Iterator[None]:
        """Hold a place."""
        self._open[caller] += 1
        self.total += 1
        try:
            yield
        finally:
            self.total -= 1
            self._open[caller] -= 1
            if not self._open[caller]:
                del self._open[caller]
