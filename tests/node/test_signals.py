"""Signals that a node of real processes is sent: what stops it, and what does not"""

import os
import signal

import psutil

from tests.node.harness import Node


def _tree(node: Node) -> list[psutil.Process]:
    assert node.process is not None
    supervisor = psutil.Process(node.process.pid)
    return [supervisor, *supervisor.children(recursive=True)]


def test_sighup_stops_no_process(fresh_node: Node) -> None:
    """Sent during the start, and then to each process of the running node, PostgreSQL's included: all go on."""
    fresh_node.start()
    fresh_node.wait("the first line", lambda: "starting node" in fresh_node.output())
    assert fresh_node.process is not None
    fresh_node.process.send_signal(signal.SIGHUP)
    fresh_node.wait_ready()
    fresh_node.wait_database()
    before = fresh_node.processes()
    hit = [process for process in _tree(fresh_node) if process.is_running()]
    assert len(hit) > len(before), "PostgreSQL's own are among them"
    updates = fresh_node.metrics("trinity_price_updates_total")[0]
    for process in hit:
        os.kill(process.pid, signal.SIGHUP)
    # Each has run again since: its own loop has beaten, and prices go on.
    fresh_node.wait("new prices", lambda: fresh_node.metrics("trinity_price_updates_total")[0] > updates + 100)
    after = fresh_node.processes()
    assert {name: view["pid"] for name, view in after.items()} == {name: view["pid"] for name, view in before.items()}
    assert all(view["alive"] and not view["restarts"] for view in after.values())
    postmaster = next(process for process in hit if process.ppid() == before["database"]["pid"])
    assert postmaster.is_running()
    assert fresh_node.price()[0] == 200
    assert fresh_node.stop() == 0
