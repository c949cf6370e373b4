"""`trinity top`: a live table of assets, sources and ages, read from the running node's memory.

Rules: reads only, so a watcher never disturbs the node. A frame is a pure function of one reading; the loop draws it
once a second until the user leaves. Where the output is no terminal, one frame is drawn; with --json it is an object.
"""

import argparse
import threading
from collections.abc import Iterable
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from trinity.clock import NS_PER_MS, Clock, SystemClock
from trinity.config import Config
from trinity.errors import NodeAbsentError
from trinity.memory.node import NodeMemory
from trinity.observe.readings import (
    AssetView,
    ExchangeView,
    LedgerView,
    ProcessView,
    SourceView,
    read_assets,
    read_exchanges,
    read_indexes,
    read_ledger,
    read_processes,
    read_sources,
)
from trinity.terminal import print_result

FRAME_SECONDS = 1.0

# Colour of a status; whatever is not here is an error code, in red.
_STYLES = {"fresh": "green", "ws": "green", "rest": "yellow", "down": "bold red", "used": "green"}


def add_arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """`--once`."""
    parser.add_argument("--once", action="store_true", help="print one frame and leave")


def run(config: Config, parsed: argparse.Namespace) -> int:
    """Attach to the node's memory and show it."""
    memory, clock = NodeMemory.attach(config.node.name), SystemClock()
    if parsed.as_json:
        print_result(describe_frame(memory, clock.monotonic_ns()), [], as_json=True)
    else:
        show(memory, clock, once=parsed.once)
    return 0


def show(memory: NodeMemory, clock: Clock, once: bool, console: Console | None = None) -> None:
    """Draw until Ctrl-C, or one frame; raises NodeAbsentError when the node ends meanwhile."""
    console = console or Console()
    if once or not console.is_terminal:
        console.print(draw_frame(memory, clock.monotonic_ns()))
        return
    never = threading.Event()
    with Live(draw_frame(memory, clock.monotonic_ns()), console=console, screen=True, auto_refresh=False) as live:
        while memory.is_alive():
            live.update(draw_frame(memory, clock.monotonic_ns()), refresh=True)
            never.wait(FRAME_SECONDS)
    raise NodeAbsentError(memory.card.node)


def draw_frame(memory: NodeMemory, now_ns: int) -> RenderableType:
    """One frame; `now_ns` is monotonic."""
    sources = read_sources(memory, now_ns)
    card = memory.card
    title = Text(f"node {card.node}, Trinity {card.version}", style="bold")
    if card.simulated:
        title.append("   SIMULATED PRICES", style="bold red")
    for coin, usd in read_indexes(memory).items():
        title.append(f"   {coin}/USD {'none' if usd is None else f'{usd:.6f}'}")
    exchanges = _exchange_table(read_exchanges(memory, sources))
    processes = _process_table(read_processes(memory, now_ns))
    ledger = _ledger_line(read_ledger(memory, now_ns))
    governor = _governor_line(memory)
    return Group(title, _asset_table(read_assets(memory, now_ns), sources), exchanges, processes, governor, ledger)


def describe_frame(memory: NodeMemory, now_ns: int) -> dict[str, Any]:
    """The same reading for programs: lists of objects, with ages in nanoseconds."""
    sources = read_sources(memory, now_ns)
    return {
        "node": memory.card.node,
        "simulated": memory.card.simulated,
        "assets": [view._asdict() for view in read_assets(memory, now_ns)],
        "exchanges": [view._asdict() for view in read_exchanges(memory, sources)],
        "sources": [
            view._asdict() | {"state": view.state.name.lower(), "via": view.via.name.lower()} for view in sources
        ],
        "processes": [view._asdict() for view in read_processes(memory, now_ns)],
        "indexes": read_indexes(memory),
    }


def _asset_table(assets: Iterable[AssetView], sources: list[SourceView]) -> Table:
    rows = [
        (
            asset.asset,
            _price_text(asset),
            _styled(asset.status),
            f"{asset.sources}",
            f"{asset.rejected}",
            age_text(asset.age_ns),
            "-" if asset.confidence_ratio is None else f"{asset.confidence_ratio * 1e4:.2f}",
            f"{asset.disagreement_ratio * 1e4:.2f}",
            asset.reason or "",
            " ".join(_left_out(asset.asset, sources)),
        )
        for asset in assets
    ]
    headings = (
        *("asset", ">price USD", "status", ">used", ">rejected", ">age", ">conf bps", ">spread bps"),
        *("needed", "left out"),
    )
    return _table("assets", headings, rows)


