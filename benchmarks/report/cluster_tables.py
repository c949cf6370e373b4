"""The tables of what is measured of a cluster."""

import json
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


def _roll_table(found: Mapping[str, Any]) -> str:
    heads = ("questions", "failures", "resent", "answers", "rows", "missing", "surplus")
    rows = [(kind, *(row[head] for head in heads)) for kind, row in found["kinds"].items()]
    title = f"{found['nodes_restarted']} restarts of nodes behind nginx, one after the other, in {found['seconds']:g} s"
    return table(title, ("clients", *heads), rows)


def _front_table(found: Mapping[str, Any]) -> str:
    fields = ("per_second", "worker_us", "nginx_us", "nginx_share", "p50_us", "p99_us", "faults")
    rows = [
        (protocol, way, *(found[protocol][way][field] for field in fields))
        for protocol in ("http", "udp")
        for way in ("direct", "nginx")
    ]
    heads = ("", "way", "answers/s", "worker us", "nginx us", "nginx's share", "p50 us", "p99 us", "faults")
    kept = ("seconds", "rate", "sent", "answered", "lost", "p99_us")
    soaks = [(protocol, *(row[field] for field in kept)) for protocol, row in found["soak"].items()]
    title = "One worker directly and behind nginx on its core, CPU us an answer"
    return "\n\n".join(
        [table(title, heads, rows), table("Through nginx, for long, at half of that", ("", *kept), soaks)]
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


def _governor_table(found: Mapping[str, Any]) -> str:
    fields = ("offered", "goodput", "goodput_of_peak", "p50_ms", "p99_ms", "refused", "refused_p50_ms")
    rows = [(name, *(found[name][field] for field in fields)) for name in ("unloaded", "unloaded_on", "off", "on")]
    nginx = found.get("nginx", {})
    rows += [
        (f"nginx: {name}", *(nginx[name][field] for field in fields)) for name in ("unloaded", "off", "on") if nginx
    ]
    load = f"{found['overload']:g} times its peak of {found['peak']:,} a second"
    title = f"A worker at {load}, target {found['target_ms']} ms"
    heads = ("", "offered/s", "in time/s", "of the peak", "p50 ms", "p99 ms", "refused/s", "refused p50 ms")
    idle = table(
        "The governor's cost when idle, CPU us a request", tuple(found["idle"]), [tuple(found["idle"].values())]
    )
    return "\n\n".join([table(title, heads, rows), idle])


def _misses_table(found: Mapping[str, Any]) -> str:
    latency, zipf, floods = found["latency"], found["zipf"], found["floods"]
    first, second, filled = latency["first_ms"], latency["second_us"], zipf["filled"]
    spreads = [
        ("the first lookup, ms", first["median"], first["p90"], first["worst"]),
        ("the second, us", second["median"], second["p90"], second["worst"]),
    ]
    shares = [
        ("lookups a second", zipf["lookups_per_second"]),
        ("answered by the table", filled["table"]),
        ("asked for", filled["miss"]),
        ("refused", filled["refused"]),
        ("share of hits", round(zipf["share_of_hits"], 5)),
    ]
    rows = [
        (kind, flood["names_per_second"], exchange, count, flood["allowed"][exchange])
        for kind, flood in floods.items()
        for exchange, count in flood["questions"].items()
    ]
    title = f"Assets beyond the catalog, {latency['assets']} of them; REST takes {found['rest_delay_ms']} ms"
    return "\n\n".join(
        [
            table(title, ("", "median", "p90", "worst"), spreads),
            table(f"{zipf['assets']} assets by Zipf's law, the second {zipf['seconds']:g} s", ("", "count"), shares),
            table("Floods of names", ("names", "a second", "exchange", "questions", "by its gap"), rows),
        ]
    )


def _restart_table(found: Mapping[str, Any]) -> str:
    rows = [(f"{turn['seconds']:.2f}", json.dumps(turn["steps"])) for turn in found["turns"]]
    replaced = found["replaced"]
    return "\n\n".join(
        [
            table("Until the first answer after kill -9 of everything", ("seconds", "the supervisor's steps"), rows),
            table("Workers and reporters replaced under load", tuple(replaced), [tuple(replaced.values())]),
        ]
    )


CLUSTER_TABLES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "chaos": _chaos_table,
    "roll": _roll_table,
    "restart": _restart_table,
    "front": _front_table,
    "limits": _limits_table,
    "governor": _governor_table,
    "misses": _misses_table,
}
