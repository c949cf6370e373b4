"""`trinity explain --json`."""

import pytest

from tests.support.node_fixture import busy_node
from tests.trinity.cli.conftest import Run


def test_an_explanation_is_an_object(trinity_json: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the asset, whatever the case it was asked in."""
    with busy_node() as memory:
        monkeypatch.setenv("CLUSTER_NODE", memory.card.node)
        code, explained, errors = trinity_json("explain", "btc")
    assert code == 0, errors
    assert explained["asset"] == "BTC"
