"""trinity/memory/answer_table.py"""

import numpy as np
import pytest

from trinity.errors import LayoutError
from trinity.memory.answer_table import (
    ANSWER_DTYPE,
    ERROR_CODES,
    INDEX_WORDS,
    ROW_WORDS,
    VERDICT_REJECTED,
    VERDICT_USED,
    AnswerState,
    AnswerTable,
    body_words,
    served_state,
    standing_of,
)


def test_an_answer_is_read_as_it_was_written(segment_name: str) -> None:
    """Rows are independent, and a row that nobody wrote has nothing to read."""
    table = AnswerTable.create(segment_name, 6, 25, 32)
    answer = np.zeros(1, ANSWER_DTYPE)
    answer["price"] = 7_100_250
    answer["body"][0, :4] = list(b"{ab}")
    table.write(table.row_of(3, 2), answer)
    read = AnswerTable.attach(segment_name, 6, 25, 32).read(table.row_of(3, 2))
    assert read is not None
    assert read.tobytes() == answer.tobytes()
    assert table.read(table.row_of(3)) is None
    table.segment.unlink()


def test_a_row_s_values_are_the_fields_of_its_record(segment_name: str) -> None:
    """Each by its name, whatever the bits are; a row that nobody wrote has none."""
    table = AnswerTable.create(segment_name, 6, 25, 32)
    answer = np.frombuffer(np.random.default_rng(7).bytes(ANSWER_DTYPE.itemsize), ANSWER_DTYPE)
    table.write(table.row_of(3, 2), answer)
    values = table.read_values(table.row_of(3, 2))
    assert values is not None
    assert list(values) == list(ANSWER_DTYPE.names or ())
    for name, value in values.items():
        assert value == (answer[name].tobytes() if isinstance(value, bytes) else int(answer[name][0]))
    assert table.read_values(table.row_of(3)) is None
    table.segment.unlink()


def test_rows_of_all_assets_and_exchanges_are_distinct(segment_name: str) -> None:
    """No two (asset, exchange) pairs share a row, and none lies outside."""
    table = AnswerTable.create(segment_name, 6, 25, 32)
    rows = {table.row_of(asset, exchange) for asset in range(25) for exchange in (None, *range(6))}
    assert rows == set(range(25 * 7))
    for asset, exchange in ((32, None), (-1, None), (0, 6)):
        with pytest.raises(IndexError):
            table.row_of(asset, exchange)
    table.segment.unlink()


def test_verdicts_and_indexes_lie_behind_the_rows(segment_name: str) -> None:
    """Writing every verdict and index leaves every row unwritten."""
    table = AnswerTable.create(segment_name, 6, 25, 32)
    for exchange in range(6):
        for asset in range(25):
            table.write_verdict(exchange, asset, VERDICT_USED if asset else VERDICT_REJECTED + exchange)
    table.write_index(0, 0.9997)
    table.write_index(1, 1.0001)
    assert [table.read_verdict(exchange, 0) for exchange in range(6)] == [2, 3, 4, 5, 6, 7]
    assert table.read_verdict(5, 24) == VERDICT_USED
    assert (table.read_index(0), table.read_index(1)) == (0.9997, 1.0001)
    assert [table.read_measured(coin) for coin in (0, 1)] == [(0.0, 0)] * 2
    table.write_measured(0, 0.999700089973, 5)
    table.write_measured(1, 1.0001, 1 << 62)
    assert [table.read_measured(coin) for coin in (0, 1)] == [(0.999700089973, 5), (1.0001, 1 << 62)]
    assert (table.read_index(0), table.read_index(1)) == (0.9997, 1.0001)
    assert all(table.read(row) is None for row in range(25 * 7))
    with pytest.raises(IndexError):
        table.read_verdict(6, 0)
    table.segment.unlink()


