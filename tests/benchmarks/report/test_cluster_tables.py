"""benchmarks/report/cluster_tables.py"""

from typing import Any

from benchmarks.report.cluster_tables import CLUSTER_TABLES


def test_each_kind_of_client_and_each_kill_is_a_row(results: dict[str, Any]) -> None:
    """With failures and rows of the ledger side by side."""
    text = CLUSTER_TABLES["chaos"](results["chaos"])
    assert "http-front" in text
    assert "node-1" in text
    assert "limit: most in 10 s" in text


def test_a_limit_over_three_nodes_is_told_with_what_it_was_over_and_under(results: dict[str, Any]) -> None:
    """By load; and what the exchange costs beside it."""
    text = CLUSTER_TABLES["limits"](results["limits"])
    assert "jumping" in text
    assert "looking_us" in text
