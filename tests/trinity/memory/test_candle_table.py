"""trinity/memory/candle_table.py"""

import logging
import os
import signal
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.errors import LayoutError
from trinity.memory.candle_table import (
    CAPACITY,
    EXPONENT,
    CandleFile,
    CandleTable,
    Minute,
    Standing,
    candle_of,
    minute_of,
    open_or_renew,
    standing_of,
    to_decimal,
    to_fixed,
)

LOG = logging.getLogger("tests.candle_table")
DIGITS = st.integers(min_value=1, max_value=10**18 - 1)


def minute(number: int, price: int = 10**EXPONENT) -> Minute:
    return Minute(number, price, price + 5, price - 5, price + 1, 7, price * 60_000, 60_000, 3, 6)


def candle(number: int, standing: Standing | None = None) -> np.void:
    return candle_of(minute(number), standing)


@pytest.fixture
def book(tmp_path: Path) -> CandleFile:
    return CandleFile.open(tmp_path, "BTC")


def test_closed_minutes_are_read_in_order_and_released(book: CandleFile) -> None:
    """What was appended is pending until it is released, oldest first, also for a second opener."""
    for number in (10, 11, 13):
        assert book.append(candle(number))
    again = CandleFile.open(book.path.parent, "BTC")

    first, end = again.pending(2)
    assert first == [minute(10), minute(11)]
    again.release(end)
    rest, end = book.pending(100)
    assert rest == [minute(13)]
    book.release(end)
    assert book.pending(100) == ([], 3)
    assert book.asset == "BTC"


def test_the_oldest_minutes_are_overwritten_when_nobody_takes_them(book: CandleFile) -> None:
    """More than the ring holds: the writer is told of each loss, the reader gets what is whole."""
    kept = [book.append(candle(1 + number)) for number in range(CAPACITY + 3)]

    assert kept == [True] * CAPACITY + [False] * 3
    minutes, end = book.pending(CAPACITY)
    assert end == CAPACITY + 3
    assert minutes[0].minute == 5, "the place of the oldest may be under the writer's hand"
    assert minutes[-1].minute == CAPACITY + 3


def test_the_running_minute_is_found_again(book: CandleFile) -> None:
    """A successor gets the minute and what stands; not a minute that was closed before its writer died."""
    assert book.read_running() is None
    book.write_running(candle(20, Standing(1_200_500, 1_210_000)))
    again = CandleFile.open(book.path.parent, "BTC")
    running = again.read_running()
    assert running is not None
    assert (minute_of(running), standing_of(running)) == (minute(20), Standing(1_200_500, 1_210_000))

    book.write_running(candle(20))
    running = again.read_running()
    assert running is not None
    assert (minute_of(running), standing_of(running)) == (minute(20), None)
    book.append(candle(20))
    assert again.read_running() is None
    book.write_running(candle(0))
    assert again.read_running() is None


def test_minutes_survive_sigkill(tmp_path: Path) -> None:
    """A writer that is killed in the middle of its work leaves whole records only."""
    CandleFile.open(tmp_path, "BTC")
    child = os.fork()
    if child == 0:
        book = CandleFile.open(tmp_path, "BTC")
        for number in range(1, CAPACITY):
            book.write_running(candle(number, Standing(number, number)))
            book.append(candle(number))
            if number == 500:
                os.kill(os.getpid(), signal.SIGKILL)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL

    minutes, end = CandleFile.open(tmp_path, "BTC").pending(CAPACITY)
    assert minutes == [minute(number) for number in range(1, 501)]
    assert end == 500


def test_a_damaged_record_is_left_out(book: CandleFile) -> None:
    """Power that fails may leave half a record: its checksum tells."""
    for number in (1, 2, 3):
        book.append(candle(number))
    whole = book.path.read_bytes()
    at = whole.rindex(minute(2).open.to_bytes(16, "little"), 0, whole.rindex((3).to_bytes(8, "little")))
    with book.path.open("r+b") as file:
        file.seek(at)
        file.write(b"\xff")

    assert [minute.minute for minute in book.pending(10)[0]] == [1, 3]


def test_files_of_another_layout_are_refused_and_set_aside_by_the_writer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The reader names them and goes on, the writer renames them and starts anew: no price waits for history."""
    CandleFile.open(tmp_path, "ETH").append(candle(5))
    (tmp_path / "BTC").write_bytes(b"nonsense" * 1000)
    (tmp_path / "SOL").write_bytes(b"")
    (tmp_path / "ETH").rename(tmp_path / "XRP")

    with pytest.raises(LayoutError):
        CandleFile.open(tmp_path, "BTC")
    table = CandleTable(tmp_path, LOG)
    for _ in range(2):
        assert list(table.files()) == []
    named = [record.fields["asset"] for record in caplog.records]  # type: ignore[attr-defined]
    assert named == ["BTC", "SOL", "XRP"], "each once; a file under another asset's name is no file of its"

    file, reason = open_or_renew(tmp_path, "BTC")
    assert "magic" in reason
    assert file.pending(1) == ([], 0)
    assert (tmp_path / "BTC.unreadable").exists()
    assert open_or_renew(tmp_path, "BTC")[1] == ""
    assert "BTC" in [file.asset for file in table.files()], "who had found it broken finds it again"


def test_the_reader_follows_a_file_that_is_renewed(tmp_path: Path) -> None:
    """One that was read until its header broke, and one that a backup brought back, are read where they are now."""
    old = CandleFile.open(tmp_path, "BTC")
    old.append(candle(9))
    table = CandleTable(tmp_path, LOG)
    assert [len(file.pending(5)[0]) for file in table.files()] == [1]
    with (tmp_path / "BTC").open("r+b") as file:
        file.write(bytes(8))
    new, reason = open_or_renew(tmp_path, "BTC")
    assert "magic" in reason
    for number in (10, 11):
        new.append(candle(number))
    assert [len(file.pending(5)[0]) for file in table.files()] == [2]


def test_an_asset_that_left_the_catalog_is_still_read(tmp_path: Path) -> None:
    """Files go by their asset's name, so no catalog can mix two assets up or hide what is not loaded yet."""
    for asset in ("BTC", "LUNA"):
        CandleFile.open(tmp_path, asset).append(candle(9))
    table = CandleTable(tmp_path, LOG)
    assert [file.asset for file in table.files()] == ["BTC", "LUNA"]
    CandleFile.open(tmp_path, "ETH")
    assert [file.asset for file in table.files()] == ["BTC", "ETH", "LUNA"]


@given(DIGITS, st.integers(min_value=-18, max_value=EXPONENT))
def test_prices_keep_every_digit(digits: int, scale: int) -> None:
    """Eighteen digits anywhere between 10**18 and 10**-20 come back as they were."""
    price = Decimal(digits).scaleb(-scale)
    if price >= 10**18:
        price = Decimal(digits)
    assert to_decimal(to_fixed(price)) == price
    assert to_decimal(to_fixed(price) * 60_000) == Decimal(digits * 60_000) * (price / digits)
