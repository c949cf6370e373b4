"""A whole node's life: start, kill -9 of its parts, drain, and the next start after a violent end."""

import json
import os
import shutil
import signal
import socket
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.node.harness import Node, new_node
from trinity.limits import CRASH_LOOP_DEATHS
from trinity.vocabulary import EXCHANGES

pytestmark = pytest.mark.long

# Two seconds are the promise (1 s measured); the rest is for a machine that runs other tests beside.
BACK_SECONDS = 2.0 + 3.0


def _processes(node: Node) -> dict[str, int]:
    """Process name -> pid, out of /health."""
    return {name: int(entry["pid"]) for name, entry in node.processes().items()}


def lines_of(node: Node, process: str) -> list[dict[str, Any]]:
    """Everything in a process's log."""
    text = (node.data_dir / "logs" / f"{process}.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


class Questions(threading.Thread):
    """Asks for BTC over and over on new connections and keeps what was answered."""

    def __init__(self, node: Node) -> None:
        super().__init__(daemon=True)
        self.node = node
        self.answers: list[tuple[int, Any]] = []
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.005):
            status, body = self.node.price()
            self.answers.append((status, body.get("price")))


@pytest.mark.parametrize("victim", ["kraken", "consensus", "worker", "health", "simulator"])
def test_a_killed_process_comes_back_while_the_others_answer(healthy: Node, victim: str) -> None:
    """kill -9 of one process: the others go on answering, no wrong price meanwhile, the process returns."""
    name = next(name for name in _processes(healthy) if victim in name)
    pid = _processes(healthy)[name]
    before = healthy.price()[1]["price"]
    questions = Questions(healthy)
    questions.start()
    os.kill(pid, signal.SIGKILL)

    def is_back() -> bool:
        entry = healthy.health().get("processes", {}).get(name, {"pid": pid})
        return entry["pid"] not in (pid, 0) and bool(entry["alive"])

    healthy.wait(f"{name} back", is_back, BACK_SECONDS)
    healthy.wait("a price", lambda: healthy.price()[0] == 200, 10)
    questions.ended.set()
    questions.join(10)
    prices = [price for status, price in questions.answers if status == 200]
    assert prices, "answers went on"
    assert all(abs(price / before - 1) < 0.01 for price in prices)
    # A connection that the killed worker held is reset; everything else is an answer or an honest refusal.
    assert {status for status, _ in questions.answers} <= ({0, 200, 503} if victim == "worker" else {200, 503})


def test_a_stuck_consensus_leads_to_refusals_and_is_replaced(healthy: Node) -> None:
    """SIGSTOP: workers see the prices turn stale by themselves, the supervisor kills the stuck process."""
    pid = _processes(healthy)["consensus"]
    os.kill(pid, signal.SIGSTOP)
    healthy.wait("another consensus", lambda: _processes(healthy)["consensus"] not in (pid, 0), 20)
    healthy.wait_all_sources()


def test_sigterm_drains_and_leaves_nothing_behind(fresh_node: Node) -> None:
    """Exit code 0, in under 5 s, with no process and no shared memory left."""
    fresh_node.start()
    fresh_node.wait_ready()
    assert fresh_node.process is not None
    family = psutil.Process(fresh_node.process.pid).children(recursive=True)
    assert len(family) >= 9
    fresh_node.process.send_signal(signal.SIGTERM)
    assert fresh_node.process.wait(5) == 0
    _, left = psutil.wait_procs(family, timeout=1)
    # What was orphaned and has ended waits for the machine's first process to collect it; it holds nothing.
    assert not [process for process in left if process.status() != psutil.STATUS_ZOMBIE]
    assert not list(Path("/dev/shm").glob(f"trinity-{fresh_node.environment['CLUSTER_NODE']}-*"))


def test_after_sigkill_of_everything_the_next_start_is_clean(fresh_node: Node) -> None:
    """No leftover of the dead node stops or confuses the new one."""
    fresh_node.start()
    fresh_node.wait_ready()
    fresh_node.kill_all()
    fresh_node.start()
    fresh_node.wait_ready()
    assert fresh_node.price()[0] == 200
    assert fresh_node.stop() == 0


