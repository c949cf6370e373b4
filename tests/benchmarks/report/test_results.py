"""The results as JSON and as tables."""

import json
from pathlib import Path
from typing import Any

from benchmarks.report.results import RESULTS_FILE, TABLE_FILE, describe_run, table, write_results
from trinity.clock import SystemClock


def test_the_document_says_where_and_with_what_it_was_measured(tmp_path: Path, results: dict[str, Any]) -> None:
    """Machine, versions, seed and commit stand beside the measurements, and the figures are judged."""
    write_results(tmp_path, describe_run(SystemClock(), 7, {"nginx": "nginx/1"}), results)
    document = json.loads((tmp_path / RESULTS_FILE).read_text())
    run = document["run"]
    assert run["seed"] == 7
    assert run["machine"]["processors"] >= 1
    assert run["versions"]["nginx"] == "nginx/1"
    assert run["versions"]["numba"][0].isdigit()
    assert run["commit"]
    assert document["measured"] == results
    assert {figure["name"]: figure["reached"] for figure in document["figures"]}[
        "HTTP /price: ours / nginx static return"
    ]


def test_extrapolation_is_kept_apart_from_measurements(tmp_path: Path, results: dict[str, Any]) -> None:
    """It has its own key in the JSON, stands below all tables, and is labelled."""
    text = write_results(tmp_path, describe_run(SystemClock(), 1, {}), results)
    document = json.loads((tmp_path / RESULTS_FILE).read_text())
    assert "EXTRAPOLATED" not in json.dumps(document["measured"])
    assert "EXTRAPOLATED" not in json.dumps(document["figures"])
    assert document["extrapolated"]["http"]["requests_per_second_of_eight_EXTRAPOLATED"] == 800_000
    assert text.index("EXTRAPOLATION, not a measurement") > text.index("Figures")
    assert (tmp_path / TABLE_FILE).read_text() == text


def test_every_part_has_its_table_and_a_skipped_peer_is_named(tmp_path: Path, results: dict[str, Any]) -> None:
    """All measured parts show up in the text; faults and what was not installed are not hidden."""
    text = write_results(tmp_path, describe_run(SystemClock(), 1, {}), results)
    for word in (
        "HTTP side by side",
        "UDP side",
        "load levels",
        "pipelining",
        "Open loop",
        "A feed process",
        "frame",
        "Memory",
        "Soak",
        "Campaign",
    ):
        assert word in text
    assert "250.0 (0.05)" in text
    assert "cryptofeed is not installed" in text
    assert "skipped: go" in text
    assert "lost 2" in text


def test_results_of_one_part_alone_are_written_too(tmp_path: Path, results: dict[str, Any]) -> None:
    """A run of one part has its table and no figure that it did not measure."""
    text = write_results(tmp_path, describe_run(SystemClock(), 1, {}), {"memory": results["memory"]})
    document = json.loads((tmp_path / RESULTS_FILE).read_text())
    assert [figure["name"] for figure in document["figures"]] == ["memory of a whole node with 2 workers (PSS)"]
    assert document["extrapolated"] == {}
    assert "EXTRAPOLATION" not in text


def test_tables_line_up() -> None:
    """Every line of a table is as wide as its columns, numbers to the right."""
    lines = table("T", ("name", "value"), [("a", 1), ("long name", 12_345.6)]).splitlines()
    assert lines == ["T", "name        value", "---------  ------", "a               1", "long name  12,346"]
