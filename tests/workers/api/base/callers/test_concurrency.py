"""Bounds on open streams."""

import contextlib

import pytest

from workers.api.base.callers.concurrency import ConcurrencyBounds, ConcurrencyLimit
from workers.api.base.problems import ProblemError
from workers.api.streams.events import STREAMS
from workers.api.streams.sockets import SOCKETS
from workers.api.usage.export import EXPORTS


def test_a_caller_has_so_many_places_and_no_more() -> None:
    """One is refused with 429; another caller is not, until all places are taken (503)."""
    held = ConcurrencyLimit(ConcurrencyBounds("stream", most=3, max_per_client=2, retry_after_seconds=5))
    with contextlib.ExitStack() as stack:
        for caller in ("a", "a", "b"):
            held.check(caller)
            stack.enter_context(held.acquire(caller))
        with pytest.raises(ProblemError) as refused:
            held.check("a")
        assert (refused.value.status, refused.value.code) == (429, "too_many_streams")
        with pytest.raises(ProblemError) as refused:
            held.check("c")
        assert (refused.value.status, refused.value.code) == (503, "no_stream_free")
    assert held.total == 0
    held.check("a")


def test_nobody_can_take_all_places() -> None:
    """Of no kind of answer."""
    assert all(bounds.max_per_client < bounds.most for bounds in (STREAMS, SOCKETS, EXPORTS))
