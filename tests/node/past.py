"""Minutes of prices from before a node began: history that its pages can show."""

import datetime
import itertools
import random
from collections.abc import Iterator, Mapping
from decimal import Decimal

import psycopg

from trinity.store.queries import load

_COLUMNS = "asset_id, minute, open, high, low, close, sources, confidence, samples, weighted_sum, weighted_ms, node_id"
# A price's way in a minute, as a share of it.
_STEP = 0.0007
_MINUTE_MS = 60_000


def store_minutes(url: str, prices: Mapping[str, Decimal], days: float, seed: int = 11) -> None:
    """Candles of so many days that end two minutes ago at these prices; minutes that are there already stay."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(load("candles.add_assets"), {"names": list(prices)})
        found = connection.execute("SELECT name, id FROM assets WHERE name = ANY(%s)", [list(prices)])
        ids = {str(name): int(number) for name, number in found}
        connection.execute("CREATE TEMP TABLE past (LIKE price_minute)")
        with connection.cursor().copy(f"COPY past ({_COLUMNS}) FROM STDIN") as copy:
            for name, asset_id in ids.items():
                for row in _minutes(asset_id, prices[name], int(days * 1440), random.Random(f"{name} {seed}")):
                    copy.write_row(row)
        connection.execute("INSERT INTO price_minute SELECT * FROM past ON CONFLICT DO NOTHING")
        connection.execute("ANALYZE price_minute")


def _minutes(asset_id: int, newest: Decimal, count: int, dice: random.Random) -> Iterator[tuple[object, ...]]:
    """Backwards from the newest price."""
    last = datetime.datetime.now(datetime.UTC).replace(second=0, microsecond=0) - datetime.timedelta(minutes=2)
    quantum = Decimal(1).scaleb(newest.adjusted() - 6)
    closes = itertools.accumulate(
        range(count), lambda price, _: price * (1 - dice.gauss(0, _STEP)), initial=float(newest)
    )
    for back, (close, open_) in enumerate(itertools.pairwise(closes)):
        high, low = max(open_, close) * (1 + dice.random() * _STEP), min(open_, close) * (1 - dice.random() * _STEP)
        first, top, bottom, end = (Decimal(value).quantize(quantum) for value in (open_, high, low, close))
        middle = (first + end) / 2
        minute = last - datetime.timedelta(minutes=back)
        yield (
            asset_id, minute, first, top, bottom, end, 6, end * Decimal("0.0001"), 60, middle * _MINUTE_MS,
            _MINUTE_MS, 1,
        )  # fmt: skip
