"""Closed minutes of the candle files -> `price_minute`.

Rules: a position is released only after its minutes are committed, so a crash in between loads them again, which
changes nothing: the table keeps the row that has seen more. The running minute is never stored. The caller commits
nothing and owns the connection; what fails raises psycopg's error and nothing is released.
"""

import uuid
from collections.abc import Sequence

from trinity.memory.candle_table import CandleFile, CandleTable, Minute, to_decimal
from trinity.store.connect import AnyConnection
from trinity.store.queries import load

# Of one asset in one transaction: a database that was away for a day gets 35 assets' minutes in 15 of them.
MINUTES_MAX = 100


def load_candles(connection: AnyConnection, table: CandleTable, node: uuid.UUID) -> int:
    """Store what was closed since the last call, one transaction a round; returns how many minutes were read."""
    row = connection.execute(load("ledger.find_node"), [node]).fetchone()
    if row is None:  # the ledger has not made the node known yet: the minutes wait in their files, for a day
        return 0
    node_id, loaded = int(row[0]), 0
    while True:
        taken = [(file, *file.pending(MINUTES_MAX)) for file in table.files()]
        taken = [(file, minutes, end) for file, minutes, end in taken if end > file.released]
        if not taken:
            return loaded
        with connection.transaction():
            _store(connection, [(file, minutes) for file, minutes, _ in taken if minutes], node_id)
        for file, minutes, end in taken:
            file.release(end)
            loaded += len(minutes)


def _store(connection: AnyConnection, taken: Sequence[tuple[CandleFile, Sequence[Minute]]], node_id: int) -> None:
    names = [file.asset for file, _ in taken]
    connection.execute(load("candles.add_assets"), {"names": names})
    ids: dict[str, int] = dict(connection.execute(load("candles.assets"), {"names": names}).fetchall())
    rows = [(ids[file.asset], minute) for file, minutes in taken for minute in minutes]
    connection.execute(
        load("candles.store_minutes"),
        {
            "node_id": node_id,
            "asset_ids": [asset_id for asset_id, _ in rows],
            "minutes": [minute.minute for _, minute in rows],
            "opens": [to_decimal(minute.open) for _, minute in rows],
            "highs": [to_decimal(minute.high) for _, minute in rows],
            "lows": [to_decimal(minute.low) for _, minute in rows],
            "closes": [to_decimal(minute.close) for _, minute in rows],
            "confidences": [to_decimal(minute.confidence) for _, minute in rows],
            "weighted_sums": [to_decimal(minute.weighted_sum) for _, minute in rows],
            "weighted_mss": [minute.weighted_ms for _, minute in rows],
            "samples": [minute.samples for _, minute in rows],
            "sources": [minute.sources for _, minute in rows],
        },
    )
