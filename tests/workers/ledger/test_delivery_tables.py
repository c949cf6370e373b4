"""workers/ledger/delivery_tables.py: deliveries go the way of usage, each into one row, also through kills."""

import datetime
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.workers.ledger.ledger_fixture import EVENING_NS, LOG, NODE, make_block, no_beat, one
from tests.workers.ledger.test_exactly_once import _in_child, _kill_at_line
from tests.workers.ledger.test_loader import _until
from trinity.clock import SystemClock
from trinity.errors import LedgerTakenError
from trinity.memory.delivery_ring import RECORD_DTYPE, DeliveryRing
from trinity.store.connect import AnyConnection, connect
from trinity.vocabulary import DELIVERY_OUTCOMES, DELIVERY_REASONS
from workers.ledger.delivery_tables import DELIVERY, delivery_rows
from workers.ledger.disk.spool import Spool
from workers.ledger.drain import Drain
from workers.ledger.kind import Records
from workers.ledger.ledger import Ledger, Loaded

BIG = 1 << 30
KILLS = 12
# The lines of one child's whole life are some 300.
LINES_MAX = 400
COLUMNS = """
    SELECT extract(epoch FROM time)::numeric, delivery_id, subscription_id, sequence, latency_ns, late_us, account_id,
           status, assets, outcome, attempts, kind
    FROM push_deliveries ORDER BY delivery_id
"""


def make_ring(folder: Path) -> DeliveryRing:
    return DeliveryRing.open(folder / "ring-0", 0, 1024, 1000)


def deliver(ring: DeliveryRing, count: int, seed: int = 1) -> int:
    """Append deliveries of four seconds around midnight, as a pusher does."""
    chance = random.Random(seed)
    for number in range(count):
        ring.append(
            time_ns=EVENING_NS + chance.randrange(4 * 10**9),
            subscription_id=chance.randrange(1, 2**40),
            sequence=seed << 32 | number,
            account_id=chance.randrange(1, 2**31),
            latency_ns=chance.randrange(10**10),
            late_us=chance.randrange(2**32),
            status=chance.choice([0, 200, 503]),
            assets=chance.randrange(1, 151),
            outcome=chance.randrange(len(DELIVERY_OUTCOMES)),
            attempts=chance.randrange(1, 4),
            reason=chance.randrange(len(DELIVERY_REASONS)),
        )
    return count


@pytest.fixture
def connection(database_url: str) -> Iterator[AnyConnection]:
    with connect(database_url, "tests", autocommit=True) as opened:
        yield opened


