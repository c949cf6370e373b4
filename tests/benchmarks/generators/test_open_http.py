"""The open load against a server that answers, refuses, dawdles, falls silent or hangs up."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.generators.open_http import BUFFER_BYTES, GROUP, OpenGenerator, OpenOutcome, _head_end
from tests.benchmarks.generators.head_server import GOOD, Behaviour, head_server
from trinity.compiled import jit_enabled

needs_system_calls = pytest.mark.skipif(not jit_enabled(), reason="system calls exist only compiled")

RATE, WARM_SECONDS, SECONDS = 400.0, 0.1, 0.5
REFUSED = b"HTTP/1.1 503 Service Unavailable\r\n\r\n"


def _run(behaviour: Behaviour, deadline_seconds: float = 10.0, connections: int = 4, runs: int = 1) -> OpenOutcome:
    with head_server(behaviour) as port:
        generator = OpenGenerator("127.0.0.1", port, "/prices", connections)
        try:
            for _ in range(runs - 1):
                generator.run(RATE, WARM_SECONDS, SECONDS, deadline_seconds)
            return generator.run(RATE, WARM_SECONDS, SECONDS, deadline_seconds)
        finally:
            generator.close()


@needs_system_calls
def test_what_is_offered_is_the_rate_whatever_is_answered() -> None:
    """A server that is silent is asked as often as one that answers, and nothing of it counts as good."""
    for behaviour in (lambda _: GOOD, lambda _: b""):
        outcome = _run(behaviour)
        assert 0.9 * RATE <= outcome.offered <= RATE
    assert outcome.unanswered == outcome.offered
    assert outcome.good == outcome.received == outcome.refused == outcome.other == outcome.broken == 0


@needs_system_calls
def test_every_answer_has_its_kind() -> None:
    """Of four requests one is refused and one unknown: those two are not good, and only the refused has its time."""
    outcome = _run(lambda n: (GOOD, REFUSED, GOOD, b"HTTP/1.1 404 Not Found\r\n\r\n")[n % GROUP])
    assert outcome.good > 0
    assert outcome.good == outcome.in_time == pytest.approx(2 * outcome.refused)
    assert outcome.other == round(outcome.refused * SECONDS)
    assert outcome.refusal_us["p50"] > 0
    assert outcome.broken == 0


@needs_system_calls
def test_an_answer_is_timed_from_when_its_request_was_due() -> None:
    """What a server takes for each is in it, and what comes after the deadline is good, but not in time."""
    dawdling = threading.Event()
    outcome = _run(lambda n: GOOD if n % GROUP or not dawdling.wait(0.05) else b"", deadline_seconds=0.02)
    assert outcome.good > 0
    assert outcome.in_time == 0
    assert outcome.latency_us["p50"] >= 50_000 * 0.97  # of the histogram's cell


@needs_system_calls
def test_an_answer_in_pieces_is_one_answer() -> None:
    """Half of a head waits in the buffer for the rest, which comes with the next."""
    cut = GOOD[:-3], GOOD[-3:] + GOOD
    outcome = _run(lambda n: cut[n % 2], connections=1)
    assert outcome.good > 0
    assert outcome.other == outcome.refused == outcome.broken == 0


@needs_system_calls
def test_a_connection_that_is_closed_is_over_and_its_requests_are_still_offered() -> None:
    """What it owed is broken, once; a second run offers to nobody and breaks nothing more."""
    outcome = _run(lambda _: None, connections=2)
    assert outcome.broken >= 2 * GROUP
    assert outcome.offered >= 0.9 * RATE
    again = _run(lambda _: None, connections=2, runs=2)
    assert again.broken == again.good == 0
    assert again.unanswered == again.offered >= 0.9 * RATE


@pytest.mark.uncompiled
@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a"]), max_size=30), st.integers(0, 20))
def test_a_head_ends_behind_its_first_empty_line(pieces: list[bytes], start: int) -> None:
    """Wherever it begins, and not before it is whole."""
    octets = b"x" * start + b"HTTP" + b"".join(pieces)
    buffer = np.zeros(BUFFER_BYTES, dtype=np.uint8)
    buffer[: len(octets)] = np.frombuffer(octets, dtype=np.uint8)
    found = octets.find(b"\n\r\n", start)
    assert _head_end(buffer, start, len(octets)) == (found + 3 if found >= 0 else -1)
