"""Results as people and programs read them: text tables, and one JSON file with all that a comparison needs.

Rules: the JSON says which machine, which versions, which commit and which seed; a result without these says nothing.
Extrapolation has a section of its own, below all measurements and under its own name.
"""

import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.report.cluster_tables import CLUSTER_TABLES
from benchmarks.report.figures import extrapolate, judge
from benchmarks.report.tables import table
from trinity.clock import NS_PER_SECOND, Clock

_PACKAGES = ("numpy", "numba", "llvmlite", "msgspec", "websockets", "aiohttp", "granian", "uvicorn")
_ROOT = Path(__file__).resolve().parents[2]
RESULTS_FILE = "results.json"
TABLE_FILE = "results.txt"


def describe_run(clock: Clock, seed: int, peer_versions: Mapping[str, str]) -> dict[str, Any]:
    """The run's circumstances."""
    return {
        "time": datetime.fromtimestamp(clock.wall_ns() / NS_PER_SECOND, UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "seed": seed,
        "machine": {
            "processor": _processor(),
            "processors": len(os.sched_getaffinity(0)),
            "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024**2,
            "kernel": platform.release(),
            "load_average": [round(load, 2) for load in os.getloadavg()],
        },
        "versions": {"python": platform.python_version(), **_packages(), **peer_versions},
    }


def write_results(folder: Path, run: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    """Write the JSON and the tables into `folder`; returns the tables."""
    document = {
        "run": run,
        "measured": results,
        "figures": [reached._asdict() for reached in judge(results)],
        "extrapolated": extrapolate(results),
    }
    (folder / RESULTS_FILE).write_text(json.dumps(document, indent=1) + "\n")
    text = tables_of(document)
    (folder / TABLE_FILE).write_text(text)
    return text


def tables_of(document: Mapping[str, Any]) -> str:
    """All tables of a results document."""
    run, measured = document["run"], document["measured"]
    machine = run["machine"]
    changes = " with uncommitted changes" if run["uncommitted_changes"] else ""
    where = f"{machine['processor']}, {machine['processors']} processors, Linux {machine['kernel']}"
    load = f"load average at the start {machine['load_average'][0]}"
    parts = [f"{run['time']}, commit {run['commit'][:12]}{changes}\n{where}, {load}"]
    parts += [_contest_table(name, measured[name]) for name in ("http", "udp") if name in measured]
    for protocol in ("http", "udp"):
        if "levels" in measured:
            parts.append(_levels_table(protocol, measured["levels"][protocol]))
    parts += [section(measured[name]) for name, section in _SECTIONS.items() if name in measured]
    if document["figures"]:
        rows = [
            (
                f["name"],
                f"{f['measured']:,g}",
                f"{f['sense']} {f['limit']:,g} {f['unit']}",
                "yes" if f["reached"] else "NO",
            )
            for f in document["figures"]
        ]
        parts.append(table("Figures", ("figure", "measured", "must be", "reached"), rows))
    if document["extrapolated"]:
        parts.append(_extrapolation_table(document["extrapolated"]))
    return "\n\n".join(parts) + "\n"


def _contest_table(name: str, contest: Mapping[str, Any]) -> str:
    ratios = {contest["contestants"][0]["name"]: 1.0, **contest["ratio_of_ours"]}
    rows = [
        (
            row["name"],
            row["cpu_us"],
            ratios[row["name"]],
            row["per_second"],
            row["lookups_per_second"],
            row["p50_us"],
            row["p99_us"],
            row["faults"],
        )
        for row in contest["contestants"]
    ]
    heads = ("server", "CPU us/request", "ours/this", "requests/s", "lookups/s", "p50 us", "p99 us", "faults")
    title = f"{name.upper()} side by side (medians of {len(contest['contestants'][0]['cpu_us_turns'])} turns)"
    skipped = f"\nnot installed, skipped: {', '.join(contest['skipped'])}" if contest["skipped"] else ""
    return table(title, heads, rows) + skipped


def _levels_table(protocol: str, levels: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            row["level"],
            row["per_second"],
            row["latency_us"]["p50"],
            row["latency_us"]["p99"],
            row["latency_us"]["p99.9"],
            row["cpu_us"],
            row["faults"],
        )
        for row in levels
    ]
    heads = ("level", "answers/s", "p50 us", "p99 us", "p99.9 us", "CPU us/request", "faults")
    return table(f"{protocol.upper()} load levels, closed loop, one worker", heads, rows)


def _pipelining_table(found: Mapping[str, Any]) -> str:
    rows = [(row["pipelining"], row["per_second"], row["cpu_us"]) for row in found["rows"]]
    return table(f"HTTP pipelining: gain {found['gain']}x", ("in one write", "requests/s", "CPU us/request"), rows)


def _half_peak_table(found: Mapping[str, Any]) -> str:
    rows = [
        (
            i + 1,
            row["peak_per_second"],
            row["per_second"],
            *(row["latency_us"][p] for p in ("p50", "p99", "p99.9")),
            row["faults"],
        )
        for i, row in enumerate(found["turns"])
    ]
    heads = ("turn", "peak/s", "open loop/s", "p50 us", "p99 us", "p99.9 us", "faults")
    return table("Open loop at half of the peak rate, 64 connections", heads, rows)


def _user_mode_table(found: Mapping[str, Any]) -> str:
    rows = [(f"pure: {name.removesuffix('_us').replace('_', ' ')}", us) for name, us in found["pure"].items()]
    if "sampled" in found:
        rows.append(
            (f"sampled by perf: http ({found['sampled']['user_share']:.1%} of its time)", found["sampled"]["http_us"])
        )
    return table("Outside of the kernel", ("", "us"), rows)


def _access_table(found: Mapping[str, Any]) -> str:
    rows = [(name.removesuffix("_ns").replace("_", " "), ns) for name, ns in found.items() if name.endswith("_ns")]
    title = f"Access: {found['keys']:,} keys, {found['bytes'] / 1e6:,.0f} MB, loaded in {found['load_seconds']} s"
    return table(title, ("", "ns"), rows)


def _feeds_table(found: Mapping[str, Any]) -> str:
    heads = ("exchange", "CPU us a frame", "frames/s", "of a processor at 100 frames/s")
    rows = [(row["exchange"], row["cpu_us"], row["per_second"], row["idle_share"]) for row in found["rows"]]
    return table("A feed process, from the socket to the price table", heads, rows)


def _feed_peers_table(found: Mapping[str, Any]) -> str:
    peers = list(found["worst_ratio"])
    rows = [(row["exchange"], row["trinity"], *(_beside(row, peer) for peer in peers)) for row in found["rows"]]
    notes = [*found["not_asked"], *(f"{peer} is not installed" for peer in found["not_installed"])]
    heads = ("exchange", "trinity", *peers)
    return table("The same frames, CPU us a quote, and ours / theirs", heads, rows) + "".join(
        f"\n{note}" for note in notes
    )


def _beside(row: Mapping[str, Any], peer: str) -> str:
    return f"{row[peer]} ({row['trinity'] / row[peer]:.2f})" if peer in row else "-"


def _consensus_table(found: Mapping[str, Any]) -> str:
    row = (found["quote_us"], found["decimal_quote_us"], found["times_less"])
    return table("A changed quote in the consensus", ("CPU us, compiled", "by the decimal rules", "times less"), [row])


def _wire_table(found: Mapping[str, Any]) -> str:
    heads = (
        "quotes/s",
        "taken/s",
        "frames",
        "p50 us",
        "p90 us",
        "p99 us",
        "p99.9 us",
        "max us",
        "overdue ms",
        "never seen",
    )
    rows, busy = [], []
    for rate, row in found["rates"].items():
        shares = ", ".join(f"{name} {share:.0%}" for name, share in row["share_of_a_processor"].items())
        busy.append(f"of a processor at {int(rate):,}: {shares}")
        percentiles = [row["latency_us"][p] for p in ("p50", "p90", "p99", "p99.9", "max")]
        counts = row["overdue_ms_max"], row["frames_never_seen"]
        rows.append((f"{int(rate):,}", row["quotes_per_second"], row["frames"], *percentiles, *counts))
    return "\n".join([table("From a frame on the wire to an HTTP answer", heads, rows), *busy])


def _memory_table(found: Mapping[str, Any]) -> str:
    rows = [*found["pss_mib"].items(), ("whole node without simulators", found["node_mib"])]
    return table(f"Memory with {found['workers']} request workers", ("process", "PSS MiB"), rows)


def _soak_table(found: Mapping[str, Any]) -> str:
    drift = found["drift"]
    numbers = ("first", "last", "slope_per_hour", "error")
    rows = [(name, *(row[number] for number in numbers)) for name, row in drift.items() if name != "faults"]
    faults = ", ".join(f"{name} {count}" for name, count in drift["faults"].items()) or "none"
    load = f"{found['rate']:,} requests/s and {found['quotes_per_second']:,} quotes/s"
    title = f"Soak at {load}, {len(found['samples'])} samples; faults: {faults}"
    return table(title, ("", "first quarter", "last quarter", "slope an hour", "standard error"), rows)


def _reports_table(found: Mapping[str, Any]) -> str:
    rows = [(name, took["mean"], took["p50"], took["p99"]) for name, took in found["latency_ms"].items()]
    title = f"Reports over {found['rows']:,} requests of {found['keys']} keys in {found['days']} days"
    lookups = found["lookups"]
    return (
        table(title, ("report", "mean ms", "p50 ms", "p99 ms"), rows)
        + f"\nCSV: {found['csv_rows_per_second']:,} rows/s; a lookup beside reports takes {lookups['ratio']} of the "
        f"processor time that it takes alone, {lookups['alone_us']} us"
    )


def _restore_table(found: Mapping[str, Any]) -> str:
    title = f"Restore of {found['rows']:,} requests, {found['database_bytes'] / 1e9:.1f} GB, from the backup alone"
    steps = ", ".join(f"{step} {seconds} s" for step, seconds in found["steps_seconds"].items())
    rows = [(name, value) for name, value in found.items() if name != "steps_seconds"]
    return table(title, ("", "measured"), rows) + f"\nsteps: {steps}"


def _streams_table(found: Mapping[str, Any]) -> str:
    title = f"Streams: {found['clients']:,} clients, {found['assets']} assets each, {found['seconds']:g} s"
    return table(title, ("", "measured"), list(found.items()))


def _markets_table(found: Mapping[str, Any]) -> str:
    rows = [(question, *row.values()) for question, row in found["questions"].items()]
    title = f"coins/markets of {found['assets']} assets, {found['calls']} calls each"
    return table(title, ("", "mean ms", "p50 ms", "p99 ms", "CPU ms"), rows)


def _sync_table(found: Mapping[str, Any]) -> str:
    rows = [(name.replace("_", " "), value) for name, value in found.items() if name != "rows"]
    return table(f"{found['rows']:,} usage rows from PostgreSQL to Valkey", ("", ""), rows)


def _keys_table(found: Mapping[str, Any]) -> str:
    rows = [(name.replace("_", " "), value) for name, value in found.items() if name != "keys"]
    return table(f"{found['keys']:,} API keys in the access process", ("", ""), rows)


def _campaign_table(found: Mapping[str, Any]) -> str:
    rows = [
        ("fresh prices judged", found["judged"]),
        (f"more than {found['off_bps_max']:g} bps off", found["wrong"]),
        ("worst, bps", found["worst_bps"]),
        ("while a majority lied and 60 s after", found["unjudged"]),
        ("of these off", found["unjudged_off"]),
        *((f"refused: {code}", count) for code, count in found["refused"].items()),
        *((f"episodes: {kind}", count) for kind, count in found["episodes"].items()),
    ]
    title = f"Campaign of random faults, {found['minutes']:g} minutes, seed {found['seed']}"
    return table(title, ("", "count"), rows)


def _udp_flood_table(found: Mapping[str, Any]) -> str:
    heads = ("flood", "datagrams/s", "lookups answered", "p50 us", "p99 us")
    rows = [
        (kind, row.get("flood_per_second", 0), f"{row['answered']} of {row['asked']}", row["p50_us"], row["p99_us"])
        for kind, row in found.items()
    ]
    return table("Lookups over UDP under a flood into the same queue", heads, rows)


def _extrapolation_table(found: Mapping[str, Any]) -> str:
    rows = [
        (name, row["cpu_us_measured"], row["requests_per_second_of_eight_EXTRAPOLATED"], row["goal"])
        for name, row in found.items()
        if name != "note"
    ]
    heads = ("protocol", "CPU us/request", "8 processors, requests/s", "goal")
    return table(f"EXTRAPOLATION, not a measurement: {found['note']}", heads, rows)


def _push_https_table(found: Mapping[str, Any]) -> str:
    rows = [(name, *row.values(), found["ratio_of_ours"].get(name, 1.0)) for name, row in found["senders"].items()]
    heads = ("sender", "deliveries", "CPU us a delivery", "deliveries/s", "new connections", "ours / this")
    return table("Deliveries of 25 assets over HTTPS to 64 receivers, side by side", heads, rows)


def _push_udp_table(found: Mapping[str, Any]) -> str:
    rows = [
        (size, sender, row["cpu_us"], f"{row['per_cpu_second']:,.0f}", f"{row['per_second']:,.0f}", row["received"])
        for size, part in found["sizes"].items()
        for sender, row in part["senders"].items()
    ]
    heads = ("prices", "sender", "CPU us a push", "pushes a CPU second", "pushes/s", "received of sent")
    times = ", ".join(f"{part['times']:g} times as many of {size}" for size, part in found["sizes"].items())
    return table(f"Signed pushes over UDP, side by side: compiled {times}", heads, rows)


def _push_process_table(found: Mapping[str, Any]) -> str:
    rows = [
        (size, row["cpu_us"], f"{row['per_cpu_second']:,}", f"{row['per_second']:,}", row["cpu_share"], row["skipped"])
        for size, row in found["sizes"].items()
    ]
    heads = ("subscriptions, every 3 s", "CPU us a push", "pushes a CPU second", "pushes/s", "of a core", "skipped")
    return table("The push server's whole process over UDP, 25 assets", heads, rows)


def _delivery_log_table(found: Mapping[str, Any]) -> str:
    return table("The log of deliveries into PostgreSQL", tuple(found), [tuple(found.values())])


def _push_schedule_table(found: Mapping[str, Any]) -> str:
    windows = [("all are well", found["well"]), *(("a tenth is bad", row) for row in found["bad"])]
    rows = [
        (name, *(value for field, value in row.items() if not field.startswith("outcomes"))) for name, row in windows
    ]
    heads = ("receivers", *(field.replace("_", " ") for field in found["well"] if not field.startswith("outcomes")))
    return table(f"{found['subscriptions']:,} subscriptions of 25 assets every 10 s; those that are well", heads, rows)


_SECTIONS = {
    "pipelining": _pipelining_table,
    "half_peak": _half_peak_table,
    "user_mode": _user_mode_table,
    "access": _access_table,
    "feeds": _feeds_table,
    "consensus": _consensus_table,
    "feed_peers": _feed_peers_table,
    "wire": _wire_table,
    "memory": _memory_table,
    "soak": _soak_table,
    "reports": _reports_table,
    "restore": _restore_table,
    "streams": _streams_table,
    "sync": _sync_table,
    "markets": _markets_table,
    "keys": _keys_table,
    "campaign": _campaign_table,
    "udp_flood": _udp_flood_table,
    "push_https": _push_https_table,
    "push_schedule": _push_schedule_table,
    "push_udp": _push_udp_table,
    "push_process": _push_process_table,
    "delivery_log": _delivery_log_table,
    **CLUSTER_TABLES,
}


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _packages() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=_ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "unknown"
