"""The push server's process without a node around it: over real shared memory and hand-written prices.

    python -m benchmarks.servers.bare_pusher NAME FOLDER DATABASE_URL RECEIVER_PORT

Rules: the process is the node's own, unchanged; a forked child stands in for the consensus and rewrites every price
four times a second. Its ring of deliveries lies in FOLDER, for whoever measures to read and give back. It trusts the
receivers' authority, and asks the name server beside them. It delivers until SIGTERM.
"""

import logging
import os
import signal
import sys
import uuid
from pathlib import Path

from benchmarks.servers.bare_worker import WRITES_PER_SECOND, write_all
from benchmarks.servers.processes import data_dir, raise_file_limit
from benchmarks.servers.webhook_receiver import CA_FILE
from trinity.clock import NS_PER_SECOND, SystemClock
from trinity.compiled import prepare_cache
from trinity.config import PushSection
from trinity.markets import load_catalog

PUSHER = 0
RING_FILE = "deliveries-ring"
# What is delivered in a minute, twice.
RING_RECORDS = 1 << 17


def main(arguments: list[str]) -> None:
    """Deliver until SIGTERM."""
    name, folder_text, database_url, port = arguments
    prepare_cache(data_dir())
    from trinity.memory.delivery_ring import DeliveryRing
    from trinity.memory.node import Card, NodeMemory, ProcessEntry
    from trinity.process import ProcessContext, PushMemory
    from workers.push import process
    from workers.push.process import PushIdentity

    raise_file_limit()
    logging.basicConfig(level=logging.WARNING)
    folder, clock = Path(folder_text), SystemClock()
    memory = NodeMemory.create(Card(name, True, (ProcessEntry("pusher", "pusher"),), load_catalog()))
    try:
        write_all(memory, clock, 0)
        ring = DeliveryRing.open(folder / RING_FILE, 0, RING_RECORDS, clock.wall_ns() // NS_PER_SECOND)
        parent = os.getpid()
        if os.fork() == 0:
            turn = 0
            while os.getppid() == parent:
                turn += 1
                write_all(memory, clock, turn)
                signal.sigtimedwait([], 1 / WRITES_PER_SECOND)
            os._exit(0)
        context = ProcessContext.of(memory, PUSHER, clock, os.eventfd(0, os.EFD_NONBLOCK))
        section = PushSection(
            allowed_targets=("127.0.0.0/8",), ca_file=str(folder / CA_FILE), resolvers=(f"127.0.0.1:{port}",)
        )
        identity = PushIdentity(folder, uuid.uuid4(), name, database_url)
        process.run(context, PushMemory(memory.answers, ring), section, identity)
    finally:
        memory.unlink()


if __name__ == "__main__":
    main(sys.argv[1:])
