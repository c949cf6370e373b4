"""benchmarks/report/cluster_tables.py"""

from typing import Any

from benchmarks.report.cluster_tables import CLUSTER_TABLES


def test_each_kind_of_client_and_each_kill_is_a_row(results: dict[str, Any]) -> None:
    """With failures and rows of the ledger side by side."""
    text = CLUSTER_TABLES["chaos"](results["chaos"])
    assert "http-front" in text
    assert "node-1" in text
    assert "limit: most in 10 s" in text
