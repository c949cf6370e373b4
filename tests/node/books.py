"""What a node's ledger says: on the disk, in the database, in /health; held against what its customers counted.

    answers that the customers got = rows in usage_log and what the batches say has none = sum of usage_minute

Nobody else asks the node's lookups in these tests, so the three are equal, not merely ordered. Where the one who
answers is killed itself, rows may be more: a record is written before its answer is sent. Then they exceed the answers
by at most what was asked and never answered.
"""

from typing import Any, NamedTuple

import psycopg

from tests.node.customers import Crowd
from tests.node.harness import Node
from trinity.memory.usage_ring import UsageRing
from trinity.store.embedded import embedded_url

# Everything must be in the database within a minute; so must be what a busy machine leaves to the last second.
LOADED_SECONDS = 60.0
DATABASE_SECONDS = 60.0

_COUNTS = """
SELECT (SELECT count(*) FROM usage_log) + sampled,
       (SELECT count(*) FROM (SELECT DISTINCT node_id, request_id FROM usage_log) AS different) + sampled,
       (SELECT coalesce(sum(requests), 0)::bigint FROM usage_minute)
FROM (SELECT coalesce(sum(sampled), 0)::bigint AS sampled FROM usage_batches) AS condensed
"""
# Refusals without a key (a price that was stale for a moment) may have no row: so many as the batches say, and no more.
_MISSING = """
SELECT greatest(count(*) - (SELECT coalesce(sum(sampled), 0) FROM usage_batches), 0)
FROM (SELECT unnest(%s::bigint[]) EXCEPT SELECT request_id FROM usage_log) AS missing
"""


class Counts(NamedTuple):
    """Rows, different (node, request id), both with the refusals that have none, and the requests of the sums."""

    rows: int
    ids: int
    requests: int


def ledger(node: Node) -> dict[str, Any]:
    """The ledger in /health; empty while there is no flusher."""
    return node.health().get("ledger") or {}


def wait_for_ledger(node: Node) -> None:
    """Until the node answers and its ledger has its database."""
    node.wait_ready()
    node.wait("the ledger's database", lambda: ledger(node).get("database_up"), DATABASE_SECONDS)


def count_rows(node: Node) -> Counts:
    with psycopg.connect(embedded_url(node.data_dir)) as connection:
        row = connection.execute(_COUNTS).fetchone()
    assert row is not None
    return Counts(*row)


def count_missing(node: Node, ids: list[int]) -> int:
    """How many of the answered ids have no row."""
    with psycopg.connect(embedded_url(node.data_dir)) as connection:
        row = connection.execute(_MISSING, [ids]).fetchone()
    assert row is not None
    return int(row[0])


def spool_files(node: Node) -> list[str]:
    """Segments and sums that are not loaded yet, in order."""
    folder = node.data_dir / "usage" / "spool"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def is_loaded(node: Node) -> bool:
    """Whether rings and spool are empty, as the files themselves say. Rings first: from there records come."""
    paths = sorted((node.data_dir / "usage").glob("ring-*"))
    assert paths
    rings = [UsageRing.open(path, number, 1, 0) for number, path in enumerate(paths)]
    return all(ring.released == ring.written for ring in rings) and not spool_files(node)


def wait_loaded(node: Node) -> None:
    node.wait(f"an empty spool; there are {spool_files(node)}", lambda: is_loaded(node), LOADED_SECONDS)


def assert_exact(node: Node, crowd: Crowd) -> None:
    """Once everything is loaded the three are equal, each answered id is a row, and nothing says it was lost."""
    answers = crowd.stop()
    wait_loaded(node)
    assert count_rows(node) == (answers, answers, answers)
    assert crowd.unanswered == 0
    assert count_missing(node, crowd.ids) == 0
    assert_nothing_lost(node)


def assert_bounded(node: Node, crowd: Crowd) -> None:
    """Once everything is loaded there is one row for each answer, and beyond them at most the unanswered ones."""
    answers = crowd.stop()
    wait_loaded(node)
    rows, ids, requests = count_rows(node)
    assert rows == ids == requests
    assert 0 <= rows - answers <= crowd.unanswered
    assert count_missing(node, crowd.ids) == 0
    assert_nothing_lost(node)


def assert_nothing_lost(node: Node) -> None:
    """`usage_lost_total` and `usage_refused_total` are 0."""
    node.wait("the flusher", lambda: ledger(node))
    lost, refused = node.metrics("trinity_usage_lost_total"), node.metrics("trinity_usage_refused_total")
    assert lost
    assert refused
    assert sum(lost) == sum(refused) == 0.0
