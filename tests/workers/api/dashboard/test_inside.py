"""workers/api/dashboard/inside.py"""

import asyncio
import os
from pathlib import Path

import httpx
import psycopg

from tests.support.node_fixture import busy_node
from tests.workers.api.conftest import ADMIN_KEY, application_of, client_of, client_to, reporter_of, settings_of
from trinity.memory.control import NODE_STARTED_NS
from trinity.observe.metrics import REQUEST
from trinity.vocabulary import LATENCY_BUCKETS
from workers.api.server import open_service


async def test_the_inside_is_the_operator_s_alone(optional_client: httpx.AsyncClient) -> None:
    """Without the admin key it is refused; with it, it answers also while there is no database."""
    assert (await optional_client.get("/node/inside")).status_code == 403
    inside = (await optional_client.get("/node/inside", headers={"X-API-Key": ADMIN_KEY})).json()
    assert {process["name"] for process in inside["processes"]} > {"supervisor"}
    assert inside["refusals"]["missing_key"] >= 0
    assert "ledger" in inside
    assert inside["plans"] is inside["blocks"] is inside["today"] is None, "not known, which is not none"


async def test_the_inside_shows_the_limits_in_force_and_the_blocks(database_url: str, tmp_path: Path) -> None:
    """Once there is a database the node says so; plans come with their keys and with those that left their plan's."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO accounts (name) VALUES ('acme')")
        for number, rate in enumerate((None, 7, None)):
            connection.execute(
                "INSERT INTO api_keys (account_id, plan_id, digest, prefix, rate_requests, state) "
                "SELECT a.id, p.id, sha256(%s), 'trk', %s, %s FROM accounts a, plans p WHERE p.name = 'free'",
                [b"%d" % number, rate, "revoked" if number == 2 else "active"],
            )
        connection.execute("INSERT INTO blocks (network, reason) VALUES ('203.0.113.0/24', 'scraping')")
    async with client_of(settings_of(tmp_path, database_url=database_url)) as client:
        client.headers["X-API-Key"] = ADMIN_KEY
        async with asyncio.timeout(60):
            while not (await client.get("/node")).json()["database"]:
                await asyncio.sleep(0.02)
        inside = (await client.get("/node/inside")).json()
    assert inside["plans"][0] == {
        "name": "free", "rate_requests": 10, "rate_seconds": 1, "burst": 20, "monthly_quota": 1_000_000,
        "dry_run": False,
        "keys": 2, "own_limits": 1,
    }  # fmt: skip
    assert inside["blocks"] == [{"network": "203.0.113.0/24", "reason": "scraping", "expires_at": None}]
    assert len(inside["latency_bounds_ns"]) == LATENCY_BUCKETS - 1


async def test_work_is_the_total_of_all_workers(tmp_path: Path) -> None:
    """Lookups, answers over HTTP and UDP, and their latencies by bucket; with the node's start and its clock."""
    with busy_node() as memory:
        workers = [i for i, entry in enumerate(memory.card.processes) if entry.kind == "worker"]
        memory.control.write_node_word(NODE_STARTED_NS, 1_000_000_000)
        async with (
            open_service(*reporter_of(memory), settings_of(tmp_path), None) as made,
            client_to(application_of(made)) as client,
        ):
            client.headers["X-API-Key"] = ADMIN_KEY
            before = (await client.get("/node/inside")).json()["work"]
            for index in workers:
                block = memory.control.block(index)
                block.count(REQUEST.index("lookups_total"), 5)
                block.count(REQUEST.index("http_responses_total", "200"), 2)
                block.count(REQUEST.index("http_responses_total", "404"), 1)
                block.count(REQUEST.index("udp_datagrams_total", "answered"), 4)
                block.count(REQUEST.index("http_request_duration_seconds", "+Inf"), 3)
            inside = (await client.get("/node/inside")).json()
    after, count = inside["work"], len(workers)
    assert count >= 1
    grown = {name: after[name] - before[name] for name in ("lookups", "http", "udp")}
    assert grown == {"lookups": 5 * count, "http": 3 * count, "udp": 4 * count}
    assert len(after["answer_counts"]) == len(inside["latency_bounds_ns"]) + 1
    assert after["answer_counts"][-1] - before["answer_counts"][-1] == 3 * count
    assert inside["started_ms"] == 1000
    supervisor = inside["processes"][0]
    assert (supervisor["name"], supervisor["pid"], supervisor["alive"]) == ("supervisor", os.getpid(), True)
    assert supervisor["resident_bytes"] > 0, "it made the memory, and is measured like all others"
    assert inside["version"]
