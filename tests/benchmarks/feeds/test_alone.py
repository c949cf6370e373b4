"""A feed process alone makes its node's memory, feeds, and leaves nothing behind."""

import contextlib
import logging
import os
import subprocess
import sys
import time

import pytest

from benchmarks.feeds.alone import _Lines
from benchmarks.servers.processes import free_port
from trinity.errors import NodeAbsentError, TrinityError
from trinity.memory.control import HEARTBEAT_NS
from trinity.memory.node import NodeMemory


def test_memory_is_there_while_it_runs_and_gone_afterwards() -> None:
    """Whoever measures can attach; SIGTERM removes it."""
    node = f"bench-alone-{os.getpid()}"
    feed = subprocess.Popen([sys.executable, "-m", "benchmarks.feeds.alone", node, "okx", str(free_port())])
    try:
        deadline = time.monotonic() + 120
        memory = None
        while memory is None or not memory.control.block(0).read(HEARTBEAT_NS):
            assert time.monotonic() < deadline, "it does not beat"
            assert feed.poll() is None
            with contextlib.suppress(TrinityError, OSError, ValueError):
                memory = memory or NodeMemory.attach(node)
            time.sleep(0.05)
        assert [entry.name for entry in memory.card.processes] == ["feed-okx"]
    finally:
        feed.terminate()
        feed.wait(30)
    with pytest.raises(NodeAbsentError):
        NodeMemory.attach(node)


def test_a_line_shows_the_fields_of_a_record() -> None:
    """Why a feed did not come up stands in the fields."""
    record = logging.makeLogRecord({"msg": "connection given up", "fields": {"reason": "refused"}})
    assert _Lines("%(message)s").format(record) == "connection given up {'reason': 'refused'}"