def _rows_of(records: Records) -> list[tuple[object, ...]]:
    names = [name for name in RECORD_DTYPE.names or () if name not in ("time_ns", "reserved")]
    order = ("delivery_id", "subscription_id", "sequence", "latency_ns", "late_us", "account_id", "status", "assets",
             "outcome", "attempts", "reason")  # fmt: skip
    assert set(names) == set(order)
    return [(int(record["time_ns"]) // 1000, *(int(record[name]) for name in order)) for record in records]


def _load(ring: DeliveryRing, folder: Path, connection: AnyConnection, bytes_max: int = BIG) -> int:
    """One whole life of the flusher; how many records it brought with a row."""
    spool = Spool(DELIVERY, folder / "spool", bytes_max)
    drain = Drain([ring], spool, folder / "reserve", make_block(), LOG, no_beat, SystemClock())
    drain.turn()
    ledger, rows = _ledger(connection), 0
    while (unit := spool.take()) is not None:
        rows += ledger.load(unit).records
        spool.remove(unit)
        drain.turn()
    return rows


def _ledger(connection: AnyConnection) -> Ledger:
    """As soon as the server has noticed the end of the session before."""
    made: list[Ledger] = []

    def opens() -> bool:
        try:
            made.append(Ledger(connection, DELIVERY, NODE, "n"))
        except LedgerTakenError:
            return False
        return True

    _until("the lock", opens)
    return made[0]


def test_a_delivery_is_one_row_with_all_that_its_record_says(tmp_path: Path, connection: AnyConnection) -> None:
    """In the partition of its day, whatever day that is; a second load of the file brings nothing."""
    ring = make_ring(tmp_path)
    deliver(ring, 300)
    records = ring.read(ring.released, 300)
    spool = Spool(DELIVERY, tmp_path / "spool", BIG)
    Drain([ring], spool, tmp_path / "reserve", make_block(), LOG, no_beat, SystemClock()).turn()
    unit, ledger = spool.take(), _ledger(connection)
    assert unit is not None
    assert ledger.load(unit) == Loaded(300, 0, 0)
    assert ledger.load(unit) == Loaded(0, 0, 0)
    found = connection.execute(COLUMNS).fetchall()
    assert [(round(time * 1_000_000), *rest) for time, *rest in found] == _rows_of(records)
    assert one(connection, "SELECT count(DISTINCT tableoid) FROM push_deliveries") == 2
    first = one(connection, "SELECT min(time) FROM push_deliveries")
    assert first.astimezone(datetime.UTC).hour == 23


def test_numbers_beyond_their_columns_are_clipped_and_nothing_is_refused(connection: AnyConnection) -> None:
    """A batch that cannot be loaded would stop the log."""
    records = np.zeros(2, dtype=RECORD_DTYPE)
    records["time_ns"] = EVENING_NS
    for name in ("account_id", "status", "assets", "late_us"):
        records[name] = np.iinfo(RECORD_DTYPE[name]).max
    change = DELIVERY.open_tables(connection, 1).of_records(records)
    with connection.transaction():
        change.write()
    query = "SELECT DISTINCT account_id, status, assets, late_us FROM push_deliveries"
    assert connection.execute(query).fetchall() == [(2**31 - 1, 2**15 - 1, 2**15 - 1, 2**32 - 1)]
    assert list(delivery_rows(records[:0], 1))[1:] == [b"\xff\xff"]


def test_deliveries_that_lose_their_rows_are_counted(tmp_path: Path, connection: AnyConnection) -> None:
    """The spool is over its bound: the batches say how many there were; with those that have a row, these are all."""
    ring, folder = make_ring(tmp_path), tmp_path
    spool = Spool(DELIVERY, folder / "spool", 8 * 7000)
    drain = Drain([ring], spool, folder / "reserve", make_block(), LOG, no_beat, SystemClock())
    for seed in range(5):
        deliver(ring, 120, seed)
        drain.turn()
    spool.close()
    spool._bytes_max = 20_000
    while spool.give_up_detail():
        pass
    ledger = _ledger(connection)
    while (unit := spool.take()) is not None:
        ledger.load(unit)
        spool.remove(unit)
    rows = one(connection, "SELECT count(*) FROM push_deliveries")
    assert 0 < rows < 600
    assert one(connection, "SELECT sum(lost) FROM delivery_batches") == 600 - rows
    assert one(connection, "SELECT sum(rows) FROM delivery_batches") == rows


def _live(folder: Path, url: str, bytes_max: int, kill_at: int | None) -> None:
    if kill_at is not None:
        _kill_at_line(kill_at)
    with connect(url, "tests", autocommit=True) as connection:
        _load(make_ring(folder), folder, connection, bytes_max)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("bytes_max", [BIG, 8 * 7000], ids=["room", "bound"])
def test_every_delivery_counts_once_wherever_the_flusher_is_killed(
    tmp_path: Path, database_url: str, bytes_max: int
) -> None:
    """SIGKILL between any two of its lines, while the pusher goes on appending."""
    chance, ring = random.Random(bytes_max), make_ring(tmp_path)
    appended = killed = 0
    for seed in range(KILLS):
        appended += deliver(ring, chance.randrange(min(200, ring.capacity - (ring.written - ring.released))), seed)
        killed += _in_child(_live, tmp_path, database_url, bytes_max, chance.randrange(LINES_MAX)) != 0
    assert killed >= KILLS // 4
    assert _in_child(_live, tmp_path, database_url, bytes_max, None) == 0
    assert list((tmp_path / "spool").iterdir()) == []
    with connect(database_url, "tests", autocommit=True) as connection:
        lost = int(one(connection, "SELECT sum(lost) FROM delivery_batches"))
        assert one(connection, "SELECT count(DISTINCT delivery_id) FROM push_deliveries") == appended - lost
        assert one(connection, "SELECT count(*) FROM push_deliveries") == appended - lost
