"""deploy/prometheus: each alarm is provoked by itself in promtool, and is silent where all is well."""

import re
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.support.node_fixture import CATALOG, NOW_NS
from trinity.memory.node import Card, NodeMemory, ProcessEntry
from trinity.observe.machine import DiskRoom
from trinity.observe.metrics import REGISTERS
from trinity.observe.reasons import REASONS
from trinity.observe.status import read_node
from trinity.vocabulary import EXCHANGES
from workers.health.exposition import node_families, render_metrics

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "prometheus"
RULES = FOLDER / "rules" / "trinity.yml"
PAGE = ROOT / "docs" / "operations.md"
# Of the specification: 21 in all.
SPECIFIED = (
    "TrinityCpuHigh", "TrinityMemoryHigh", "TrinityRequestsHigh", "TrinityLatencyHigh", "TrinityErrorsHigh",
    "TrinityLookupsTargetUnhealthy", "TrinityReportsTargetUnhealthy", "TrinityDatabaseLoadHigh", "TrinityDatabaseDown",
    "TrinityCacheDown", *(f"TrinityFeedDown{exchange.capitalize()}" for exchange in EXCHANGES), "TrinityNoFreshPrices",
    "TrinityLedgerSlotsHigh", "TrinityLedgerRecordsLost", "TrinityProcessDown", "TrinityDiskSpaceLow",
)  # fmt: skip
# When nothing may have been raised yet, and when it must be.
EARLY_SECONDS, LATE_MINUTES = 0, 20
NODE = 'job="trinity",instance="10.0.0.11:8081"'


class Provoked(NamedTuple):
    """Series of a node, with their values minute by minute as promtool writes them."""

    bad: dict[str, str]
    just_good: dict[str, str]  # as near to it as may be


def _reason(code: str) -> Provoked:
    series = f'trinity_health_reason{{{NODE},code="{code}"}}'
    return Provoked({series: "1x60"}, {series: "0x60"})


def _of(name: str, bad: str, just_good: str, **others: str) -> Provoked:
    rest = {f"trinity_{other}{{{NODE}}}": values for other, values in others.items()}
    series = f"trinity_{name}{{{NODE}}}"
    return Provoked({series: bad, **rest}, {series: just_good, **rest})


def _durations(le: dict[str, str]) -> dict[str, str]:
    name = "trinity_http_request_duration_seconds_bucket"
    return {f'{name}{{{NODE},worker="0",le="{bound}"}}': values for bound, values in le.items()}


def _answers(bad: str) -> dict[str, str]:
    name = f'trinity_http_responses_total{{{NODE},worker="0"'
    return {f'{name},status="200"}}': "0+6000x60", f'{name},status="503"}}': bad}


