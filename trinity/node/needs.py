"""What each setting needs to take effect while the node runs: the one table, and what a new configuration needs by it.

    APPLIED       the supervisor sets it at once
    kinds         processes of these kinds are replaced, one after the other: they read settings at their start
    RESTART       the node's memory, ports, number or kinds of processes are made of it: it waits for the next start

Rules: every setting is in the table (a test asks), by its section or by its own name. What waits keeps its old value
in the running node: nothing is half one and half the other. The address of a store may change, whether there is one
may not. A file that a setting names counts as changed when its bytes are.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from trinity.config import SETTINGS, Config
from trinity.markets import Catalog

# Kinds of processes, by what they have of the configuration.
_SERVING = ("worker", "reporter")
_EXCHANGES = ("feed", "resolver")
_CACHE = ("operator", "resolver", "cluster", "reporter")
_DATABASE = ("access", "operator", "flusher", "cluster", "pusher", "receiver", "reporter", "backup")
_PUSH = ("pusher", "reporter")
_CATALOG = ("operator", "feed", "resolver", "consensus", "flusher", "cluster", "pusher", "worker", "reporter", "health")


class Need(NamedTuple):
    """`kinds` are replaced; `restart`: it waits; `applied`: at once; `presence_is_fixed`: but whether there is one."""

    kinds: tuple[str, ...] = ()
    restart: bool = False
    applied: bool = False
    presence_is_fixed: bool = False


RESTART = Need(restart=True)

# By section, or by section and field, which wins.
NEEDS: Mapping[tuple[str, str] | tuple[str], Need] = {
    ("node",): RESTART,
    ("node", "markets_file"): Need(_CATALOG),
    ("ports",): RESTART,
    ("request",): Need(("worker",)),
    ("request", "workers"): RESTART,
    ("request", "udp_trusted_networks"): Need(_SERVING),
    ("request", "cluster_connections_max"): Need(("cluster",), applied=True),
    ("lookups",): RESTART,
    ("feeds",): Need(_EXCHANGES),
    ("feeds", "simulated"): RESTART,
    ("simulator",): Need(("simulator",)),
    ("simulator", "port"): RESTART,
    ("access",): Need(("access", "cluster", *_SERVING)),
    ("access", "keys_max"): RESTART,
    ("ledger",): Need(("operator", "flusher", "reporter")),
    ("ledger", "ring_records"): RESTART,
    ("recording",): Need(("feed", "consensus")),
    ("recording", "on"): Need(applied=True),
    ("reports",): RESTART,
    ("push",): Need(_PUSH),
    ("push", "on"): RESTART,
    ("push", "delivery_days"): Need(("operator", "reporter")),
    ("push", "receiver_port"): RESTART,
    ("mail",): Need(("operator",)),
    ("cache",): Need(_CACHE),
    ("backup",): Need(("backup",)),
    ("backup", "target"): Need(("backup",), presence_is_fixed=True),
    ("stores", "database_url"): Need(_DATABASE, presence_is_fixed=True),
    ("stores", "cache_url"): Need(_CACHE, presence_is_fixed=True),
    ("stores", "admin_key"): Need(("reporter",)),
    ("stores", "smtp_password"): Need(("operator",)),
    ("stores", "heartbeat_url"): Need(("health",)),
}
# Settings that name a file which is read at a process's start.
FILES = (("push", "ca_file"), ("mail", "smtp_ca_file"), ("cache", "ca_file"))
# One after the other, those first whom others read from; a pool last, because it takes longest.
ORDER = (
    "access", "operator", "simulator", "feed", "resolver", "consensus", "flusher", "cluster", "pusher", "receiver",
    "backup", "health", "worker", "reporter",
)  # fmt: skip


class SettingsDifference(NamedTuple):
    """What a new configuration changes."""

    config: Config  # what runs from now on: what waits has its old value
    applied: tuple[str, ...] = ()  # settings by their names, section.field
    replacing: tuple[str, ...] = ()  # settings that a replacement of `kinds` brings in
    waiting: tuple[str, ...] = ()  # settings that need a restart
    kinds: tuple[str, ...] = ()  # in the order of their replacement


def need_of(section: str, field: str) -> Need:
    """KeyError for a setting that nobody thought about."""
    return NEEDS[section, field] if (section, field) in NEEDS else NEEDS[section,]


def difference(
    old: Config, new: Config, changed_files: frozenset[tuple[str, str]] = frozenset(), same_markets: bool = True
) -> SettingsDifference:
    """What differs, and what that needs; `changed_files`: settings whose file has other bytes. Pure."""
    applied, replacing, waiting, kinds = list[str](), list[str](), list[str](), set[str]()
    running = new
    for section, field in SETTINGS:
        before, after = getattr(getattr(old, section), field), getattr(getattr(new, section), field)
        need, name = need_of(section, field), f"{section}.{field}"
        is_markets = (section, field) == ("node", "markets_file")
        is_changed = before != after or (section, field) in changed_files or (is_markets and not same_markets)
        if not is_changed:
            continue
        if need.restart or (need.presence_is_fixed and (before is None) != (after is None)):
            part = msgspec.structs.replace(getattr(running, section), **{field: before})
            running = msgspec.structs.replace(running, **{section: part})
            waiting.append(name)
            continue
        (replacing if need.kinds else applied).append(name)
        kinds |= set(need.kinds)
    return SettingsDifference(
        running, tuple(applied), tuple(replacing), tuple(waiting), tuple(kind for kind in ORDER if kind in kinds)
    )


def is_same_layout(old: Catalog, new: Catalog) -> bool:
    """Whether the shared tables' indexes mean the same: exchanges and assets by name, in their order."""
    return old.exchanges == new.exchanges and [a.name for a in old.assets] == [a.name for a in new.assets]
