"""`trinity top --json`: one frame as an object."""

import pytest

from tests.trinity.cli.conftest import Run
from tests.trinity.node_fixture import busy_node


def test_a_frame_is_an_object(trinity_json: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Assets, exchanges, sources, processes and indexes of the running node."""
    with busy_node() as memory:
        monkeypatch.setenv("CLUSTER_NODE", memory.card.node)
        code, frame, _ = trinity_json("top")
    assert code == 0
    assert (frame["node"], frame["simulated"]) == (memory.card.node, False)
    assert len(frame["assets"]) == len(memory.card.catalog.assets)
    assert {source["state"] for source in frame["sources"]} == {"live"}
    assert "worker-0" in [process["name"] for process in frame["processes"]]


def test_no_node_is_an_object_too(trinity_json: Run) -> None:
    """Exit code 1 and the error's kind."""
    code, frame, error = trinity_json("top")
    assert (code, frame, error["error"]["kind"], error["exit_code"]) == (1, None, "NodeAbsentError", 1)