def test_no_process_survives_a_killed_supervisor(fresh_node: Node) -> None:
    """SIGKILL of the supervisor alone takes its children with it."""
    fresh_node.start()
    fresh_node.wait_ready()
    assert fresh_node.process is not None
    family = psutil.Process(fresh_node.process.pid).children(recursive=True)
    fresh_node.process.kill()
    fresh_node.process.wait(10)
    _, alive = psutil.wait_procs(family, timeout=5)
    assert not alive


@pytest.mark.parametrize("port_name", ["TCP_PORT_LPO", "HEALTH_PORT_LPO", "UDP_PORT_LPO", "SIMULATOR_PORT"])
def test_a_taken_port_stops_the_start_with_its_name(fresh_node: Node, port_name: str) -> None:
    """The message names the port, and nothing is left running."""
    kind = socket.SOCK_DGRAM if port_name.startswith("UDP") else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as holder:
        holder.bind(("127.0.0.1", fresh_node.ports[port_name]))
        if kind == socket.SOCK_STREAM:
            holder.listen()
        fresh_node.start()
        assert fresh_node.process is not None
        assert fresh_node.process.wait(60) == 3
    assert f"{port_name}={fresh_node.ports[port_name]} is taken" in fresh_node.output()


def test_a_wrong_setting_starts_nothing(tmp_path: Path) -> None:
    """The message names the key and the reason, the exit code is 2."""
    with new_node(tmp_path / "data", REQUEST_WORKERS="many") as node:
        node.start()
        assert node.process is not None
        assert node.process.wait(60) == 2
        assert "configuration: REQUEST_WORKERS: 'many' is not a whole number" in node.output()


def test_a_second_node_of_the_same_name_is_refused(healthy: Node, tmp_path: Path) -> None:
    """Two nodes cannot write the same tables; the message names the variable to change."""
    name = healthy.environment["CLUSTER_NODE"]
    with new_node(tmp_path / "data", CLUSTER_NODE=name) as second:
        second.start()
        assert second.process is not None
        assert second.process.wait(60) == 3
        assert "CLUSTER_NODE" in second.output()
    assert healthy.price()[0] == 200


def test_of_two_starts_of_one_name_at_the_same_moment_one_node_runs(tmp_path: Path) -> None:
    """Each with a data directory of its own: the other says whose name it is, and the one that runs answers."""
    with (
        new_node(tmp_path / "a") as first,
        new_node(tmp_path / "b", CLUSTER_NODE=first.environment["CLUSTER_NODE"]) as second,
    ):
        nodes = (first, second)
        for node in nodes:
            node.start()

        def refused() -> Node | None:
            ended = (node for node in nodes if node.process is not None and node.process.poll() is not None)
            return next(ended, None)

        deadline = time.monotonic() + 90
        while (loser := refused()) is None:
            assert time.monotonic() < deadline, "both run"
            time.sleep(0.02)
        winner = first if loser is second else second
        assert loser.process is not None
        assert loser.process.returncode == 3
        assert "CLUSTER_NODE" in loser.output()
        winner.wait_ready()
        assert winner.price()[0] == 200
        assert winner.stop() == 0


def test_no_process_ends_a_node_that_was_ready_however_often_it_dies(fresh_node: Node) -> None:
    """A feed, a worker and the consensus, killed more often than a crash loop has deaths: named, and back."""
    fresh_node.start()
    fresh_node.wait_ready()
    fresh_node.wait_all_sources()
    victims = ("feed-kraken", "worker-0", "consensus")
    seen: dict[str, set[int]] = {name: set() for name in victims}

    def kill_on() -> bool:
        for name in victims:
            pid = fresh_node.pid(name)
            if pid and pid not in seen[name]:
                seen[name].add(pid)
                os.kill(pid, signal.SIGKILL)
        return min(map(len, seen.values())) > CRASH_LOOP_DEATHS

    fresh_node.wait("many deaths of each", kill_on, 90)

    def is_named() -> bool:
        messages = [
            reason["message"] for reason in fresh_node.health()["reasons"] if reason["code"] == "process_failing"
        ]
        return bool(messages) and all(name in messages[0] for name in victims)

    fresh_node.wait("the alarm", is_named)
    assert fresh_node.metrics("trinity_process_failing", process="feed-kraken") == [1.0]
    said = [line for line in lines_of(fresh_node, "supervisor") if line["event"] == "process dies again and again"]
    assert sorted(line["process"] for line in said) == sorted(victims)
    assert {line["level"] for line in said} == {"critical"}
    fresh_node.wait_all_sources()
    fresh_node.wait("the end of the alarm", lambda: not any(fresh_node.metrics("trinity_process_failing")), 30)
    assert fresh_node.stop() == 0


