"""Results as a short run leaves them, for the report and the plots; and the mark of these tests."""

from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
LATENCY = {"p50": 10.0, "p90": 20.0, "p99": 30.5, "p99.9": 1_234.0, "mean": 12.0, "max": 2_000.0}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of the benchmarks are of no answer to a user: who works on those may leave them out."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.long)


def _contestant(name: str, cpu_us: float) -> dict[str, Any]:
    return {
        "name": name,
        "what": "",
        "cpu_us": cpu_us,
        "cpu_us_turns": [cpu_us] * 5,
        "per_second": 50_000.0,
        "lookups_per_second": 3_200_000.0,
        "p50_us": 10.0,
        "p99_us": 30.5,
        "answered": 250_000,
        "faults": {},
    }


def _wire_at(rate: str) -> dict[str, Any]:
    return {
        "sent_per_second": float(rate),
        "quotes_per_second": float(rate),
        "answers_per_second": 9_000.0,
        "share_of_a_processor": {"consensus": 0.2},
        "frames": 900,
        "frames_never_seen": 0,
        "latency_us": LATENCY,
        "overdue_ms_max": 7.5,
    }


def _of_pushes() -> dict[str, Any]:
    """The push server's parts."""
    udp = {
        name: {"pushes": 9_000, "cpu_us": us, "per_cpu_second": 1e6 / us, "per_second": 9_000.0, "received": 1.0}
        for name, us in (("compiled", 8.0), ("plain Python", 57.0))
    }
    return {
        "push_https": {
            "senders": {
                name: {"deliveries": 9_000, "cpu_us": us, "per_second": 3_000.0, "new_connections": 0}
                for name, us in (("ours", 100.0), ("aiohttp", 330.0))
            },
            "ratio_of_ours": {"aiohttp": 0.303},
        },
        "push_process": {
            "sizes": {
                "100,000": {
                    "pushes": 50_000,
                    "cpu_us": 16.4,
                    "per_cpu_second": 61_175,
                    "per_second": 33_341,
                    "cpu_share": 0.545,
                    "skipped": 0,
                },
            }
        },
        "push_schedule": {
            "subscriptions": 10_000,
            "well": {"deliveries": 60_000, "late_ms_p99": 12.5, "outcomes": {"delivered": 60_000}},
            "bad": [{"deliveries": 54_000, "late_ms_p99": 13.0, "outcomes": {"delivered": 54_000}}],
            "p99_bad_to_well": 1.04,
        },
        "push_udp": {"sizes": {size: {"senders": udp, "times": 7.1} for size in ("1 asset", "25 assets")}},
        "delivery_log": {
            "rows": 900_000,
            "rows_per_second": 60_000,
            "python_us_a_row": 0.5,
            "postgresql_us_a_row": 6.7,
            "bytes_a_row": 148.0,
        },
    }


def _of_answers() -> dict[str, Any]:
    """The request workers' parts."""
    row = {
        "level": 1,
        "answered": 9_000,
        "per_second": 9_000.0,
        "cpu_us": 11.0,
        "faults": {"lost": 2},
        "latency_us": LATENCY,
    }
    return {
        "http": {
            "contestants": [_contestant("trinity", 10.0), _contestant("nginx", 12.5)],
            "ratio_of_ours": {"nginx": 0.8},
            "skipped": ["go"],
        },
        "udp": {
            "contestants": [_contestant("trinity", 5.5), _contestant("trinity binary", 20.0), _contestant("echo", 5.0)],
            "ratio_of_ours": {"trinity binary": 0.3, "echo": 1.1},
            "skipped": [],
        },
        "levels": {"http": [row, {**row, "level": 2}], "udp": [row, {**row, "level": 2}]},
        "pipelining": {"rows": [{"pipelining": 16, "per_second": 200_000.0, "cpu_us": 2.0}], "gain": 4.4, "faults": {}},
        "half_peak": {"turns": [{"peak_per_second": 80_000.0, **row}], "all_turns_us": LATENCY, "p99_us": 30.5},
        "user_mode": {"pure": {"http_us": 0.7}, "sampled": {"cpu_us": 10.0, "user_share": 0.1, "http_us": 1.0}},
        "access": {
            "keys": 1_000_000,
            "load_seconds": 1.5,
            "bytes": 106_000_000,
            "recognised_ns": 112.0,
            "limited_ns": 128.0,
            "alone_ns": 128.0,
            "member_ns": 150.0,
            "new_ns": 700.0,
            "limited_many_ns": 800.0,
            "anonymous_ns": 82.0,
            "blocked_ns": 50.0,
            "record_ns": 20.0,
            "added_us": 0.148,
        },
    }


