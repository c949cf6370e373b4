"""Processes are started, watched through /proc and stopped."""

import os
import socket
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks.errors import PeerError
from benchmarks.servers import processes

PARENT_OF_ONE = "import os, time; os.fork(); print('up', flush=True); time.sleep(60)"
LISTENER = "import socket, sys; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); s.accept(); s.accept()"


def test_a_server_and_what_it_forked_are_found_and_stopped(tmp_path: Path) -> None:
    """The family of a process holds its child, and after `stop` none of them runs."""
    server = processes.start("parent", [sys.executable, "-c", PARENT_OF_ONE], tmp_path)
    while server.log_file.read_text().count("up") < 2:
        assert not server.ended_within(0.02)
    family = processes.family_of(server.pid)
    assert len(family) == 2
    assert processes.thread_count(family) == 2
    assert processes.descriptor_count(family) >= 6
    assert processes.pss_bytes(server.pid) > 100_000
    server.stop()
    assert not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in family)


def test_processor_time_grows_with_work_only() -> None:
    """Counting uses some of this process's time, which is given in nanoseconds."""
    before_ns = processes.cpu_ns([os.getpid()])
    sum(range(6_000_000))
    assert processes.cpu_ns([os.getpid()]) - before_ns > 10_000_000


def test_a_server_is_pinned_and_we_are_not(tmp_path: Path) -> None:
    """What is started on a core stays there; our own affinity is as before."""
    before = os.sched_getaffinity(0)
    cpu, _ = processes.cores()
    server = processes.start("pinned", [sys.executable, "-c", "import time; time.sleep(60)"], tmp_path, cpu)
    assert os.sched_getaffinity(server.pid) == {cpu}
    assert os.sched_getaffinity(0) == before
    server.stop()


def test_waiting_ends_when_the_port_answers_or_the_server_died(tmp_path: Path) -> None:
    """A listener is waited for; a program that ends first is an error that quotes its log."""
    port = processes.free_port()
    server = processes.start("listener", [sys.executable, "-c", LISTENER, str(port)], tmp_path)
    processes.wait_for_port(server, port)
    server.stop()
    server = processes.start("broken", [sys.executable, "-c", "raise SystemExit('no such answer')"], tmp_path)
    with pytest.raises(PeerError, match="broken: did not start: no such answer"):
        processes.wait_for_port(server, port)


def test_a_free_port_can_be_bound() -> None:
    """The port that is given out is free for TCP or UDP, as asked."""
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as listener:
            listener.bind(("127.0.0.1", processes.free_port(kind)))
