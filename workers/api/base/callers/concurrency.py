"""How many answers of a kind may be open: in this process, and of one caller.

Rules: a place is checked before the answer begins, so that a refusal has a status and a code, and taken when it runs.
Several that come in one turn of the event loop may be let in beyond the bound; the next is refused.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from workers.api.base.problems import ProblemError


class ConcurrencyBounds(NamedTuple):
    """Of one kind of answer: how many at once, of all and of one caller, and how a refusal words it."""

    kind: str  # in codes, in the singular
    most: int
    max_per_client: int
    retry_after_seconds: int


class ConcurrencyLimit:
    """The answers of one kind that are open in this process, by caller."""

    def __init__(self, bounds: ConcurrencyBounds) -> None:
        self._bounds = bounds
        self._open: Counter[str] = Counter()
        self.total = 0

    def check(self, caller: str) -> None:
        """Raise when there is no place left for this caller."""
        kind, most, max_per_client, retry_after_seconds = self._bounds
        retry = {"Retry-After": str(retry_after_seconds)}
        if self._open[caller] >= max_per_client:
            detail = f"{max_per_client} {kind}s of this caller are open, as many as one may have"
            raise ProblemError(429, f"too_many_{kind}s", detail, headers=retry)
        if self.total >= most:
            raise ProblemError(503, f"no_{kind}_free", f"all {most} {kind}s are taken: try again", headers=retry)

    @contextlib.contextmanager
    def acquire(self, caller: str) -> Iterator[None]:
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
