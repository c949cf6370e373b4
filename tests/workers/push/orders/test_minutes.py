"""workers/push/orders/minutes.py: past minutes cut into messages; nothing is lost, doubled or too large."""

import datetime
import json
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from workers.push.orders.minutes import PARTS_MAX, MinuteCloses, body_of_part, make_parts

START = datetime.datetime(2026, 1, 1, 0, 1, tzinfo=datetime.UTC)
MINUTE = datetime.timedelta(minutes=1)


def rows_of(count: int, assets: int, close: Decimal = Decimal("71000.5")) -> list[MinuteCloses]:
    names = [f"A{number}" for number in range(assets)]
    return [MinuteCloses(START + at * MINUTE, names, [close] * assets) for at in range(count)]


@given(
    count=st.integers(0, 400),
    assets=st.integers(1, 150),
    close=st.decimals(Decimal("1e-12"), Decimal("1e9"), allow_nan=False, allow_infinity=False),
)
def test_every_minute_is_in_one_part_in_order_and_each_message_is_small(
    count: int, assets: int, close: Decimal
) -> None:
    """Less than 20 kB each, as Standard Webhooks asks; digits as the database has them, no exponent."""
    rows = rows_of(count, assets, close)
    made = make_parts(rows)
    found = []
    for number, part in enumerate(made.parts, start=1):
        body = body_of_part(2**40, 2**52, b"2026-01-01T00:00:00.000Z", number, len(made.parts), part, is_simulated=True)
        assert len(body) < 20_000
        data = json.loads(body)["data"]
        assert (data["part"], data["parts"]) == (number, len(made.parts))
        found += data["minutes"]
    assert made.minutes == len(found)
    if made.next_since is None:
        assert [minute["time"] for minute in found] == [
            row.closed_at.strftime("%Y-%m-%dT%H:%M:00.000Z") for row in rows
        ]
    assert all(Decimal(price) == close and "E" not in price for minute in found for price in minute["prices"].values())


def test_what_does_not_fit_is_left_out_and_told_from_when_on() -> None:
    """The next replay begins with the first minute that was left out."""
    rows = rows_of(3 * PARTS_MAX, 1000)
    made = make_parts(rows)
    assert len(made.parts) == PARTS_MAX
    assert made.next_since == rows[made.minutes].closed_at - MINUTE


def test_no_minutes_are_no_messages() -> None:
    """A subscription whose assets had no price."""
    assert make_parts([]) == ([], 0, None)