def test_a_normal_start_logs_no_warning_and_no_error(fresh_node: Node) -> None:
    """From nothing, with a database that takes its time, to a node that is all well, and its end."""
    fresh_node.start()
    fresh_node.wait_ready()
    fresh_node.wait_database()
    fresh_node.wait_all_sources()
    fresh_node.wait("a node that is well", lambda: fresh_node.health()["status"] == "ok", 60)
    assert fresh_node.stop() == 0
    names = [path.name.partition(".")[0] for path in (fresh_node.data_dir / "logs").iterdir()]
    assert {"supervisor", "flusher", "reporter-0", "access", "operator"} <= set(names)
    assert [line for name in names for line in lines_of(fresh_node, name) if line["level"] != "info"] == []
    assert (fresh_node.data_dir / "stderr").read_text() == ""


def test_a_file_in_the_place_of_the_log_folder_is_one_sentence(fresh_node: Node) -> None:
    """Exit code 2, nothing started, no traceback."""
    (fresh_node.data_dir / "logs").write_text("")
    fresh_node.start()
    assert fresh_node.process is not None
    assert fresh_node.process.wait(60) == 2
    (line,) = (fresh_node.data_dir / "stderr").read_text().splitlines()
    assert line.startswith(
        f"configuration: TRINITY_DATA_DIR: no logs can be written to {fresh_node.data_dir / 'logs'}: "
    )


def test_a_log_folder_that_goes_away_costs_lines_and_nothing_else(fresh_node: Node) -> None:
    """While it runs the folder becomes a file: processes live, die and come back, and each life says so in one line."""
    fresh_node.start()
    fresh_node.wait_ready()
    shutil.rmtree(fresh_node.data_dir / "logs")
    (fresh_node.data_dir / "logs").write_text("in the way")
    for _ in range(2):
        pid = fresh_node.wait("a feed", lambda: fresh_node.pid("feed-okx"))
        os.kill(pid, signal.SIGKILL)
        fresh_node.wait("another feed", lambda: fresh_node.pid("feed-okx") not in (0, pid))  # noqa: B023
    assert fresh_node.price()[0] == 200
    assert fresh_node.stop() == 0
    text = (fresh_node.data_dir / "stderr").read_text()
    assert "Traceback" not in text
    said = [
        line["process"] for line in map(json.loads, text.splitlines()) if line["event"] == "the log cannot be written"
    ]
    assert said
    assert all(said.count(name) <= (3 if name == "feed-okx" else 1) for name in said)


def test_run_never_uses_the_simulator_unasked(fresh_node: Node) -> None:
    """`trinity run` while no exchange can be reached has no prices, says so, and opens no simulated exchange."""
    file = fresh_node.data_dir / "trinity.toml"
    closed = ", ".join(f'{exchange} = "%s://127.0.0.1:1"' for exchange in EXCHANGES)
    ws, rest = closed.replace("%s", "ws"), closed.replace("%s", "http")
    file.write_text(f"[feeds]\nws_base_urls = {{ {ws} }}\nrest_base_urls = {{ {rest} }}\n")
    fresh_node.start("run", "--config", str(file))
    fresh_node.wait("health", lambda: fresh_node.get("/live", "HEALTH_PORT_LPO")[0] == 200, 60)
    assert fresh_node.health()["simulated"] is False
    status, body = fresh_node.get("/ready", "HEALTH_PORT_LPO")
    assert status == 503
    assert body["reasons"]
    fresh_node.wait("a refusal", lambda: fresh_node.price()[0] == 503, 20)
    with pytest.raises(OSError):
        urllib.request.urlopen(f"http://127.0.0.1:{fresh_node.ports['SIMULATOR_PORT']}/faults", timeout=2)
    assert fresh_node.stop() == 0
