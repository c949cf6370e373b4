"""The figures that must be reached, each with where it stands in the results. Measurements and extrapolation apart.

Rules: a figure that was not measured in this run is left out, never guessed. `extrapolate` is arithmetic on
measurements and says so in its own words; nothing reads it back.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, NamedTuple

Results = Mapping[str, Any]
Read = Callable[[Results], float]
Sense = Literal["<=", ">="]

VCPUS = 8
# Of the quotes that are sent so many are taken, or it was another rate that was measured.
_TAKEN_MIN = 0.9
# What one node of eight processors must do in all; requests a second over HTTP and over UDP.
NODE_GOALS = {"http": 369_600, "udp": 487_900}


class Figure(NamedTuple):
    """One line of the table; `read` raises KeyError when the results do not hold it."""

    name: str
    limit: float
    sense: Sense
    unit: str
    read: Read


class Reached(NamedTuple):
    """A measured figure beside its limit."""

    name: str
    measured: float
    sense: str
    limit: float
    unit: str
    reached: bool


def _wire(rate: int, read: Read, results: Results) -> float:
    return read(results["wire"]["rates"][str(rate)])


def _delivery(peer: str, results: Results) -> float:
    return float(results["push_https"]["ratio_of_ours"][peer])


def _membership_ns(results: Results) -> float:
    return float(round(results["access"]["member_ns"] - results["access"]["alone_ns"], 1))


def _of_rolls(results: Results, field: str) -> float:
    return float(sum(row[field] for row in results["roll"]["kinds"].values()))


def _inexact(results: Results) -> float:
    amiss = ("missing", "twice", "surplus")
    return float(sum(row[field] for row in results["chaos"]["kinds"].values() for field in amiss))


def _wire_figures(rate: int, p50_us: float, p99_us: float) -> tuple[tuple[str, float, Sense, str, Read], ...]:
    """Name, limit, sense, unit, and where it stands in the results of a rate."""
    return (
        ("taken", _TAKEN_MIN * rate, ">=", "quotes/s", lambda row: row["quotes_per_second"]),
        ("median", p50_us, "<=", "us", lambda row: row["latency_us"]["p50"]),
        ("p99", p99_us, "<=", "us", lambda row: row["latency_us"]["p99"]),
        ("longest overdue", 50.0, "<=", "ms", lambda row: row["overdue_ms_max"]),
    )


FIGURES = (
    Figure("HTTP /price: ours / nginx static return", 1.0, "<=", "CPU", lambda r: r["http"]["ratio_of_ours"]["nginx"]),
    Figure("HTTP /price: ours / Go net/http + JSON", 0.35, "<=", "CPU", lambda r: r["http"]["ratio_of_ours"]["go"]),
    Figure("HTTP pipelined by 16 / not pipelined", 4.0, ">=", "requests/s", lambda r: r["pipelining"]["gain"]),
    Figure("overload: goodput / peak", 0.9, ">=", "of the peak", lambda r: r["governor"]["on"]["goodput_of_peak"]),
    Figure("overload: p99 / unloaded p99", 5.0, "<=", "times", lambda r: r["governor"]["on"]["p99_ratio"]),
    Figure("governor, idle", 0.05, "<=", "CPU us", lambda r: r["governor"]["idle"]["added_us"]),
    Figure("UDP text: ours / bare echo", 1.15, "<=", "CPU", lambda r: r["udp"]["ratio_of_ours"]["echo"]),
    Figure(
        "UDP binary, 64 assets: lookups a second of processor", 3e6, ">=", "1/s", lambda r: binary_lookups(r["udp"])
    ),
    Figure("HTTP request: parse, checks and copy", 1.0, "<=", "us", lambda r: r["user_mode"]["pure"]["http_us"]),
    Figure("a million keys: loaded", 3.0, "<=", "s", lambda r: r["access"]["load_seconds"]),
    Figure("a million keys: shared memory", 128e6, "<=", "bytes", lambda r: r["access"]["bytes"]),
    Figure("a recognised key", 150.0, "<=", "ns", lambda r: r["access"]["recognised_ns"]),
    Figure("a new key", 1_000.0, "<=", "ns", lambda r: r["access"]["new_ns"]),
    Figure("membership of a cluster, a limited key", 50.0, "<=", "ns", _membership_ns),
    Figure("a cluster whose parts are killed: failures", 0.0, "<=", "questions", lambda r: r["chaos"]["failures"]),
    Figure("a cluster whose parts are killed: rows amiss", 0.0, "<=", "rows", _inexact),
    Figure(
        "a cluster whose parts are killed: wrong prices", 0.0, "<=", "prices", lambda r: r["chaos"]["prices"]["wrong"]
    ),
    Figure("a cluster whose parts are killed: over a limit", 0.05, "<=", "", lambda r: r["chaos"]["limit"]["over"]),
    Figure("through nginx: lost", 0.0, "<=", "questions", lambda r: r["front"]["wrong"]),
    Figure("nodes restarted one after the other: failures", 0.0, "<=", "questions", lambda r: _of_rolls(r, "failures")),
    Figure("nodes restarted one after the other: missing rows", 0.0, "<=", "rows", lambda r: _of_rolls(r, "missing")),
    Figure("first answer after kill -9 of everything", 3.0, "<=", "s", lambda r: r["restart"]["median_seconds"]),
    Figure("workers replaced: failures", 0.0, "<=", "questions", lambda r: r["restart"]["replaced"]["failures"]),
    Figure("an address against 5,000 blocked networks", 100.0, "<=", "ns", lambda r: r["access"]["blocked_ns"]),
    Figure("key, limit and usage record", 0.5, "<=", "us", lambda r: r["access"]["added_us"]),
    Figure(
        "asset beyond the catalog: median", 60.0, "<=", "ms", lambda r: r["misses"]["latency"]["first_ms"]["median"]
    ),
    Figure("lookups of 400 assets by Zipf: hits", 0.99, ">=", "share", lambda r: r["misses"]["zipf"]["share_of_hits"]),
    Figure("ledger: rows into PostgreSQL", 100_000.0, ">=", "1/s", lambda r: r["ledger"]["rows_per_second"]),
    Figure("ledger: PostgreSQL's time of a row", 1.2, "<=", "us", lambda r: r["ledger"]["postgresql_us_a_row"]),
    Figure("ledger: a row on the disk", 60.0, "<=", "bytes", lambda r: r["ledger"]["bytes_a_row"]),
    Figure("full load with the ledger / without", 0.90, ">=", "requests/s", lambda r: r["ledger_beside"]["ratio"]),
    Figure("until the ledger has caught up", 60.0, "<=", "s", lambda r: r["ledger_beside"]["drained_seconds"]),
    Figure("p99 at half of the peak rate, open loop", 1_000.0, "<=", "us", lambda r: r["half_peak"]["p99_us"]),
    Figure("memory of a whole node with 2 workers (PSS)", 600.0, "<=", "MiB", lambda r: r["memory"]["node_mib"]),
    Figure("1 million keys: database into shared memory", 3.0, "<=", "s", lambda r: r["keys"]["load_seconds"]),
    Figure("a changed quote in the consensus", 6.0, "<=", "us", lambda r: r["consensus"]["quote_us"]),
    Figure("a frame in the costliest feed", 25.0, "<=", "us", lambda r: r["feeds"]["cpu_us"]),
    *(
        Figure(f"a quote: ours / {peer}", 0.2, "<=", "CPU", lambda r, peer=peer: r["feed_peers"]["worst_ratio"][peer])  # type: ignore[misc]
        for peer in ("ccxt", "cryptofeed")
    ),
    *(
        Figure(f"frame to answer at {rate:,} quotes/s: {name}", limit, sense, unit, partial(_wire, rate, read))
        for rate, p50_us, p99_us in ((2_000, 500.0, 3_000.0), (20_000, 1_000.0, 5_000.0))
        for name, limit, sense, unit, read in _wire_figures(rate, p50_us, p99_us)
    ),
    Figure(
        "streams: p99 of the worst client's lag", 250.0, "<=", "ms", lambda r: r["streams"]["worst_client_lag_ms_p99"]
    ),
    Figure(
        "coins/markets of all assets, mean",
        5.0,
        "<=",
        "ms",
        lambda r: r["markets"]["questions"]["all assets"]["mean_ms"],
    ),
    Figure("summary over HTTP, mean", 4.0, "<=", "ms", lambda r: r["reports"]["latency_ms"]["summary"]["mean"]),
    Figure("summary over UDP, mean", 1.2, "<=", "ms", lambda r: r["reports"]["latency_ms"]["summary over UDP"]["mean"]),
    Figure(
        "usage by day over 93 days, p99",
        50.0,
        "<=",
        "ms",
        lambda r: r["reports"]["latency_ms"]["usage by day, 93 days"]["p99"],
    ),
    Figure("restore of the ledger, to its first answer", 900.0, "<=", "s", lambda r: r["restore"]["restore_seconds"]),
    Figure("what a fire costs of commits (RPO)", 300.0, "<=", "s", lambda r: r["restore"]["rpo_seconds"]),
    *(
        Figure(f"a delivery over HTTPS: ours / {peer}", limit, "<=", "CPU", partial(_delivery, peer))
        for peer, limit in (("aiohttp", 1.3), ("httpx2", 1 / 3))
    ),
    Figure(
        "10,000 subscriptions: p99 lateness", 500.0, "<=", "ms", lambda r: r["push_schedule"]["well"]["late_ms_p99"]
    ),
    Figure(
        "a tenth of the receivers bad: p99 of the others / before",
        1.1,
        "<=",
        "times",
        lambda r: r["push_schedule"]["p99_bad_to_well"],
    ),
    Figure(
        "UDP pushes of 25 assets a second of processor",
        50_000,
        ">=",
        "1/s",
        lambda r: r["push_udp"]["sizes"]["25 assets"]["senders"]["compiled"]["per_cpu_second"],
    ),
    Figure(
        "the same of the whole process, 100,000 subscriptions",
        50_000,
        ">=",
        "1/s",
        lambda r: r["push_process"]["sizes"]["100,000"]["per_cpu_second"],
    ),
    Figure("sync of a million rows", 16.0, "<=", "s", lambda r: r["sync"]["whole_seconds"] * 1e6 / r["sync"]["rows"]),
    Figure("sync of 1,000 rows", 200.0, "<=", "ms", lambda r: r["sync"]["increment_ms"]),
    Figure("CSV export", 200_000, ">=", "rows/s", lambda r: r["reports"]["csv_rows_per_second"]),
    Figure("lookup beside reports / alone", 1.05, "<=", "CPU", lambda r: r["reports"]["lookups"]["ratio"]),
)


def judge(results: Results) -> list[Reached]:
    """Every figure that these results hold."""
    found = []
    for figure in FIGURES:
        try:
            measured = figure.read(results)
        except KeyError:
            continue
        reached = measured <= figure.limit if figure.sense == "<=" else measured >= figure.limit
        found.append(Reached(figure.name, measured, figure.sense, figure.limit, figure.unit, reached))
    return found


def binary_lookups(udp: Mapping[str, Any]) -> float:
    """Lookups that one second of processor time answers: 64 a datagram over the processor time of a datagram."""
    row = next(row for row in udp["contestants"] if row["name"] == "trinity binary")
    return float(round(row["lookups_per_second"] / row["per_second"] * 1e6 / row["cpu_us"]))


def extrapolate(results: Results) -> dict[str, Any]:
    """What eight such processors would answer if all scaled alike: arithmetic, NOT a measurement."""
    found: dict[str, Any] = {}
    for protocol, goal in NODE_GOALS.items():
        if protocol not in results:
            continue
        cpu_us = results[protocol]["contestants"][0]["cpu_us"]
        found[protocol] = {
            "cpu_us_measured": cpu_us,
            "requests_per_second_of_one_processor": round(1e6 / cpu_us),
            "requests_per_second_of_eight_EXTRAPOLATED": round(VCPUS * 1e6 / cpu_us),
            "goal": goal,
        }
    if found:
        found["note"] = "extrapolated from one processor to eight as if all scaled alike; nobody measured it"
    return found
