"""A ledger in a database, filled as the flusher fills it, and Valkey's keys compared with all of its rows."""

import uuid
from datetime import UTC, datetime
from typing import Any

import numpy as np
import valkey
from numpy.typing import NDArray

from tests.workers.ledger.ledger_fixture import make_records
from trinity.cache.address import CacheSettings
from trinity.cache.keys import USAGE_SECONDS
from trinity.memory.record_ring import POSITION_BITS
from trinity.store.connect import AnyConnection, connect
from trinity.sync.entries import usage_uuid
from trinity.sync.job import SyncJob, SyncResult
from trinity.sync.source import SyncSource
from trinity.vocabulary import CODES, PROTOCOLS, SOURCES
from workers.ledger.ledger import Ledger, _times_of
from workers.ledger.sums import Span
from workers.ledger.usage.usage_tables import USAGE

KEYS = 4


class LedgerCopy:
    """A database with keys, and what was brought into it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.connection = connect(url, "tests", autocommit=True)
        self.connection.execute("INSERT INTO accounts (name) VALUES ('a')")
        for number in range(1, KEYS + 1):
            digest = bytes([number]) * 32
            statement = "INSERT INTO api_keys (account_id, plan_id, digest, prefix) VALUES (1, 1, %s, 'k')"
            self.connection.execute(statement, [digest])
        self._ledgers: dict[int, tuple[Ledger, AnyConnection]] = {}
        self._positions: dict[tuple[int, int], int] = {}

    def load(
        self, count: int, *, ring: int = 0, node: int = 1, shift_seconds: float = 0.0, seed: int = 1
    ) -> NDArray[np.void]:
        """Records of a node's ring behind those before, in one batch."""
        first = self._positions.get((node, ring), 1000)
        records = make_records(count, ring, first, seed, KEYS + 1)
        records["time_ns"] += int(shift_seconds * 1e9)
        self.load_records(records, ring=ring, node=node)
        return records

    def load_records(self, records: NDArray[np.void], *, ring: int = 0, node: int = 1) -> None:
        ledger = self.ledger(node)
        ends = (int(records["request_id"].max()) & (1 << POSITION_BITS) - 1) + 1
        first = self._positions.get((node, ring), ends - len(records))
        change = ledger._tables.of_records(records)
        with ledger._connection.transaction():
            change.write()
            ledger._add_batch(Span(ring, first, ends), len(change.with_row), 0, 0, _times_of(change.with_row))
        change.committed()
        self._positions[node, ring] = ends

    def ledger(self, node: int) -> Ledger:
        """That of a node, on a connection of its own."""
        if node not in self._ledgers:
            connection = connect(self.url, "tests", autocommit=True)
            self._ledgers[node] = Ledger(connection, USAGE, uuid.UUID(int=node), f"n{node}"), connection
        return self._ledgers[node][0]

    def add_calls(self, count: int) -> None:
        """Calls of the reporting service, of today."""
        self.connection.execute("CREATE TABLE IF NOT EXISTS report_calls PARTITION OF report_usage_log DEFAULT; ")
        self.connection.execute(
            "INSERT INTO report_usage_log (request_id, account_id, key_id, path, status, latency_us, bytes, address) "
            "SELECT gen_random_uuid(), 1, 1, '/reports/usage', 200, 1500, 900, '127.0.0.1' FROM generate_series(1, %s)",
            [count],
        )

    def close(self) -> None:
        for _, connection in self._ledgers.values():
            connection.close()
        self.connection.close()


def run_sync(url: str, settings: CacheSettings, **options: Any) -> SyncResult:
    """One whole run with a connection of its own."""
    is_whole = options.pop("is_whole", False)
    with connect(url, "sync", autocommit=True) as connection:
        life = options.pop("life_seconds", USAGE_SECONDS)
        return SyncJob(SyncSource(connection), settings, life, uuid.uuid4().hex, **options).run(is_whole=is_whole)


def assert_same(copy: LedgerCopy, client: "valkey.Valkey", *, since_s: float = 0.0) -> int:
    """Every entry, set and call in Valkey is a row in PostgreSQL and the other way round; how many entries there are.

    `since_s`: only those of this second on are to be there, and no other.
    """
    entries = _expected(copy.connection, since_s)
    held = {name.decode(): client.hgetall(name) for name in client.scan_iter("usage_log:*", count=1000)}
    assert set(held) == {f"usage_log:{name}" for name in entries}
    for name, (fields, _, _, _) in entries.items():
        found = {key.decode(): value.decode() for key, value in held[f"usage_log:{name}"].items()}
        assert found == fields
    sets: dict[str, dict[str, float]] = {"usage_logs:index": {}}
    for name, (_, score, digest, asset) in entries.items():
        sets["usage_logs:index"][name] = score
        if digest is not None:
            sets.setdefault(f"usage_logs:api_key:{digest}", {})[name] = score
        if asset is not None:
            sets.setdefault(f"usage_logs:asset:{asset}", {})[name] = score
    in_valkey = {
        name.decode(): {member.decode(): score for member, score in client.zrange(name, 0, -1, withscores=True)}
        for name in client.scan_iter("usage_logs:*", count=1000)
    }
    assert in_valkey == {name: members for name, members in sets.items() if members}
    calls = {f"report_usage:{row[0]}" for row in copy.connection.execute("SELECT request_id FROM report_usage_log")}
    assert {name.decode() for name in client.scan_iter("report_usage:*", count=1000)} == calls
    return len(entries)


def _expected(
    connection: AnyConnection, since_s: float
) -> dict[str, tuple[dict[str, str], float, str | None, str | None]]:
    rows = connection.execute(
        "SELECT time, request_id, latency_ns, replace(host(address), '::ffff:', ''), node_id, key_id, assets.name, "
        "assets, protocol, status, code, source, weight, encode(api_keys.digest, 'hex') "
        "FROM usage_log AS log LEFT JOIN assets ON assets.id = log.asset_id LEFT JOIN api_keys ON api_keys.id = key_id "
        "WHERE time >= to_timestamp(%s)",
        [since_s],
    ).fetchall()
    made = {}
    for (
        time,
        request_id,
        latency_ns,
        address,
        node,
        key,
        asset,
        assets,
        protocol,
        status,
        code,
        source,
        weight,
        digest,
    ) in rows:
        fields = {
            "time": f"{time:%Y-%m-%dT%H:%M:%S.%f}Z",
            "request_id": f"{request_id:016x}",
            "latency_ns": str(latency_ns),
            "address": address,
            "node_id": str(node),
            "key_id": str(key),
            "asset": asset or "",
            "assets": str(assets),
            "protocol": PROTOCOLS[protocol],
            "status": str(status),
            "code": CODES[code],
            "source": SOURCES[source],
            "weight": str(weight),
        }
        score = float((time - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1e6)
        made[usage_uuid(node, request_id)] = fields, round(score), digest, asset
    return made
