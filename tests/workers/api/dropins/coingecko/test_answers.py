"""Answers as JSON."""

from decimal import Decimal

from tests.workers.api.live import Live
from workers.api.dropins.coingecko.answers import json_answer, now_of
from workers.api.dropins.coingecko.numbers import number


def test_an_answer_is_json_that_nobody_keeps() -> None:
    """Numbers stand in it as they were written."""
    answer = json_answer({"usd": number(Decimal("0.000000012"))})
    assert answer.content == b'{"usd":0.000000012}'
    assert answer.headers["Cache-Control"] == "no-store"


async def test_now_is_the_node_s(service: Live) -> None:
    """Of its own clock."""
    assert abs(now_of(service.parts).timestamp() - service.parts.context.clock.wall_ns() / 1e9) < 10
