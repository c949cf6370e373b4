"""trinity/access/limit_headers.py: the lines, and when they are there; test_admission.py has what a client sees."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.access.gate import (
    COUNTED_WORDS,
    IS_FREE,
    KEYS_UNAVAILABLE,
    LEFT,
    MONTHLY_QUOTA,
    QUOTA_EXCEEDED,
    QUOTA_LEFT,
    RATE,
    RATE_LIMITED,
    RATE_SECONDS,
    RETRY_AFTER_MS,
    Gate,
    make_gate,
)
from trinity.access.limit_headers import (
    LIMIT_HEADERS_BYTES_MAX,
    append_limit_headers,
    append_limits_left,
    is_ended_by_time,
    retry_after_ms,
)
from trinity.clock import NS_PER_SECOND
from trinity.config import AccessSection
from trinity.memory.access import AccessMemory
from trinity.vocabulary import ACCESS_REFUSALS, CODES

pytestmark = pytest.mark.uncompiled

LARGEST = 2**63 - 1001


def gate_that_told(tells: bool = True, **words: int) -> Gate:
    """A gate whose last decision left these words."""
    access, counters = AccessMemory.private(), np.zeros(COUNTED_WORDS, dtype=np.uint64)
    section = AccessSection(rate_limit_headers=tells)
    gate = make_gate(access.keys, access.limits, access.addresses, access.blocks, counters, section, 4)
    names = {
        "retry_ms": RETRY_AFTER_MS,
        "rate": RATE,
        "seconds": RATE_SECONDS,
        "left": LEFT,
        "quota": MONTHLY_QUOTA,
        "quota_left": QUOTA_LEFT,
        "is_free": IS_FREE,
    }
    for name, value in words.items():
        gate.result[names[name]] = value
    return gate


def lines_of(gate: Gate, code: int) -> list[str]:
    out = np.zeros(LIMIT_HEADERS_BYTES_MAX, dtype=np.uint8)
    end = append_limit_headers(gate, code, out, 0)
    text = bytes(out[:end]).decode()
    assert text.endswith("\r\n")
    return text.split("\r\n")[:-1]


def test_over_the_rate_the_second_is_told_and_the_month_beside_it() -> None:
    """Whole seconds, rounded up: who comes back then is let in."""
    gate = gate_that_told(retry_ms=1001, rate=5, seconds=1, left=0, quota=100)
    assert lines_of(gate, RATE_LIMITED) == [
        "Retry-After: 2", 'RateLimit-Policy: "second";q=5;w=1, "month";q=100', 'RateLimit: "second";r=0;t=2',
    ]  # fmt: skip


def test_over_the_month_what_is_left_of_it_is_told() -> None:
    """Also where no rate is."""
    gate = gate_that_told(retry_ms=60_000, quota=100, quota_left=3)
    assert lines_of(gate, QUOTA_EXCEEDED) == [
        "Retry-After: 60", 'RateLimit-Policy: "month";q=100', 'RateLimit: "month";r=3;t=60',
    ]  # fmt: skip


def test_without_keys_nothing_is_said_of_limits() -> None:
    """None is known."""
    assert lines_of(gate_that_told(retry_ms=500, rate=5), KEYS_UNAVAILABLE) == ["Retry-After: 1"]


def test_only_what_time_ends_says_when_to_come_again() -> None:
    """A revoked key waits for nothing, whatever an earlier request left in the gate."""
    gate = gate_that_told(retry_ms=7)
    ended = {
        CODES[code]: retry_after_ms(gate, code) for code in map(CODES.index, ACCESS_REFUSALS) if is_ended_by_time(code)
    }
    assert ended == {"rate_limited": 7, "quota_exceeded": 7, "keys_unavailable": 7}
    assert {retry_after_ms(gate, CODES.index(code)) for code in ACCESS_REFUSALS if code not in ended} == {0}


@given(st.lists(st.integers(0, LARGEST), min_size=5, max_size=5), st.sampled_from([RATE_LIMITED, QUOTA_EXCEEDED]))
def test_any_numbers_fit_the_room_that_is_kept_for_them(numbers: list[int], code: int) -> None:
    """The bound of every response holds, also for the largest of each."""
    retry_ms, rate, left, quota, quota_left = numbers
    lines = lines_of(gate_that_told(retry_ms=retry_ms, rate=rate, left=left, quota=quota, quota_left=quota_left), code)
    assert lines[0] == f"Retry-After: {-(-retry_ms // 1000)}"


def left_of(gate: Gate, now_ns: int = 0) -> str:
    out = np.zeros(LIMIT_HEADERS_BYTES_MAX, dtype=np.uint8)
    return bytes(out[: append_limits_left(gate, now_ns, out, 0)]).decode()


def test_a_good_answer_tells_what_is_left_of_each_limit() -> None:
    """The month with the seconds until it ends; without a limit, or with the headers switched off, there is no word."""
    terms = {"rate": 5, "seconds": 1, "left": 4}
    month = {"quota": 100, "quota_left": 93}
    assert left_of(gate_that_told(**terms)) == 'RateLimit: "second";r=4\r\n'
    for words, line in ((terms | month, '"second";r=4, "month";r=93;t=60'), (month, '"month";r=93;t=60')):
        gate = gate_that_told(**words)
        gate.own["month_end_ns"] = 60 * NS_PER_SECOND
        assert left_of(gate, 1) == f"RateLimit: {line}\r\n"
    assert left_of(gate_that_told()) == ""
    assert left_of(gate_that_told(tells=False, **terms, **month)) == ""


def test_what_costs_no_month_is_called_free() -> None:
    """In good answers and in refusals: it is another limit than that of prices."""
    gate = gate_that_told(rate=10, seconds=1, left=7, is_free=1, retry_ms=100)
    assert left_of(gate) == 'RateLimit: "free";r=7\r\n'
    assert lines_of(gate, RATE_LIMITED)[1:] == ['RateLimit-Policy: "free";q=10;w=1', 'RateLimit: "free";r=7;t=1']


@given(st.lists(st.integers(0, LARGEST), min_size=4, max_size=4))
def test_any_numbers_of_a_good_answer_fit_the_room(numbers: list[int]) -> None:
    """As above: the bound of every response holds."""
    rate, left, quota, quota_left = numbers
    gate = gate_that_told(rate=rate, left=left, quota=quota, quota_left=quota_left)
    gate.own["month_end_ns"] = LARGEST - NS_PER_SECOND
    assert left_of(gate).count("\r\n") == (1 if rate or quota else 0)
