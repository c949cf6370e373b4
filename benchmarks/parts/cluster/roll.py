"""Rolling restarts of three nodes behind nginx, clients asking without a pause: is a question lost, or a row?

A cluster as `make cluster` starts it; `trinity cluster roll` again and again until so many questions were asked, over
HTTP and UDP (steady_clients.py). The last roll is finished. Then rows of each kind's key against what was counted.

    failures   questions without a price; what a client asked again by itself is `resent`
    missing    answers without a row
    surplus    rows beyond all answers and everything that was asked again

Rules: loopback only, bounded by ROLLS_MAX.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.errors import PeerError
from benchmarks.parts.cluster.steady_clients import SteadyClients, Tally
from benchmarks.progress import Progress
from benchmarks.servers.local_cluster import MeasuredCluster
from trinity.clock import NS_PER_SECOND, Clock
from trinity.markets import load_catalog

ROLLS_MAX = 60
_EACH = 2
_ROLL_SECONDS_MAX = 900
# Until every record is in the database.
_LEDGER_SECONDS = 300.0


def measure_roll(folder: Path, requests: int, clock: Clock, progress: Progress) -> dict[str, Any]:
    """Run it; `wrong` counts failures, and missing and surplus rows."""
    progress.step("starting a cluster")
    cluster = MeasuredCluster(folder)
    try:
        cluster.wait_ready()
        ids, keys = {}, {}
        for kind in ("http", "udp"):
            ids[kind], keys[kind] = cluster.make_key()
            cluster.wait_known(keys[kind])
        rows_before = {kind: _rows_of(cluster, ids[kind]) for kind in ids}
        clients = SteadyClients(cluster.layout.proxy, keys, [asset.name for asset in load_catalog().assets], _EACH)
        began_ns = clock.monotonic_ns()
        clients.start()
        rolls: list[dict[str, Any]] = []
        try:
            while clients.asked() < requests and len(rolls) < ROLLS_MAX:
                rolls += _roll(cluster)
                progress.step(f"{len(rolls) // 3} rolls, {clients.asked():,} questions of {requests:,}")
        finally:
            tallies = clients.stop()
        seconds = (clock.monotonic_ns() - began_ns) / NS_PER_SECOND
        rows = _settled_rows(cluster, ids, tallies, rows_before, clock)
        return _found(tallies, rows, rolls, seconds)
    finally:
        cluster.stop()


def _roll(cluster: MeasuredCluster) -> list[dict[str, Any]]:
    network = str(cluster.layout.network.network_address)
    command = [sys.executable, "-m", "trinity", "cluster", "roll", "--network", network, "--json"]
    environment = os.environ | {"TRINITY_DATA_DIR": str(cluster.layout.folder.parent)}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=_ROLL_SECONDS_MAX, check=False
    )
    if done.returncode:
        raise PeerError("cluster roll", done.stderr.strip()[-600:])
    nodes: list[dict[str, Any]] = json.loads(done.stdout)["nodes"]
    return nodes


def _rows_of(cluster: MeasuredCluster, key: int) -> int:
    return int(cluster.rows("SELECT count(*) FROM usage_log WHERE key_id = %s", key)[0][0])


def _settled_rows(
    cluster: MeasuredCluster, ids: dict[str, int], tallies: dict[str, Tally], before: dict[str, int], clock: Clock
) -> dict[str, int]:
    """Rows of each kind once all answers have one, or after a long wait."""
    end_ns = clock.monotonic_ns() + int(_LEDGER_SECONDS * NS_PER_SECOND)
    while True:
        rows = {kind: _rows_of(cluster, key) - before[kind] for kind, key in ids.items()}
        if all(rows[kind] >= tallies[kind].answers for kind in ids) or clock.monotonic_ns() > end_ns:
            return rows
        clock.sleep_ns(NS_PER_SECOND)


def _found(
    tallies: dict[str, Tally], rows: dict[str, int], rolls: list[dict[str, Any]], seconds: float
) -> dict[str, Any]:
    kinds = {
        kind: {
            "questions": tally.questions,
            "failures": tally.failures,
            "resent": tally.resent,
            "answers": tally.answers,
            "rows": rows[kind],
            "missing": max(0, tally.answers - rows[kind]),
            "surplus": max(0, rows[kind] - tally.answers - tally.resent),
        }
        for kind, tally in tallies.items()
    }
    return {
        "seconds": round(seconds, 1),
        "nodes_restarted": len(rolls),
        "restart_seconds": [node["seconds"] for node in rolls],
        "kinds": kinds,
        "examples": [example for tally in tallies.values() for example in tally.examples],
        "wrong": sum(row["failures"] + row["missing"] + row["surplus"] for row in kinds.values()),
    }
