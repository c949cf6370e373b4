"""`trinity doctor`: what of this machine would keep a node from working, and what to do about it.

The exit code is 1 when something would. What goes over the network is asked by trinity/cli/operating/network.py.

Rules: each check is split: `ask_*` asks the machine or the network, bounded in time, and `judge_*` is pure and makes a
`Finding` of the answer. Nothing is changed and no node is disturbed; network questions run side by side.

    ok     as it should be
    warn   a node works, but worse than it could
    fail   a node does not work
"""

import argparse
import asyncio
import ctypes
import os
import resource
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Literal, NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from trinity.cache.address import CacheSettings, cache_settings_of
from trinity.cli.operating.network import CacheAnswer, ExchangeAnswer, ask_network
from trinity.clock import NS_PER_SECOND, Clock, SystemClock
from trinity.config import Config, FeedsSection, services_of, worker_count
from trinity.errors import ConfigError, TrinityError
from trinity.limits import EXCHANGE_CLOCK_ALLOWANCE_NS, OPEN_FILES_WANTED
from trinity.markets import Catalog, load_catalog
from trinity.memory.node import NodeMemory
from trinity.net.egress import NO_PROXIES, Proxies, clean, read_proxies
from trinity.net.ports import check_port, listeners_of
from trinity.observe.readings import read_sources, sentence_of
from trinity.services import ServerType, Service
from trinity.store.examine import VERSION_WANTED, DatabaseAnswer, ask_database
from trinity.terminal import print_result

EXIT_FOUND_WRONG = 1

Level = Literal["ok", "warn", "fail"]

# Coinbase and the others refuse regions with 403 or 451 (RFC 7725).
_REGION_STATUSES = (403, 451)
SHARED_MEMORY_FOLDER = Path("/dev") / "shm"
_MIB = 1024 * 1024
# Two tables of 30 assets take 1 MB, of the most assets 8 MB; twice that leaves room for a second node.
SHARED_MEMORY_WANTED = 16 * _MIB
# 30 days of logs of a quiet node are some 100 MB.
DISK_WANTED, DISK_NEEDED = 1024 * _MIB, 100 * _MIB
FILES_NEEDED = 1024
# From sys/timex.h: ntp_adjtime's return value while the clock is not synchronised.
_TIME_ERROR = 5


class Finding(NamedTuple):
    """One line of the report; `advice` is empty when there is nothing to do."""

    name: str
    level: Level
    found: str
    advice: str = ""


def add_arguments(_command: str, _parser: argparse.ArgumentParser) -> None:
    """It has none of its own."""


def run(config: Config, parsed: argparse.Namespace) -> int:
    """Examine, and print the findings."""
    findings = examine_node(config)
    is_wrong = any(finding.level == "fail" for finding in findings)
    if parsed.as_json:
        print_result({"ok": not is_wrong, "findings": [finding._asdict() for finding in findings]}, [], as_json=True)
    else:
        print_findings(findings, Console())
    return EXIT_FOUND_WRONG if is_wrong else 0


def examine_node(config: Config) -> list[Finding]:
    """All findings, the exchanges asked what a feed would ask."""
    from feeds.exchanges.registry import ws_url_of

    catalog = load_catalog(config.node.markets_file)
    urls = {exchange: cheap_url(config.feeds, catalog, exchange) for exchange in catalog.exchanges}
    ws_urls = {exchange: ws_url_of(exchange, config.feeds) for exchange in catalog.exchanges}
    min_sources = max(asset.rules.min_sources for asset in catalog.assets)
    return examine(config, urls, min_sources, SystemClock(), ws_urls)


def cheap_url(section: FeedsSection, catalog: Catalog, exchange: str) -> str:
    """The REST request for one of the exchange's symbols: what a feed would ask, at the least cost."""
    from feeds.exchanges.registry import EXCHANGE_MODULES, base_urls_of

    module = EXCHANGE_MODULES[exchange]
    symbol = module.symbol_of(catalog.markets_of(exchange)[0])
    _, rest_url = base_urls_of(exchange, section)
    return rest_url + module.rest_requests([symbol])[0].path


