"""The tables of what is measured of a cluster."""

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.report.tables import table


def _chaos_table(found: Mapping[str, Any]) -> str:
    kinds, limit, prices = found["kinds"], found["limit"], found["prices"]
    heads = ("questions", "failures", "retried", "answers", "unanswered", "rows", "missing", "twice", "surplus")
    rows = [(kind, *(row[head] for head in heads)) for kind, row in kinds.items()]
    killed = [(event["killed"], event["how"], event["second"], event["failures_before"]) for event in found["events"]]
    others = [
        ("prices checked", prices["checked"]),
        ("wrong prices", prices["wrong"]),
        ("worst, bps", prices["worst_bps"]),
        ("limit: most in 10 s", limit["most_in_10_s"]),
        ("limit: planned for 10 s", limit["planned_in_10_s"]),
        ("limit: mean a second", limit["rate"]),
    ]
    return "\n\n".join(
        [
            table(f"A cluster whose parts are killed for {found['seconds']:g} s", ("clients", *heads), rows),
            table("Its prices and a key's limit", ("", "count"), others),
            table("What was killed", ("part", "comes back", "second", "failures before"), killed),
        ]
    )


def _limits_table(found: Mapping[str, Any]) -> str:
    heads = ("admitted", "planned", "under", "most_in_10_s", "planned_in_10_s", "over", "refused", "unanswered")
    loads = [(load, *(found[load][head] for head in heads)) for load in ("jumping", "one")]
    costs = ("keys", "looking_us", "looking_share_of_a_core", "asked_us_a_key", "taken_us_a_key")
    title = f"A limit of {found['rate']}/s, burst {found['burst']}, over three nodes for {found['seconds']:g} s"
    return "\n\n".join(
        [
            table(title, ("load", *heads), loads),
            table("What the exchange costs", costs, [tuple(row[cost] for cost in costs) for row in found["exchange"]]),
        ]
    )


CLUSTER_TABLES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {"chaos": _chaos_table, "limits": _limits_table}
