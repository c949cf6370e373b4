"""Rules of ours for the alarms: 21, about metrics that there are, and silence is no good news."""

import json
import re
from typing import Any

import yaml

from tests.support.cloudformation import FOLDER
from tests.support.deployment import NODES, Part, environment_of, of_type
from trinity.observe.metrics import REGISTERS

# Of workers/health/exposition.py, which makes them out of several processes' readings.
OF_THE_EXPOSITION = {
    "trinity_ready",
    "trinity_feed_up",
    "trinity_process_up",
    "trinity_data_disk_free_bytes",
    "trinity_data_disk_size_bytes",
}


def metrics_of(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    if "MetricName" in alarm:
        return [alarm]
    return [entry["MetricStat"]["Metric"] for entry in alarm["Metrics"] if "MetricStat" in entry]


def agent_configuration(whole: dict[str, Part], node: str) -> dict[str, Any]:
    agent = whole[node]["Task"]["Properties"]["ContainerDefinitions"][1]
    environment = environment_of(agent)
    yaml.safe_load(environment["PROMETHEUS_CONFIG_CONTENT"])
    return json.loads(environment["CW_CONFIG_CONTENT"])


def test_there_are_21_alarms_and_each_tells_the_operator_when_it_begins_and_ends(copy):
    """Each has its own name, so that operations.md finds it."""
    alarms = dict(of_type(copy, "CloudWatch::Alarm"))
    assert len(alarms) == 21
    for name, alarm in alarms.items():
        assert alarm["AlarmActions"] == alarm["OKActions"] == ["<Alarms.Alarms>"], name
        assert alarm["AlarmName"].endswith(name.removeprefix("Alarms.")), name


def test_they_are_the_alarms_of_prometheus_and_each_has_its_section(whole):
    """One name for one trouble, wherever it is told, and one place that says what to type."""
    rules = yaml.safe_load((FOLDER.parent / "prometheus" / "rules" / "trinity.yml").read_text())
    (names,) = [
        {rule["alert"] for rule in group["rules"]} for group in rules["groups"] if group["name"] == "specification"
    ]
    ours = {name.removeprefix("Alarms."): alarm for name, alarm in of_type(whole, "CloudWatch::Alarm")}
    assert ours.keys() == names
    sections = (FOLDER.parents[1] / "docs" / "operations.md").read_text()
    assert not [name for name in ours if f"# {name}\n" not in sections]


def test_an_alarm_of_ours_asks_a_metric_that_nodes_have_and_the_agent_sends_under_its_names(whole):
    """Names and dimensions agree, from the node's exposition through the agent to the alarm."""
    prefix_of_ours = "Trinity/"
    known = {
        f"trinity_{metric.name}" for register in REGISTERS.values() for metric in register.metrics
    } | OF_THE_EXPOSITION
    sent: dict[str, set[str]] = {}
    prometheus = agent_configuration(whole, "Push1")["logs"]["metrics_collected"]["prometheus"]["emf_processor"]
    for declaration in prometheus["metric_declaration"]:
        (dimensions,) = declaration["dimensions"]
        for selector in declaration["metric_selectors"]:
            sent[selector.strip("^$")] = set(dimensions)
    asked = {
        metric["MetricName"]: {dimension["Name"] for dimension in metric["Dimensions"]}
        for _, alarm in of_type(whole, "CloudWatch::Alarm")
        for metric in metrics_of(alarm)
        if metric["Namespace"].startswith(prefix_of_ours)
    }
    assert asked == sent
    assert asked.keys() <= known
    assert {
        metric["Namespace"]
        for _, alarm in of_type(whole, "CloudWatch::Alarm")
        for metric in metrics_of(alarm)
        if metric["Namespace"].startswith(prefix_of_ours)
    } == {prometheus["metric_namespace"]}


def test_an_alarm_about_something_that_vanished_is_no_good_news(whole):
    """Nodes, feeds and stores that send nothing are as bad as those that say that they are down."""
    for name, alarm in of_type(whole, "CloudWatch::Alarm"):
        if re.search("Down|Unhealthy|NoFresh|Disk", name):
            assert alarm["TreatMissingData"] == "breaching", name


def test_alarms_about_services_name_services_that_there_are(whole):
    """A service that is renamed would be watched by nobody."""
    services = {whole[node]["Service"]["Properties"]["ServiceName"] for node in NODES}
    for name in ("TrinityCpuHigh", "TrinityMemoryHigh"):
        dimensions = [metric["Dimensions"] for metric in metrics_of(whole["Alarms"][name]["Properties"])]
        assert {
            entry["Value"] for entries in dimensions for entry in entries if entry["Name"] == "ServiceName"
        } == services
