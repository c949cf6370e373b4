"""workers/push/udp/board.py"""

import pytest
from hypothesis import given

from tests.workers.push.udp.pushed import EXCHANGES, MARKETS, NOW_NS, Answer, expected, table_of
from trinity.memory.answer_table import AnswerState
from trinity.push.datagram import NUMBERS, NUMBERS_BYTES
from workers.push.udp.board import make_board, take_prices

pytestmark = pytest.mark.uncompiled


@given(market=MARKETS)
def test_an_asset_is_rendered_as_the_answer_table_has_it(market: dict[str, Answer | None]) -> None:
    """Name and numbers of every asset, whatever its state, its numbers and their lengths."""
    board = make_board(list(market), EXCHANGES)
    take_prices(board, table_of(list(market.values())), NOW_NS)
    for row, (name, answer) in zip(board.assets, market.items(), strict=True):
        octets = row["octets"][: row["length"]].tobytes()
        assert octets[: 1 + len(name)] == bytes([len(name)]) + name.encode()
        said = expected(name, answer)
        numbers = (said.price, said.confidence, said.age_ms, said.exponent, said.confidence_exponent)
        assert NUMBERS.unpack(octets[-NUMBERS_BYTES:]) == (*numbers, said.status, said.sources)


def test_a_price_that_became_stale_is_not_given_again() -> None:
    """The same record, once its time is over: nothing of the round before is left in the bytes."""
    board, table = make_board(["BTC"], EXCHANGES), table_of([Answer(left_ns=5)])
    take_prices(board, table, NOW_NS)
    first = board.assets[0]["octets"].tobytes()
    take_prices(board, table, NOW_NS + 5)
    price, confidence, *_, status, sources = NUMBERS.unpack(board.assets[0]["octets"][4 : 4 + NUMBERS_BYTES].tobytes())
    assert board.assets[0]["octets"].tobytes() != first
    assert (price, confidence, status, sources) == (0, 0, int(AnswerState.GOOD), 0)
