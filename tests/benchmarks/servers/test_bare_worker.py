"""The hand-written answers of the bare worker are what the consensus process would publish."""

import json
import os
from itertools import pairwise

from benchmarks.servers.bare_worker import VALID_NS, answer_of, write_all
from trinity.clock import SystemClock
from trinity.markets import load_catalog
from trinity.memory.answer_table import AnswerState
from trinity.memory.node import Card, NodeMemory, ProcessEntry


def test_an_answer_is_good_complete_and_says_its_own_length() -> None:
    """State, validity, body and head agree; the body is JSON with the asset's price."""
    answer = answer_of("BTC", 4, turn=7, now_ns=1_000, wall_ns=1_760_000_000_123_000_000)
    body = bytes(answer["body"][0, : answer["body_length"][0]])
    head = bytes(answer["head"][0, : answer["head_length"][0]])
    decoded = json.loads(body)
    assert decoded["asset"] == "BTC"
    assert decoded["timestamp"] == 1_760_000_000_123
    assert round(decoded["price"] * 100) == answer["price"][0]
    assert f"Content-Length: {len(body)}\r\n".encode() in head
    assert answer["state"][0] == AnswerState.GOOD
    assert answer["valid_until_ns"][0] == 1_000 + VALID_NS


def test_every_asset_has_its_own_price_and_moves_a_little() -> None:
    """After a write all consensus rows can be read; prices differ by asset and by turn."""
    memory = NodeMemory.create(
        Card(f"bench-test-{os.getpid()}", True, (ProcessEntry("worker-0", "worker"),), load_catalog())
    )
    try:
        prices = []
        for turn in (0, 1):
            write_all(memory, SystemClock(), turn)
            answers = [memory.answers.read(memory.answers.row_of(i)) for i in range(len(memory.card.catalog.assets))]
            prices.append([int(answer["price"][0]) for answer in answers if answer is not None])
        assert len(prices[0]) == len(memory.card.catalog.assets)
        assert all(later > earlier for earlier, later in pairwise(prices[0]))
        for first, second in zip(*prices, strict=True):
            assert 0 < abs(second - first) < first / 100
    finally:
        memory.unlink()
