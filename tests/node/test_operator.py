"""A whole node whose operator process is killed: it comes back, and nobody else notices."""

import os
import shutil
import signal
import subprocess

import pytest

from tests.node.harness import Node


def test_a_killed_operator_comes_back_and_nobody_notices(node: Node) -> None:
    """kill -9: prices and reports are answered meanwhile, health names the process, the next one takes the lock."""
    node.wait_database()
    node.wait("the active one", lambda: node.metrics("trinity_operator_active") == [1.0], 60)
    node.wait("its jobs", lambda: min(node.metrics("trinity_operator_job_runs_total"), default=0) > 0, 60)
    victim = node.wait("its number", lambda: node.pid("operator"))
    os.kill(victim, signal.SIGKILL)

    def is_back() -> bool:
        assert node.price()[0] == 200
        assert node.get("/history?asset=BTC", "TCP_PORT_LRS")[0] == 200
        return node.pid("operator") not in (0, victim) and node.metrics("trinity_operator_active") == [1.0]

    node.wait("the next one with the lock", is_back, 30)
    assert not any(node.metrics("trinity_operator_job_failing"))
    node.wait("a node that is well", lambda: node.health()["status"] == "ok", 60)


def test_promtool_has_nothing_to_say_of_a_running_node_s_metrics(node: Node) -> None:
    """Of either port, with all that a node has counted by now."""
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("no promtool on this machine")
    for port in ("HEALTH_PORT_LPO", "HEALTH_PORT_LRS"):
        text = node.text("/metrics", port)
        checked = subprocess.run(
            [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