def examine(
    config: Config,
    exchange_urls: Mapping[str, str],
    min_sources: int,
    clock: Clock,
    ws_urls: Mapping[str, str] | None = None,
) -> list[Finding]:
    """All findings; `exchange_urls` holds one cheap GET for each exchange, `ws_urls` WebSockets. Takes some 10 s."""
    proxies, proxy_finding = _examine_proxies(config)
    cache_settings, cache_fault = _examine_cache_address(config)
    answers, cache = asyncio.run(ask_network(exchange_urls, cache_settings, clock, ws_urls or {}, proxies))
    node_pid = ask_node_pid(config)
    offsets = [answer.offset_ns for answer in answers.values() if answer.offset_ns is not None]
    return [
        judge_ntp(ask_ntp_synchronised()),
        judge_clock(offsets),
        proxy_finding,
        *[judge_exchange(name, answer) for name, answer in answers.items()],
        judge_exchanges(answers, min_sources),
        *[judge_left_out(name, rows) for name, rows in ask_left_out(config).items()],
        judge_files(resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
        judge_shared_memory(ask_shared_memory()),
        *_examine_ports(config, node_pid),
        judge_services(config.node.server_type, services_of(config)),
        *_examine_cpus(config),
        judge_data_dir(config.node.data_dir, *ask_data_dir(config.node.data_dir)),
        judge_database(ask_database(config), node_pid),
        cache_fault or judge_cache(cache),
    ]


def print_findings(findings: Sequence[Finding], console: Console) -> None:
    """The report as a table."""
    table = Table(box=None, pad_edge=False)
    for heading in ("", "check", "found", "what to do"):
        table.add_column(heading, overflow="fold")
    styles = {"ok": "green", "warn": "yellow", "fail": "bold red"}
    for finding in findings:
        style = styles[finding.level]
        # Foreign words may look like markup.
        table.add_row(f"[{style}]{finding.level}[/]", *(escape(text) for text in finding[:1] + finding[2:]))
    console.print(table)


def judge_services(server_type: ServerType, services: Sequence[Service]) -> Finding:
    return Finding("services", "ok", f"{', '.join(services)} ({server_type})")


def judge_ntp(synchronised: bool | None) -> Finding:
    advice = "start a time service (systemd-timesyncd, chrony): quotes are compared with the exchanges' clocks"
    if synchronised is None:
        return Finding("time service", "warn", "the kernel does not say", advice)
    if not synchronised:
        return Finding("time service", "warn", "the clock is not synchronised", advice)
    return Finding("time service", "ok", "the kernel's clock is synchronised")


def judge_clock(offsets_ns: Sequence[int]) -> Finding:
    """Offsets are the exchanges' clocks minus ours; their Date header has whole seconds only."""
    name = "clock against the exchanges"
    if not offsets_ns:
        return Finding(name, "warn", "no exchange told its time", "see the exchanges below")
    offset_ns = int(median(offsets_ns))
    found = f"{offset_ns / NS_PER_SECOND:+.1f} s (median of {len(offsets_ns)})"
    if abs(offset_ns) >= EXCHANGE_CLOCK_ALLOWANCE_NS:
        return Finding(name, "fail", found, "set the clock: quotes are refused as too old or from the future")
    if abs(offset_ns) >= EXCHANGE_CLOCK_ALLOWANCE_NS // 2:
        return Finding(name, "warn", found, "set the clock: half of the allowance is used up")
    return Finding(name, "ok", found)


def judge_exchange(exchange: str, answer: ExchangeAnswer) -> Finding:
    name = f"exchange {exchange}"
    if answer.status is None:
        return Finding(name, "warn", answer.error, "check DNS, proxy and firewall for HTTPS and WebSocket to it")
    if answer.status in _REGION_STATUSES:
        advice = "it refuses this address or region: the node goes on with the others"
        return Finding(name, "warn", answer.error or f"{answer.host or 'it'} refused with {answer.status}", advice)
    if answer.error:
        advice = "what answers is not the exchange's service: a block, a maintenance page or a proxy of this network"
        return Finding(name, "warn", answer.error, advice)
    if answer.ws_error:
        advice = "prices come by REST alone, more slowly: look what the WebSocket is refused for"
        return Finding(name, "warn", f"REST answers ({answer.status}); WebSocket: {answer.ws_error}", advice)
    return Finding(name, "ok", f"{answer.host or 'it'} answers ({answer.status})")


def judge_proxies(proxies: Proxies, error: str) -> Finding:
    if error:
        return Finding("proxy", "fail", error, "name an HTTP proxy, or unset it")
    found = ", ".join(sorted({clean(url) for url in (proxies.secure, proxies.plain) if url}))
    return Finding("proxy", "ok", found or "none")


def judge_left_out(exchange: str, rows: Mapping[str, str]) -> Finding:
    """`rows` are the assets that the running node's feed leaves out, each with its reason."""
    found = "; ".join(f"{asset}: {reason}" for asset, reason in rows.items())
    advice = "the node asks again by itself; correct the markets file if the exchange does not list it any more"
    return Finding(f"rows of {exchange}", "warn", found, advice)


def judge_exchanges(answers: Mapping[str, ExchangeAnswer], min_sources: int) -> Finding:
    good = [name for name, answer in answers.items() if judge_exchange(name, answer).level == "ok"]
    found = f"{len(good)} of {len(answers)} reachable, {min_sources} needed for a price"
    if len(good) < min_sources:
        return Finding("exchanges", "fail", found, "make more of them reachable; try `trinity demo` meanwhile")
    return Finding("exchanges", "ok", found)


def judge_files(hard_limit: int) -> Finding:
    found = "unlimited" if hard_limit == resource.RLIM_INFINITY else str(hard_limit)
    enough = hard_limit == resource.RLIM_INFINITY or hard_limit >= OPEN_FILES_WANTED
    if enough:
        return Finding("open files", "ok", found)
    level: Level = "warn" if hard_limit >= FILES_NEEDED else "fail"
    advice = f"raise it to {OPEN_FILES_WANTED} (LimitNOFILE=, ulimit -Hn): it bounds the connections of a worker"
    return Finding("open files", level, found, advice)


def judge_shared_memory(free_bytes: int | None) -> Finding:
    if free_bytes is None:
        return Finding("shared memory", "fail", "there is none", "mount a tmpfs where Linux keeps it")
    found = f"{free_bytes // _MIB} MB free"
    if free_bytes < SHARED_MEMORY_WANTED:
        return Finding("shared memory", "fail", found, "give it 64 MB (docker: --shm-size=64m)")
    return Finding("shared memory", "ok", found)


def judge_cpus(allowed: int, workers: int, pinned: bool, quota: float | None) -> Finding:
    """`quota` is the control group's share in CPUs, None when there is no limit."""
    found = f"{allowed} usable, {workers} request workers, {'pinned' if pinned else 'not pinned'}"
    if quota is not None:
        found += f", limited to {quota:g} CPUs"
    if workers > allowed:
        return Finding("CPUs", "warn", found, "set REQUEST_WORKERS to the number of CPUs: pinned workers share cores")
    if quota is not None and quota < workers:
        advice = "set REQUEST_WORKERS to the limit: throttled workers answer late"
        return Finding("CPUs", "warn", found, advice)
    if not pinned:
        return Finding("CPUs", "warn", found, "set request.pin = true: an unpinned worker loses its caches")
    return Finding("CPUs", "ok", found)


def judge_data_dir(folder: Path, error: str, free_bytes: int) -> Finding:
    name = "data folder"
    if error:
        return Finding(name, "fail", f"{folder}: {error}", "set TRINITY_DATA_DIR to a folder that can be written")
    found = f"{folder}: {free_bytes // _MIB} MB free"
    if free_bytes < DISK_WANTED:
        return Finding(name, "fail" if free_bytes < DISK_NEEDED else "warn", found, "make room for 30 days of logs")
    return Finding(name, "ok", found)


def judge_cache(answer: CacheAnswer | None) -> Finding:
    """Lookups need none; nodes share nothing without it."""
    if answer is None:
        return Finding("cache", "ok", "CACHE_URL is not set: this node is alone")
    if answer.error:
        advice = "lookups go on without it; check address, password, authority and firewall"
        return Finding("cache", "warn", f"CACHE_URL: {answer.error}", advice)
    if answer.refusal:
        advice = "give its user the rights of docs/cluster.md, or it more memory"
        return Finding("cache", "warn", f"{answer.found}; it takes nothing: {answer.refusal}", advice)
    return Finding("cache", "ok", answer.found)


def judge_database(answer: DatabaseAnswer, node_pid: int | None) -> Finding:
    """Prices need none, so one that is away is a warning; one that keys and ledger can never use is a failure."""
    name, where = "database", "embedded" if answer.embedded else "DATABASE_URL"
    if answer.error and answer.embedded and node_pid is None:
        return Finding(name, "ok", "embedded; it starts with the node")
    if answer.error:
        advice = "see logs/database.jsonl" if answer.embedded else "check address, password and firewall"
        return Finding(name, "warn", f"{where}: {answer.error}", f"prices go on without it; {advice}")
    found = f"{where}: PostgreSQL {answer.version}"
    if not answer.may_write:
        return Finding(
            name, "fail", f"{found}, read-only for this user", "grant CREATE on its schema, or use the primary"
        )
    assert answer.tables is not None
    if answer.tables.unknown:
        return Finding(name, "fail", f"{found}, tables of a newer version", "install the version that made them")
    if answer.tables.edited:
        return Finding(name, "fail", f"{found}, tables of other migrations", "use a database of this version's own")
    if answer.version < VERSION_WANTED:
        return Finding(name, "warn", found, f"use {VERSION_WANTED} or newer: older ones are not tested")
    return Finding(name, "ok", found + (", tables are made at the start" if answer.tables.pending else ""))


def judge_port(name: str, error: TrinityError | None, node_pid: int | None) -> Finding:
    """`node_pid` is that of the running node of this name: it uses its ports itself."""
    if error is None:
        return Finding(f"port {name}", "ok", "free")
    if node_pid is not None:
        return Finding(f"port {name}", "ok", f"in use, by the running node (process {node_pid})")
    return Finding(f"port {name}", "fail", "taken or not bindable", str(error))


def ask_node_pid(config: Config) -> int | None:
    """The supervisor of the running node of this name."""
    try:
        return NodeMemory.attach(config.node.name).control.segment.owner_pid
    except TrinityError:
        return None


def ask_left_out(config: Config) -> dict[str, dict[str, str]]:
    """What the feeds of the running node leave out, by exchange and asset, with the reason; empty without a node."""
    try:
        memory = NodeMemory.attach(config.node.name)
    except TrinityError:
        return {}
    found: dict[str, dict[str, str]] = {}
    for source in read_sources(memory, 0):
        if source.left_out:
            found.setdefault(source.exchange, {})[source.asset] = sentence_of(source.left_out)
    return found


def _examine_proxies(config: Config) -> tuple[Proxies, Finding]:
    try:
        proxies = read_proxies(config.feeds)
    except ConfigError as error:
        return NO_PROXIES, judge_proxies(NO_PROXIES, str(error))
    return proxies, judge_proxies(proxies, "")


def _examine_cache_address(config: Config) -> tuple[CacheSettings | None, Finding | None]:
    """What to ask; or why there is nothing to ask, and no node starts."""
    try:
        return cache_settings_of(config), None
    except ConfigError as error:
        return None, Finding("cache", "fail", str(error), "mend it or leave it out: a node does not start with it")


def _examine_ports(config: Config, node_pid: int | None) -> list[Finding]:
    findings = []
    for listener in listeners_of(config, with_simulator=False):
        error: TrinityError | None = None
        try:
            check_port(listener, config.node.bind_host)
        except TrinityError as caught:
            error = caught
        findings.append(judge_port(listener.name, error, node_pid))
    return findings


def _examine_cpus(config: Config) -> list[Finding]:
    """Nothing where no request workers run."""
    if "lookups" not in services_of(config):
        return []
    usable = len(os.sched_getaffinity(0))
    return [judge_cpus(usable, worker_count(config.request), config.request.pin, ask_cpu_quota())]


def ask_ntp_synchronised() -> bool | None:
    """Whether the kernel's clock is disciplined (ntp_adjtime(3) with no modes set only reads), None when unknown."""
    buffer = ctypes.create_string_buffer(256)  # struct timex has 208 bytes on 64-bit Linux
    state = ctypes.CDLL(None, use_errno=True).ntp_adjtime(buffer)
    return None if state < 0 else state != _TIME_ERROR


def ask_shared_memory() -> int | None:
    """Free bytes of /dev/shm, None when there is none."""
    try:
        return shutil.disk_usage(SHARED_MEMORY_FOLDER).free
    except OSError:
        return None


def ask_cpu_quota() -> float | None:
    """CPUs that the control group grants (cgroup v2, cpu.max), None without a limit."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else int(quota) / int(period)


def ask_data_dir(folder: Path) -> tuple[str, int]:
    """Why the folder cannot be written (empty when it can), and its free bytes."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return "", shutil.disk_usage(folder).free
    except OSError as error:
        return error.strerror or str(error), 0