GB = 10**9
PROVOKED: dict[str, Provoked] = {
    "TrinityCpuHigh": _of("machine_cpu_seconds_total", "0+97x60", "0+95x60", machine_cpus="2x60"),
    "TrinityMemoryHigh": _of(
        "machine_memory_used_bytes", f"{86 * GB}x60", f"{85 * GB}x60", machine_memory_size_bytes=f"{100 * GB}x60"
    ),
    # Of HTTP and UDP together.
    "TrinityRequestsHigh": _of(
        "udp_datagrams_total", "0+30060x60", "0+29940x60", http_responses_total="0+20000x60"
    ),
    "TrinityLatencyHigh": Provoked(
        _durations({"0.01": "0+49x60", "0.1": "0+100x60", "+Inf": "0+100x60"}),
        _durations({"0.01": "0+51x60", "0.1": "0+100x60", "+Inf": "0+100x60"}),
    ),
    "TrinityErrorsHigh": Provoked(_answers("0+72x60"), _answers("0+54x60")),
    "TrinityLookupsTargetUnhealthy": _of("ready", "0x60", "1x60"),
    "TrinityReportsTargetUnhealthy": _of("reports_ready", "0x60", "1x60"),
    "TrinityDatabaseLoadHigh": _of(
        "operator_database_sessions_active", "9x60", "8x60",
        operator_database_sessions="20x60", operator_database_sessions_max="100x60",
    ),
    "TrinityDatabaseDown": _reason("ledger_database_down"),
    "TrinityCacheDown": _reason("cache_unreachable"),
    **{
        f"TrinityFeedDown{exchange.capitalize()}": Provoked(
            {f'trinity_feed_up{{{NODE},exchange="{exchange}"}}': "0x60"},
            {f'trinity_feed_up{{{NODE},exchange="{exchange}"}}': "1x60"},
        )
        for exchange in EXCHANGES
    },
    "TrinityNoFreshPrices": _reason("no_fresh_asset"),
    "TrinityLedgerSlotsHigh": _reason("ledger_alarm"),
    "TrinityLedgerRecordsLost": _of('usage_lost_total', "0x15 1x24", "7x60"),
    "TrinityProcessDown": _reason("process_silent"),
    "TrinityDiskSpaceLow": _of(
        "data_disk_free_bytes", f"{9 * GB}x60", f"{10 * GB}x60", data_disk_size_bytes=f"{100 * GB}x60"
    ),
    "TrinityDegraded": _reason("feed_frozen"),
    "TrinityBackupFailing": _reason("backup_failing"),
    "TrinityBackupSilent": _of("backup_wal_lag_seconds", "601x60", "600x60", backup_active="1x60"),
    "TrinityBackupBaseOld": _of("backup_last_base_age_seconds", f"{26 * 3600 + 1}x60", f"{26 * 3600}x60"),
    "TrinityDrillFailing": _of("drill_failing", "1x60", "0x60"),
    "TrinityDrillOverdue": _of("drill_last_age_seconds", f"{8 * 86_400 + 1}x60", f"{8 * 86_400}x60"),
    "TrinityHeartbeatFailing": _of("heartbeat_failing", "1x60", "0x60"),
    "TrinityJobFailing": _of("operator_job_failing", "1x60", "0x60"),
    "TrinityPushSharesUnserved": _of("push_shards", "63x60", "64x60"),
    "TrinityPushBehind": _of("push_skipped_total", "0+1x60", "5x60"),
    "TrinityPushReceiversFailing": _of("push_failing", "21x60", "20x60", push_subscriptions="100x60"),
}  # fmt: skip
UP = {f"up{{{NODE}}}": "1x60"}


@pytest.fixture(scope="module")
def promtool() -> str:
    if (found := shutil.which("promtool")) is None:
        pytest.skip("no promtool on this machine")
    return found


def _rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def _named(name: str) -> dict[str, Any]:
    return next(rule for rule in _rules() if rule["alert"] == name)


def test_the_specification_s_21_alarms_are_there_by_name() -> None:
    """In a group of their own."""
    groups = {
        group["name"]: [rule["alert"] for rule in group["rules"]]
        for group in yaml.safe_load(RULES.read_text())["groups"]
    }
    assert tuple(groups["specification"]) == SPECIFIED
    assert len(SPECIFIED) == 21


def test_configuration_and_rules_are_as_prometheus_wants_them(promtool: str) -> None:
    """By its own linter, as they lie in deploy/."""
    subprocess.run([promtool, "check", "config", FOLDER / "prometheus.yml"], check=True, capture_output=True)
    subprocess.run([promtool, "check", "rules", "--lint-fatal", RULES], check=True, capture_output=True)


def _expression_test(alert: str, series: dict[str, str], at: str, count: int) -> dict[str, Any]:
    """One of promtool's tests: so many series of this alarm fire then."""
    expected = [{"labels": "{}", "value": count}] if count else []
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})',
                "eval_time": at,
                "exp_samples": expected,
            }
        ],
    }


