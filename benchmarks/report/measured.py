"""Whether a part has measured anything: for each one the numbers that cannot be zero, or absent, when it has.

Rules: a server that refuses everything, an asker that is not let in and a log that is never drained still give numbers:
they must not look like figures. What is slow or wrong is for figures.py to judge, and stands in the tables as it is.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Result = Mapping[str, Any]


def unmeasured(name: str, found: Result) -> str | None:
    """What was not measured in the result of this name, in words; None when all of it was."""
    empty = [what for what, value in _EVIDENCE[name](found) if not 0 < value < math.inf]
    return f"nothing was measured of {', '.join(empty)}" if empty else None


def _rows(rows: Iterable[Result], named: str, *fields: str) -> list[tuple[str, float]]:
    return [(f"{row[named]}: {field}", row[field]) for row in rows for field in fields]


def _turns(turns: Iterable[Result], field: str) -> list[tuple[str, float]]:
    return [(f"turn {number + 1}", turn[field]) for number, turn in enumerate(turns)]


def _fields(found: Result, *fields: str) -> list[tuple[str, float]]:
    return [(field, found[field]) for field in fields]


# Name of the result -> its evidence: each a name and a number that is more than nothing when it was measured.
_EVIDENCE: Mapping[str, Callable[[Result], list[tuple[str, float]]]] = {
    "http": lambda found: _rows(found["contestants"], "name", "answered", "cpu_us"),
    "udp": lambda found: _rows(found["contestants"], "name", "answered", "cpu_us"),
    "levels": lambda found: _rows(
        ({**row, "level": f"{protocol} {row['level']}"} for protocol, rows in found.items() for row in rows),
        "level",
        "answered",
        "cpu_us",
    ),
    "pipelining": lambda found: _rows(found["rows"], "pipelining", "per_second", "cpu_us"),
    "half_peak": lambda found: _turns(found["turns"], "answered"),
    "user_mode": lambda found: list(found["pure"].items()),
    "access": lambda found: [(field, value) for field, value in found.items() if field.endswith("_ns")],
    "feeds": lambda found: _rows(found["rows"], "exchange", "cpu_us", "per_second"),
    "chaos": lambda found: [
        *_fields(found["prices"], "checked"),
        *_fields(found["limit"], "admitted"),
        *((kind, row["answers"]) for kind, row in found["kinds"].items()),
    ],
    "front": lambda found: [
        (f"{protocol} {way}", found[protocol][way]["per_second"])
        for protocol in ("http", "udp")
        for way in ("direct", "nginx")
    ],
    "roll": lambda found: [
        *_fields(found, "nodes_restarted"),
        *((kind, row["answers"]) for kind, row in found["kinds"].items()),
    ],
    "limits": lambda found: [
        *_fields(found["jumping"], "admitted"),
        *_fields(found["one"], "admitted"),
        *_rows(found["exchange"], "keys", "looking_us", "asked_us_a_key"),
    ],
    "feed_peers": lambda found: _rows(found["rows"], "exchange", "trinity"),
    "consensus": lambda found: list(found.items()),
    "wire": lambda found: _rows(
        ({"rate": rate, **row} for rate, row in found["rates"].items()),
        "rate",
        "frames",
        "quotes_per_second",
        "answers_per_second",
    ),
    "memory": lambda found: list(found["pss_mib"].items()),
    "soak": lambda found: _turns(found["samples"], "answered"),
    "reports": lambda found: _fields(found, "rows", "csv_rows_per_second"),
    "sync": lambda found: _fields(found, "rows", "whole_seconds", "increment_ms"),
    "restore": lambda found: _fields(found, "rows", "restore_seconds", "base_seconds", "commits"),
    "streams": lambda found: _fields(found, "events_per_second"),
    "markets": lambda found: [
        (f"{question}: {field}", value) for question, row in found["questions"].items() for field, value in row.items()
    ],
    "keys": lambda found: _fields(found, "load_seconds", "snapshot_loaded_seconds"),
    "campaign": lambda found: _fields(found, "judged"),
    "misses": lambda found: [
        *_fields(found["latency"]["first_ms"], "median"),
        *_fields(found["zipf"], "lookups_per_second", "share_of_hits"),
        *((name, flood["names_per_second"]) for name, flood in found["floods"].items()),
    ],
    "restart": lambda found: [*_fields(found, "median_seconds"), *_fields(found["replaced"], "answers", "processes")],
    "refusals": lambda found: _fields(found, "rows_of_keys", "rows_of_refusals", "groups_of_refusals"),
    "governor": lambda found: [("peak", found["peak"]), ("on", found["on"]["goodput"])],
    "udp_flood": lambda found: _rows(({"kind": kind, **row} for kind, row in found.items()), "kind", "answered"),
    "push_schedule": lambda found: _rows(
        [{"window": "well", **found["well"]}, *({"window": "bad", **row} for row in found["bad"])],
        "window",
        "deliveries",
        "late_ms_p99",
    ),
    "push_https": lambda found: _rows(
        ({"sender": sender, **row} for sender, row in found["senders"].items()), "sender", "deliveries", "cpu_us"
    ),
    "push_udp": lambda found: _rows(
        (
            {**row, "sender": f"{size}, {sender}"}
            for size, part in found["sizes"].items()
            for sender, row in part["senders"].items()
        ),
        "sender",
        "pushes",
        "cpu_us",
        "received",
    ),
    "push_process": lambda found: _rows(
        ({"size": size, **row} for size, row in found["sizes"].items()), "size", "pushes", "cpu_us"
    ),
    "ledger": lambda found: _fields(found, "rows_per_second"),
    "delivery_log": lambda found: _fields(found, "rows_per_second"),
    "ledger_beside": lambda found: _fields(found, "on_per_second", "off_per_second", "drained_seconds"),
}
