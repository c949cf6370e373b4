"""One reporter process over a given database, without a node around it.

    python -m benchmarks.servers.report_service NAME PORT DATABASE_URL

Rules: TCP and UDP have the same port. The operator's key is `ADMIN_KEY`; it is no secret here. The node's keys are
those of usage_rows.py, without limits.
"""

import hashlib
import os
import sys
from pathlib import Path

from benchmarks.servers.processes import data_dir
from trinity.clock import SystemClock
from trinity.compiled import prepare_cache
from trinity.markets import load_catalog

ADMIN_KEY = "benchmark-operator"
KEYS = 200
# Nobody empties it: what comes when it is full is counted, as on a node whose flusher stands.
_RING_RECORDS = 1 << 16


def main(arguments: list[str]) -> None:
    """Serve until SIGTERM."""
    name, port, url = arguments
    prepare_cache(data_dir())
    from trinity.memory.access import AccessMemory
    from trinity.memory.node import Card, NodeMemory, ProcessEntry
    from trinity.memory.usage_ring import UsageRing, private_ring
    from trinity.process import NodeView, ProcessContext
    from trinity.vocabulary import KeyState
    from workers.api.base.context import ReportSettings
    from workers.api.server import run

    catalog = load_catalog()
    memory = NodeMemory.create(Card(name, True, (ProcessEntry("reporter-0", "reporter"),), catalog))
    access = AccessMemory.private(KEYS)
    for key_id in range(1, KEYS + 1):
        access.keys.write(key_id, hashlib.sha256(b"key-%d" % key_id).digest(), KeyState.ACTIVE, 0, 0, 0, dry_run=False)
    access.keys.mark_loaded()
    try:
        context = ProcessContext.of(memory, 0, SystemClock(), os.eventfd(0, os.EFD_NONBLOCK))
        settings = ReportSettings(
            bind_host="127.0.0.1", tcp_port=int(port), udp_port=int(port), data_dir=data_dir(), auth="required",
            admin_key=ADMIN_KEY, database_url=url, cache=None,
        )  # fmt: skip
        ring = UsageRing(Path(), private_ring(0, _RING_RECORDS))
        run(context, NodeView(memory), access, ring, settings)
    finally:
        memory.unlink()


if __name__ == "__main__":
    main(sys.argv[1:])