def test_spare_rows_lie_behind_those_of_the_catalog(segment_name: str) -> None:
    """The room is the capacity's: rows and verdicts of spare assets are no others', and none is behind the last."""
    table = AnswerTable.create(segment_name, 6, 25, 32)
    assert table.words.size == body_words(6, 32) == 32 * 7 * ROW_WORDS + 6 * 32 + INDEX_WORDS
    spare = [table.row_of(asset, exchange) for asset in range(25, 32) for exchange in (None, *range(6))]
    assert spare == list(range(25 * 7, 32 * 7))
    table.write_verdict(0, 31, VERDICT_USED)
    assert [table.read_verdict(0, asset) for asset in range(32)] == [0] * 31 + [VERDICT_USED]
    with pytest.raises(IndexError):
        table.write_verdict(0, 32, VERDICT_USED)
    table.segment.unlink()


def test_a_row_keeps_its_place_when_more_are_in_use(segment_name: str) -> None:
    """Who uses 26 of the same 32 sees the answers, verdicts and indexes of who uses 25, and one row more."""
    table = AnswerTable.create(segment_name, 6, 25, 32)
    answer = np.zeros(1, ANSWER_DTYPE)
    answer["price"] = 7
    table.write(table.row_of(24, 5), answer)
    table.write_verdict(5, 24, VERDICT_USED)
    table.write_index(1, 1.0001)
    wider = AnswerTable.attach(segment_name, 6, 26, 32)
    read = wider.read(wider.row_of(24, 5))
    assert read is not None
    assert read["price"] == 7
    assert wider.read(wider.row_of(25)) is None
    assert (wider.read_verdict(5, 24), wider.read_verdict(5, 25), wider.read_index(1)) == (VERDICT_USED, 0, 1.0001)
    table.segment.unlink()


@pytest.mark.parametrize(("assets", "capacity"), [(25, 31), (25, 33), (25, 25), (33, 32)])
def test_a_reader_of_another_capacity_is_refused(segment_name: str, assets: int, capacity: int) -> None:
    """One that thinks of another number of rows, or of more in use than there are."""
    table = AnswerTable.create(segment_name, 6, 25, 32)
    with pytest.raises(LayoutError):
        AnswerTable.attach(segment_name, 6, assets, capacity)
    table.segment.unlink()


def test_other_counts_are_another_layout(segment_name: str) -> None:
    """A tool that thinks of other rows is refused."""
    table = AnswerTable.create(segment_name, 6, 25, 32)
    with pytest.raises(LayoutError):
        AnswerTable.attach(segment_name, 5, 25, 32)
    table.segment.unlink()


def test_every_state_but_good_has_an_error_code() -> None:
    """No price is refused without saying why."""
    assert set(ERROR_CODES) == set(AnswerState) - {AnswerState.GOOD}


@pytest.mark.parametrize(
    ("state", "valid_until_ns", "served", "standing"),
    [
        (AnswerState.GOOD, 101, AnswerState.GOOD, "used"),
        (AnswerState.GOOD, 100, AnswerState.STALE, "unused"),
        (AnswerState.SOURCES_DISAGREE, 0, AnswerState.SOURCES_DISAGREE, "disputed"),
        (AnswerState.SOURCES_DISAGREE, 101, AnswerState.SOURCES_DISAGREE, "disputed"),
        (AnswerState.TOO_FEW_SOURCES, 0, AnswerState.TOO_FEW_SOURCES, "unused"),
        (AnswerState.NOT_LISTED, 0, AnswerState.NOT_LISTED, "unused"),
        (AnswerState.EMPTY, 0, AnswerState.EMPTY, "unused"),
        (77, 101, AnswerState.STALE, "unused"),
        (-1, 101, AnswerState.STALE, "unused"),
    ],
)
def test_a_record_is_read_as_a_worker_serves_it(
    state: int, valid_until_ns: int, served: AnswerState, standing: str
) -> None:
    """At 100 ns: good only before its end, an unknown state is as good as none; a source is used only in a price."""
    answer = np.zeros(1, ANSWER_DTYPE)
    answer["state"], answer["valid_until_ns"] = state, valid_until_ns
    assert served_state(answer, 100) is served
    assert standing_of(served) == standing


def test_a_row_that_nobody_wrote_is_empty() -> None:
    """No record is no price."""
    assert served_state(None, 100) is AnswerState.EMPTY
