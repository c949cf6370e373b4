"""deploy/grafana: the dashboard asks for what exists, in words that Prometheus understands."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.test_prometheus import RULES, series_names

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboards" / "trinity.json"
# What Grafana puts in before it asks.
VARIABLES = {"$__rate_interval": "1m", "$instance": ".*"}


def _dashboard() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return read


def _expressions() -> Iterator[str]:
    for panel in _dashboard()["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"]
            for variable, value in VARIABLES.items():
                expression = expression.replace(variable, value)
            yield expression


def test_every_metric_that_the_dashboard_asks_for_exists() -> None:
    """Also that of the choice of nodes."""
    asked = {name for expression in _expressions() for name in re.findall(r"\btrinity_\w+", expression)}
    asked |= set(re.findall(r"\btrinity_\w+", json.dumps(_dashboard()["templating"])))
    assert asked
    assert asked - series_names() == set()


def test_prometheus_understands_every_expression(tmp_path: Path) -> None:
    """Each as a recording rule, by promtool; no variable of Grafana's is left that this test does not know."""
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("no promtool on this machine")
    expressions = list(_expressions())
    assert not [expression for expression in expressions if "$" in expression]
    rules = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(expressions)]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_panels_lie_beside_each_other_and_have_names_units_and_the_one_data_source() -> None:
    """Grafana loads the file as it is: nobody is there to mend it."""
    dashboard = _dashboard()
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & places, panel["title"]
        assert max(x for x, _ in cells) < 24
        places |= cells
        assert panel["title"]
        if panel["type"] != "row":
            assert panel["fieldConfig"]["defaults"]["unit"]
            assert {target["datasource"]["uid"] for target in panel["targets"]} == {"prometheus"}
    assert (dashboard["uid"], dashboard["title"]) == ("trinity", "Trinity")


def test_the_dashboard_s_marks_are_those_of_the_alarms() -> None:
    """What a description says of an alarm stands in the rules."""
    rules = RULES.read_text()
    marks = {"80 %": "> 0.80", "85 %": "> 0.85", "10 %": "< 0.10", "10 ms": "> 0.010", "8 on average": "> 8"}
    told = " ".join(panel.get("description", "") for panel in _dashboard()["panels"])
    for text, condition in marks.items():
        assert text in told
        assert condition in rules
