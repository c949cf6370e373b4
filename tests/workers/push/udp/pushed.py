"""Answers as the consensus writes them, and what a datagram must say of them: plain Python, for comparing."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from trinity.memory.answer_table import ANSWER_DTYPE, ERROR_CODES, ROW_WORDS, SLOT_WORDS, AnswerState
from trinity.memory.atomics import Words
from trinity.memory.cell import publish
from trinity.push.datagram import (
    AGE_NONE,
    BELOW_MIN_SOURCES,
    FRESH,
    PRICE_TOO_OLD,
    STALE_PRICE,
    STATUSES,
    PushedPrice,
)

EXCHANGES = 2
NOW_NS = 1_000 * 10**9


class Answer(NamedTuple):
    """The consensus answer of one asset, as far as pushes look at it."""

    state: int = int(AnswerState.GOOD)
    price: int = 71_000_5
    scale: int = 1
    confidence: int = 31
    sources: int = 6
    age_ns: int = 10**9
    left_ns: int = 10**9  # until it is stale; negative: since when
    has_last_good: int = 1


ANSWERS = st.builds(
    Answer,
    state=st.sampled_from([*map(int, AnswerState), 99]),
    price=st.integers(1, 2**63 - 1),
    scale=st.integers(0, 18),
    confidence=st.one_of(st.integers(0, 2**32 + 5), st.integers(0, 2**63 - 1)),
    sources=st.integers(0, 6),
    age_ns=st.integers(-(10**9), 10**12),
    left_ns=st.integers(-(10**6), 10**6),
    has_last_good=st.integers(0, 1),
)
NAMES = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=1, max_size=16)
MARKETS = st.dictionaries(NAMES, st.none() | ANSWERS, min_size=1, max_size=6)


def table_of(answers: Sequence[Answer | None]) -> Words:
    """The words of an answer table; None: nothing was ever written."""
    words = np.zeros(len(answers) * (1 + EXCHANGES) * ROW_WORDS, dtype=np.uint64)
    for number, answer in enumerate(answers):
        if answer is None:
            continue
        record = np.zeros(1, dtype=ANSWER_DTYPE)
        for name in ("state", "price", "scale", "confidence", "sources", "has_last_good"):
            record[name] = getattr(answer, name)
        record["received_at_ns"] = NOW_NS - answer.age_ns
        record["valid_until_ns"] = NOW_NS + answer.left_ns
        publish(words, number * (1 + EXCHANGES) * ROW_WORDS, SLOT_WORDS, record.view(np.uint64))
    return words


def expected(asset: str, answer: Answer | None, max_age_ms: int = 0, min_sources: int = 0) -> PushedPrice:
    """What a subscription with these limits is told of it."""
    if answer is None:
        return PushedPrice(asset, STALE_PRICE)
    is_good = answer.state == AnswerState.GOOD
    has_age = is_good or answer.has_last_good == 1
    age_ms = min(max(0, answer.age_ns) // 10**6, AGE_NONE - 1) if has_age else AGE_NONE
    codes = {int(state): STATUSES.index(code) for state, code in ERROR_CODES.items()}
    status = codes.get(answer.state, STALE_PRICE)
    if is_good and answer.left_ns > 0:
        status = FRESH
        if answer.sources < min_sources:
            status = BELOW_MIN_SOURCES
        if max_age_ms and age_ms > max_age_ms:
            status = PRICE_TOO_OLD
    if status != FRESH:
        return PushedPrice(asset, status, age_ms=age_ms)
    confidence, places = answer.confidence, -answer.scale
    while confidence >= 2**32 - 1:
        confidence, places = -(-confidence // 10), places + 1
    return PushedPrice(asset, FRESH, answer.price, confidence, age_ms, -answer.scale, places, answer.sources)
