"""Pages of docs/ that are made from the code: `make docs`, or `python -m trinity.cli.reference [--check]`.

Each page is a function of the code alone, so that a test may hold the file to it; nobody edits them by hand.
"""

import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from prometheus_client.metrics_core import Metric as Family

from trinity.cli.settings_page import settings_page
from trinity.files import Durability, write_whole
from trinity.markets import load_catalog
from trinity.memory.node import Card, NodeMemory, ProcessEntry
from trinity.observe.machine import DiskRoom
from trinity.observe.metrics import REGISTERS
from trinity.observe.register import Metric
from trinity.observe.status import read_node
from workers.health.exposition import PREFIX, node_families, report_families

DOCS = Path(__file__).resolve().parents[2] / "docs"
# What each kind of process does, as a heading.
_TITLES = {
    "feed": "Feeds, by exchange",
    "consensus": "The consensus",
    "resolver": "Assets beyond the catalog",
    "worker": "Request workers, by worker",
    "flusher": "The ledger",
    "reporter": "The reporting service, by reporter",
    "database": "The embedded database",
    "access": "Keys and blocks",
    "operator": "Scheduled jobs",
    "backup": "Backups",
    "pusher": "The push server",
    "cluster": "Other nodes",
    "health": "The outgoing heartbeat",
}
# Label values up to so many are written out.
_VALUES_SHOWN = 16
_HEAD = """# Metrics

Made from the code by `make docs`: do not edit. Scrape `/metrics` on 8081, which has all of them; those with a dot (•)
are also on 9091, for who watches the reporting service alone. What to alarm on: [operations.md](operations.md#alarms).
A histogram has the series `_bucket{le}`, `_sum` and `_count`.
"""


def metrics_page() -> str:
    """docs/metrics.md: every family that a node may have, with its labels and their values."""
    everything, of_reports = _families()
    parts = [_HEAD, *_section("The node", [f for f in everything if _full_name(f) not in _DECLARED], of_reports)]
    by_name = {_full_name(family): family for family in everything}
    seen: set[str] = set()
    for kind, register in REGISTERS.items():
        names = [PREFIX + metric.name for metric in register.metrics]
        fresh = [by_name[name] for name in names if name not in seen]
        seen.update(names)
        parts += _section(_TITLES.get(kind, kind), fresh, of_reports)
    return "\n".join(parts)


# Path below docs/ and how it is made.
REFERENCE_PAGES: dict[str, Callable[[], str]] = {"configuration.md": settings_page, "metrics.md": metrics_page}

_DECLARED: dict[str, Metric] = {
    PREFIX + metric.name: metric for register in REGISTERS.values() for metric in register.metrics
}


def _families() -> tuple[list[Family], set[str]]:
    """Of a node with every kind of process, in which nothing has happened; and the names that 9091 has as well."""
    entries = tuple(ProcessEntry(kind, kind) for kind in REGISTERS)
    memory = NodeMemory.create(Card(f"docs-{uuid.uuid4().hex[:12]}", False, entries, load_catalog()))
    try:
        reading = read_node(memory, 0, ())
        disk = DiskRoom(2, 1)
        return list(node_families(reading, disk)), {_full_name(family) for family in report_families(reading, disk)}
    finally:
        memory.unlink()


def _full_name(family: Family) -> str:
    return f"{PREFIX}{family.name}{'_total' if family.type == 'counter' else ''}"


def _section(title: str, families: list[Family], of_reports: set[str]) -> Iterator[str]:
    if not families:
        return
    yield f"## {title}\n\n| metric | type | labels | what |\n| --- | --- | --- | --- |"
    for family in families:
        name = _full_name(family)
        dot = " •" if name in of_reports else ""
        text = family.documentation.replace("|", "/")
        yield f"| `{name}`{dot} | {family.type} | {_labels_of(family, name)} | {text} |"
    yield ""


def _labels_of(family: Family, name: str) -> str:
    """With their values, where those are a closed set."""
    declared = dict(_DECLARED[name].labels) if name in _DECLARED else {}
    names = [label for label in getattr(family, "_labelnames", ()) if label != "le"]
    return "; ".join(
        f"`{label}`: {', '.join(values)}"
        if 0 < len(values := declared.get(label, ())) <= _VALUES_SHOWN
        else f"`{label}`"
        for label in names
    )


def main(arguments: list[str]) -> int:
    """Write the pages, or with --check say which are not as the code is."""
    stale = [name for name, make in REFERENCE_PAGES.items() if not _is_current(DOCS / name, make())]
    for name in stale:
        if "--check" in arguments:
            print(f"docs/{name} is not as the code is: make docs", file=sys.stderr)
        else:
            write_whole(DOCS / name, [REFERENCE_PAGES[name]().encode()], Durability.RENAMED)
            print(f"docs/{name}")
    return 1 if stale and "--check" in arguments else 0


def _is_current(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
