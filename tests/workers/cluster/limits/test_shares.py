"""workers/cluster/limits/shares.py: what a node says, and when (what comes of it: tests/simulation)"""

from typing import Any

import numpy as np

from trinity.memory.gcra import FOUND_WORDS
from trinity.memory.key_table import KeyTable
from trinity.memory.limit_shares import column
from trinity.memory.limit_table import (
    ADMITTED,
    CEILING,
    EXCHANGED_AT_NS,
    NODES,
    LimitTable,
    consume_key_rate,
    credit_of,
)
from trinity.vocabulary import KeyState
from workers.cluster.limits.shares import ASKS_MAX, Ask, Shares, credits_of

TURN_NS, SECOND = 20_000_000, 1_000_000_000
RATE, BURST, NODES_COUNT = 100, 100, 3
CREDIT = 13  # of 1,100 in 10 s: a fortieth, for two further nodes


class Scene:
    """One node's key 1, and its exchange."""

    def __init__(self) -> None:
        self.keys, self.limits = KeyTable.private(3), LimitTable.private(3)
        self.keys.write(1, bytes(32), KeyState.ACTIVE, RATE, BURST, 0, dry_run=False)
        self.limits.words[NODES], self.now_ns = NODES_COUNT, 100 * SECOND
        self.shares = Shares(self.keys, self.limits, self.now_ns)
        self.found = np.zeros(FOUND_WORDS, dtype=np.int64)

    def ask(self, count: int) -> int:
        self.limits.words[EXCHANGED_AT_NS] = self.now_ns
        return sum(
            bool(consume_key_rate(self.limits.words, 1, self.now_ns, RATE, BURST, self.found)) for _ in range(count)
        )

    def turn(self, turns: int = 1) -> list[Ask]:
        """Collect so often, until there is something."""
        for _ in range(turns):
            self.now_ns += TURN_NS
            if asks := self.shares.collect(self.now_ns, NODES_COUNT):
                return asks
        return []

    def answer(self, asks: list[Ask], reserved: int, fair: int, ahead_us: int = 0) -> None:
        reply: list[Any] = [[reserved, fair, 5_000_000 + ahead_us, 5_000_000] for _ in asks]
        self.shares.take(asks, reply, self.now_ns)


def test_a_key_that_uses_little_of_its_credit_is_told_of_twice_a_second() -> None:
    """Not at the first turn; with all that was counted since."""
    scene = Scene()
    assert scene.ask(3) == 3
    assert scene.turn() == []
    (ask,) = scene.turn(30)
    assert (ask.counted, ask.acknowledged, ask.held) == (3, 0, CREDIT - 3)
    assert scene.now_ns - 100 * SECOND >= SECOND // 2


def test_a_key_that_was_refused_is_told_of_at_the_next_turn() -> None:
    """With its demand, admitted and refused; the answer is what it may give from then on."""
    scene = Scene()
    assert scene.ask(40) == CREDIT
    (ask,) = scene.turn()
    assert (ask.counted, ask.held) == (CREDIT, 0)
    assert ask.demand >= 40
    scene.answer([ask], reserved=20, fair=20)
    assert scene.ask(40) == 20


def test_what_is_more_than_fair_is_taken_from_the_workers_before_it_is_given_back() -> None:
    """The ask says what is left after that, and the workers cannot give it any more."""
    scene = Scene()
    scene.ask(40)
    scene.answer(scene.turn(), reserved=60, fair=10)
    (ask,) = scene.turn(5)
    assert ask.held <= CREDIT
    assert scene.ask(40) == ask.held


def test_an_ask_without_an_answer_is_asked_again_with_everything() -> None:
    """And an error among the answers is one that came to nothing."""
    scene = Scene()
    scene.ask(40)
    asks = scene.turn()
    scene.shares.fail(asks)
    (again,) = scene.turn()
    assert (again.counted, again.acknowledged) == (CREDIT, 0)
    scene.shares.take([again], [RuntimeError("OOM")], scene.now_ns)
    (third,) = scene.turn()
    assert (third.counted, third.acknowledged) == (CREDIT, 0)


def test_what_was_reserved_before_a_long_silence_is_given_back() -> None:
    """Its lease has ended: no more than the credit is left."""
    scene = Scene()
    scene.ask(40)
    scene.answer(scene.turn(), reserved=80, fair=80)
    scene.shares.expire(NODES_COUNT)
    assert scene.ask(100) == CREDIT


def test_another_key_under_an_old_id_begins_anew() -> None:
    """Its words are zero: nothing of the one before is acknowledged."""
    scene = Scene()
    scene.ask(40)
    scene.answer(scene.turn(), reserved=20, fair=20)
    scene.limits.forget(np.array([1]))
    scene.ask(40)
    (ask,) = scene.turn()
    assert (ask.counted, ask.acknowledged, ask.tat_us) == (CREDIT, 0, 0)


def test_a_key_that_says_nothing_is_not_looked_at_for_ever() -> None:
    """Settled, idle and with its credit back: no ask any more."""
    scene = Scene()
    scene.ask(2)
    asks = scene.turn(30)
    scene.answer(asks, reserved=CREDIT, fair=CREDIT)
    scene.answer(scene.turn(60), reserved=CREDIT, fair=CREDIT)
    assert scene.turn(600) == []
    assert column(scene.limits.words, CEILING)[1] == column(scene.limits.words, ADMITTED)[1] + CREDIT


def test_of_too_many_keys_those_come_first_that_wait_longest() -> None:
    """One exchange carries ASKS_MAX: the others have the next one, and nobody is forgotten."""
    keys, limits = KeyTable.private(500), LimitTable.private(500)
    for key_id in range(1, 501):
        keys.write(key_id, key_id.to_bytes(32, "little"), KeyState.ACTIVE, RATE, BURST, 0, dry_run=False)
    limits.words[NODES], limits.words[EXCHANGED_AT_NS] = NODES_COUNT, SECOND
    shares, found, seen = Shares(keys, limits, SECOND), np.zeros(FOUND_WORDS, dtype=np.int64), []
    for turn in range(1, 4):
        for key_id in range(1, 501):
            for _ in range(CREDIT + 1 if turn == 1 else 1):
                consume_key_rate(limits.words, key_id, SECOND, RATE, BURST, found)
        asks = shares.collect(SECOND + turn * TURN_NS, NODES_COUNT)
        shares.take(asks, [[0, 1, 5_000_000, 5_000_000]] * len(asks), SECOND + turn * TURN_NS)
        seen += [ask.key_id for ask in asks]
    assert len(seen) == 3 * ASKS_MAX
    assert set(seen) == set(range(1, 501))


def test_credits_of_many_are_those_of_each() -> None:
    """As the request workers reckon them."""
    intervals, bursts = np.array([1_000, 10**6, 10**9, 3_600 * 10**9]), np.array([1, 1_000, 5, 1])
    for nodes in (1, 2, 3, 9):
        expected = [credit_of(nodes, int(i), int(b)) for i, b in zip(intervals, bursts, strict=True)]
        assert credits_of(nodes, intervals, bursts).tolist() == expected
