"""Bounds on open streams."""

import contextlib

import pytest

from workers.reports import places
from workers.reports.places import Places
from workers.reports.problems import RefusedError


def test_a_caller_has_so_many_places_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """One is refused with 429; another caller is not, until all places are taken (503)."""
    monkeypatch.setattr(places, "STREAMS_PER_CALLER_MAX", 2)
    monkeypatch.setattr(places, "STREAMS_MAX", 3)
    held = Places()
    with contextlib.ExitStack() as stack:
        for caller in ("a", "a", "b"):
            held.check(caller)
            stack.enter_context(held.taken(caller))
        with pytest.raises(RefusedError) as refused:
            held.check("a")
        assert (refused.value.status, refused.value.code) == (429, "too_many_streams")
        with pytest.raises(RefusedError) as refused:
            held.check("c")
        assert (refused.value.status, refused.value.code) == (503, "no_stream_free")
    assert held.total == 0
    held.check("a")
