"""`trinity balancer`; the watcher itself is tests/trinity/balancer."""

import json
from pathlib import Path

from tests.trinity.cli.conftest import Run


def test_show_tells_who_is_in_and_who_is_out_and_why(trinity_json: Run, tmp_path: Path) -> None:
    """As the watcher wrote it; without one it says what to start."""
    code, _, error = trinity_json("balancer", "--lists", str(tmp_path))
    assert code == 1
    assert "trinity balancer watch" in str(error)
    nodes = {"node-1": {"lookups": {"standing": "out", "reason": "draining"}}}
    state = {"nodes": nodes, "applied": True, "reloads": 1}
    (tmp_path / "state.json").write_text(json.dumps(state))
    assert trinity_json("balancer", "--lists", str(tmp_path))[:2] == (0, state)


def test_a_watcher_without_nodes_or_with_half_a_node_is_refused(trinity_json: Run, tmp_path: Path) -> None:
    """Before anything is asked."""
    for nodes in ((), ("--node", "node-1"), ("--node", "=10.0.0.1")):
        code, _, error = trinity_json("balancer", "watch", "--lists", str(tmp_path), *nodes)
        assert code == 2
        assert "--node" in str(error)
    code, _, error = trinity_json("balancer", "watch", "--lists", str(tmp_path / "none"), "--node", "n=10.0.0.1")
    assert "--lists" in str(error)
