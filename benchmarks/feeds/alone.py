"""One feed process as the node composes it, alone: its rows, counters, tables and recorder, and nobody beside it.

    python -m benchmarks.feeds.alone NODE EXCHANGE PORT

Rules: the node's memory is made here and removed at the end; whoever measures attaches to it. WebSocket and REST lead
to the port on loopback. The eventfd is written as in a node; nobody reads it.
"""

import logging
import os
import sys

from benchmarks.servers.processes import data_dir
from trinity.clock import SystemClock
from trinity.compiled import prepare_cache

# A recording is never begun here.
_RECORDING_BYTES_MAX = 1_000_000


def main(arguments: list[str]) -> None:
    """Feed until SIGTERM."""
    name, exchange, port = arguments
    prepare_cache(data_dir())
    # Behind prepare_cache: these import compiled code.
    import feeds.ingest.process
    from feeds.audit.recorder import FrameRecorder, RecordSettings
    from trinity.config import FeedsSection
    from trinity.markets import load_catalog
    from trinity.memory.node import Card, NodeMemory, ProcessEntry
    from trinity.process import FeedMemory, ProcessContext

    lines = logging.StreamHandler()
    lines.setFormatter(_Lines("%(asctime)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[lines])
    memory = NodeMemory.create(Card(name, True, (ProcessEntry(f"feed-{exchange}", "feed"),), load_catalog()))
    try:
        context = ProcessContext.of(memory, 0, SystemClock(), -1)
        wake_fd = os.eventfd(0, os.EFD_NONBLOCK)
        base = f"127.0.0.1:{port}/{exchange}"
        config = FeedsSection(
            simulated=True,
            ws_base_urls={exchange: f"ws://{base}"},
            rest_base_urls={exchange: f"http://{base}"},
        )
        feeds.ingest.process.run(
            context,
            FeedMemory(memory.prices, memory.answers, wake_fd, memory.assets),
            config,
            exchange,
            FrameRecorder(context, RecordSettings(data_dir(), _RECORDING_BYTES_MAX), exchange),
        )
    finally:
        memory.unlink()


class _Lines(logging.Formatter):
    """Text with the fields of our records behind it."""

    def format(self, record: logging.LogRecord) -> str:
        return f"{super().format(record)} {getattr(record, 'fields', '')}"


if __name__ == "__main__":
    main(sys.argv[1:])