def _price_text(asset: AssetView) -> Text:
    """The price; the last good one, marked as such, where there is none."""
    if asset.price is not None:
        return Text(f"{asset.price:f}")
    return Text("-" if asset.last_price is None else f"last {asset.last_price:f}", style="dim")


def _left_out(asset: str, sources: list[SourceView]) -> list[str]:
    return [
        f"{source.exchange}:{source.verdict}"
        for source in sources
        if source.asset == asset and source.verdict not in (None, "used")
    ]


def _exchange_table(exchanges: Iterable[ExchangeView]) -> Table:
    rows = [
        (
            view.exchange,
            _styled(view.status),
            "yes" if view.connected else "no",
            f"{view.rows_by_via.get('ws', 0)}",
            f"{view.rows_by_via.get('rest', 0)}",
            f"{view.rows}",
            age_text(view.newest_age_ns),
            " ".join(view.frozen) or "-",
            " ".join(view.unknown) or "-",
        )
        for view in exchanges
    ]
    headings = ("exchange", "via", "connected", ">by ws", ">by rest", ">rows", ">newest", "frozen", "unknown")
    return _table("exchanges", headings, rows)


def _process_table(processes: Iterable[ProcessView]) -> Table:
    rows = [
        (
            view.name,
            f"{view.pid}",
            _styled("fresh" if view.alive else "down", "alive" if view.alive else "silent"),
            age_text(view.heartbeat_age_ns),
            f"{view.restarts}",
        )
        for view in processes
    ]
    return _table("processes", ("process", ">pid", "state", ">heartbeat", ">restarts"), rows)


def _governor_line(memory: NodeMemory) -> Text:
    """What the request workers admit, together; the longest wait is of one of them."""
    lines = memory.admission.read_all()
    if not any(line.limit for line in lines):
        return Text("governor: off")
    is_open, refused = sum(line.open for line in lines), sum(sum(line.refused) for line in lines)
    wait_ms = max(line.delay_p90_ns for line in lines) / NS_PER_MS
    text = Text(
        f"governor: in flight {sum(line.in_flight for line in lines)}, limit {sum(line.limit for line in lines)}"
    )
    text.append(f", p90 of the wait {wait_ms:.2f} ms, {is_open} connections of {memory.admission.connections_limit}")
    text.append(f", {refused} refused" if refused else ", none refused", "yellow" if refused else "green")
    return text


def _ledger_line(view: LedgerView | None) -> Text:
    if view is None:
        return Text("ledger: no flusher", style="red")
    lost = view.lost_detail + view.lost_records
    text = Text(f"ledger: {view.rows_loaded} rows loaded, {view.lag_records} waiting ({view.lag_seconds:.1f} s)")
    text.append(f", ring {view.ring_share:.0%}, spool {view.spool_share:.0%}", "red" if view.alarm else "green")
    text.append(", database up" if view.database_up else ", database down", "green" if view.database_up else "red")
    text.append(f", {lost} lost" if lost else ", none lost", "bold red" if lost else "green")
    return text


def _table(title: str, headings: tuple[str, ...], rows: Iterable[tuple[str | Text, ...]]) -> Table:
    """A heading that begins with ">" is of a column of numbers."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for heading in headings:
        is_number = heading.startswith(">")
        # A number that is cut short is a wrong number: text gives way to it.
        table.add_column(heading.lstrip(">"), justify="right" if is_number else "left", no_wrap=is_number)
    for row in rows:
        table.add_row(*row)
    return table


def age_text(age_ns: int | None) -> str:
    """An age as people read it: 12 ms, 3.4 s, 5 min; "-" where there is none."""
    if age_ns is None:
        return "-"
    age_ms = age_ns / NS_PER_MS
    for limit, unit_ms, unit, digits in ((1_000, 1, "ms", 0), (120_000, 1_000, "s", 1)):
        if age_ms < limit:
            return f"{age_ms / unit_ms:.{digits}f} {unit}"
    return f"{age_ms / 60_000:.0f} min"


def _styled(status: str, text: str | None = None) -> Text:
    return Text(text or status, style=_STYLES.get(status, "red"))
