"""`trinity explain --json`."""

import pytest

from tests.support.node_fixture import busy_node
from tests.trinity.cli.conftest import Run


def test_an_explanation_is_an_object(trinity_json: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the asset, whatever the case it was asked in."""
    with busy_node() as memory:
        monkeypatch.setenv("CLUSTER_NODE", memory.card.node)
        code, explained, _ = trinity_json("explain", "btc")
    assert (code, explained["asset"]) == (0, "BTC")