def test_each_alarm_is_raised_by_what_it_is_about_and_not_just_before(promtool: str, tmp_path: Path) -> None:
    """Provoked one by one: it fires late, is silent early, and a value that is just good raises nothing."""
    tests = []
    for alert, provoked in PROVOKED.items():
        tests.append(_expression_test(alert, {**UP, **provoked.bad}, f"{LATE_MINUTES}m", 1))
        tests.append(_expression_test(alert, {**UP, **provoked.just_good}, f"{LATE_MINUTES}m", 0))
        if "for" in _named(alert):
            tests.append(_expression_test(alert, {**UP, **provoked.bad}, f"{EARLY_SECONDS}s", 0))
    tests.append(_expression_test("TrinityNoNode", {f"up{{{NODE}}}": "0x60"}, f"{LATE_MINUTES}m", 1))
    tests.append(_expression_test("TrinityNoNode", {}, f"{LATE_MINUTES}m", 1))
    tests.append(_expression_test("TrinityNoNode", UP, f"{LATE_MINUTES}m", 0))
    assert {rule["alert"] for rule in _rules()} == {*PROVOKED, "TrinityNoNode"}, "each is provoked"
    file = tmp_path / "trinity.test.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}))
    done = subprocess.run([promtool, "test", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_cluster_where_all_is_well_raises_no_alarm(promtool: str, tmp_path: Path) -> None:
    """All that is just good at once; also the labels that only a real node has are there."""
    series = dict(UP)
    for alert, provoked in PROVOKED.items():
        # Their series are others' as well: what is just good for one is counted by another.
        if alert not in ("TrinityErrorsHigh", "TrinityRequestsHigh"):
            series |= provoked.just_good
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": "ALERTS", "eval_time": f"{LATE_MINUTES}m", "exp_samples": []}],
    }
    file = tmp_path / "well.test.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [test]}))
    done = subprocess.run([promtool, "test", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def series_names() -> set[str]:
    """Every sample that a node may have, as it is scraped, with every kind of process."""
    entries = tuple(ProcessEntry(kind, kind) for kind in REGISTERS)
    memory = NodeMemory.create(Card(f"t-{uuid.uuid4().hex[:12]}", False, entries, CATALOG))
    try:
        text = render_metrics(node_families(read_node(memory, NOW_NS, ()), DiskRoom(2, 1))).decode()
    finally:
        memory.unlink()
    samples = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if not line.startswith("#")}
    families = {line.split(" ")[2] for line in text.splitlines() if line.startswith("# TYPE")}
    return samples | families


def test_every_metric_that_a_rule_asks_for_exists() -> None:
    """A misspelt name would be an alarm that is never raised."""
    asked = {name for rule in _rules() for name in re.findall(r"\btrinity_\w+", rule["expr"])}
    assert asked - series_names() == set()


def test_every_reason_of_health_raises_an_alarm_of_its_own_or_the_general_one() -> None:
    """A reason is in the one list or the other, and every code that a rule names is one."""
    codes = {reason.code for reason in REASONS}
    apart = set(re.search(r'code!~"([^"]+)"', _named("TrinityDegraded")["expr"]).group(1).split("|"))  # type: ignore[union-attr]
    named = {
        code for rule in _rules() for text in re.findall(r'code=~?"([^"]+)"', rule["expr"]) for code in text.split("|")
    }
    assert named <= codes
    assert apart == named | {"feed_down"}, "the feeds' alarms ask trinity_feed_up"


def _sections() -> dict[str, str]:
    """Text by heading, as GitHub writes its anchor."""
    parts = re.split(r"^#+ (.+)$", PAGE.read_text(), flags=re.MULTILINE)
    titles = [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in parts[1::2]]
    return dict(zip(titles, parts[2::2], strict=True))


@pytest.mark.parametrize("alert", [rule["alert"] for rule in _rules()])
def test_each_alarm_has_a_section_that_says_what_to_type(alert: str) -> None:
    """Its runbook_url leads there; there is a command to type."""
    rule = _named(alert)
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert (page, anchor) == ("docs/operations.md", alert.lower())
    section = _sections()[anchor]
    assert "`" in section, "what to type"
    assert len(section.split()) > 25, "what it means"
    assert rule["labels"]["severity"] in ("info", "warning", "critical")
    assert rule["annotations"]["summary"]


@pytest.mark.parametrize("code", [reason.code for reason in REASONS])
def test_each_reason_of_health_has_a_section(code: str) -> None:
    """By its own name."""
    section = _sections()[code]
    assert "`" in section
    assert len(section.split()) > 15