def _of_feeds() -> dict[str, Any]:
    """The parts of the feeds and of the consensus."""
    return {
        "consensus": {"quote_us": 2.3, "put_us": 0.1, "decimal_quote_us": 300.0, "times_less": 130.0},
        "feeds": {
            "rows": [{"exchange": "kraken", "cpu_us": 12.5, "idle_share": 0.03, "per_second": 5_000.0, "wrong": 0}],
            "cpu_us": 12.5,
            "wrong": 0,
        },
        "feed_peers": {
            "rows": [{"exchange": "kraken", "trinity": 12.5, "ccxt": 250.0}, {"exchange": "gemini", "trinity": 11.0}],
            "worst_ratio": {"ccxt": 0.05},
            "not_asked": ["ccxt has no tickers of Gemini's WebSocket"],
            "not_installed": ["cryptofeed"],
        },
        "wire": {"seconds": 20.0, "rates": {rate: _wire_at(rate) for rate in ("2000", "20000")}},
    }


def _of_nodes() -> dict[str, Any]:
    """The parts that a whole node is measured with."""
    sample = {"seconds": 1.0, "answered": 4_000, "latency_us": LATENCY, "pss_mib": 300.0}
    drift = {"p50_us": {"first": 10.0, "last": 11.0, "slope_per_hour": 1.0, "error": 0.4}, "faults": {}}
    return {
        "memory": {"workers": 2, "pss_mib": {"worker-0": 90.0}, "node_mib": 420.0, "simulator_mib": 50.0},
        "soak": {"rate": 4_000, "quotes_per_second": 1_000, "samples": [sample, {**sample}], "drift": drift},
        "campaign": {
            "minutes": 5.0,
            "seed": 11,
            "off_bps_max": 50.0,
            "judged": 80_000,
            "wrong": 0,
            "worst_bps": 12.5,
            "unjudged": 9_000,
            "unjudged_off": 40,
            "refused": {"sources_disagree": 700},
            "episodes": {"lie": 20, "majority": 1},
        },
    }


def _of_clusters() -> dict[str, Any]:
    """The parts of several nodes."""
    return {
        "chaos": {
            "seconds": 60.0,
            "events": [{"second": 20.0, "killed": "node-1", "how": "", "failures_before": 0}],
            "kinds": {
                "http-front": {
                    "questions": 900,
                    "failures": 0,
                    "retried": 2,
                    "refusals": {},
                    "answers": 900,
                    "unanswered": 2,
                    "resent": 0,
                    "rows": 901,
                    "missing": 0,
                    "twice": 0,
                    "surplus": 0,
                }
            },
            "failures": 0,
            "examples": [],
            "limit": {
                "admitted": 3_000,
                "most_in_10_s": 540,
                "planned_in_10_s": 550,
                "over": -0.01,
                "rate": 49.5,
                "refusals": {"rate_limited": 900},
            },
            "prices": {"checked": 900, "wrong": 0, "worst_bps": 3.0},
            "wrong": 0,
        },
        "limits": {
            "rate": 100,
            "burst": 100,
            "seconds": 40.0,
            **{
                load: {
                    "admitted": 4_100,
                    "planned": 4_100.0,
                    "under": 0.0,
                    "most_in_10_s": 1_101,
                    "planned_in_10_s": 1_100,
                    "over": 0.0009,
                    "refused": 7_900,
                    "unanswered": 0,
                }
                for load in ("jumping", "one")
            },
            "exchange": [
                {
                    "keys": 100_000,
                    "looking_us": 10.0,
                    "looking_share_of_a_core": 0.0005,
                    "asked_us_a_key": 4.0,
                    "taken_us_a_key": 3.0,
                }
            ],
        },
    }


@pytest.fixture
def results() -> dict[str, Any]:
    """One result of each part."""
    return {**_of_answers(), **_of_feeds(), **_of_pushes(), **_of_nodes(), **_of_clusters()}
