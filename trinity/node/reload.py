"""A change of the running node: the configuration is read anew, checked as at a start, and applied by one table.
Who asks, and how it is told what became of it, is in asking.py.

Rules: a wrong configuration changes nothing. What needs a restart keeps its old value and is said. Where a process
cannot begin with the new configuration, the old one is put back, and those that were replaced are replaced again.
Plans, keys, limits, blocks and accounts are no configuration: they are in the database, and reach the node by
themselves.
"""

import contextlib
import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from trinity.config import Config
from trinity.errors import ConfigError
from trinity.files import Durability, write_whole
from trinity.markets import Catalog, load_catalog
from trinity.node.asking import OUTCOME, POOLS, WANTED, ReloadOutcome, ReloadRequest
from trinity.node.needs import FILES, difference, is_same_layout
from trinity.node.plan import NodePlan, RunningPlan
from trinity.node.replacement import Replace, Replaced


class ReloadedNode(NamedTuple):
    """What a reload reads and changes of the running node: `kinds` are its processes by name."""

    running: RunningPlan
    kinds: dict[str, str]
    read: Callable[[], Config]
    check: Callable[[Config], None]
    apply: Callable[[Config, Config, Catalog], None]  # the new one, the one before


class Reload:
    """The changes of one running node, one at a time."""

    def __init__(self, node: ReloadedNode, log: logging.Logger) -> None:
        self._node = node
        self._log = log
        self._digests = digests_of(node.running.plan.config)
        self._before = (node.running.plan, self._digests)
        self._outcome = ReloadOutcome("", "done")
        self._is_undoing = False

    @property
    def _folder(self) -> Path:
        return self._node.running.plan.config.node.data_dir

    def begin(self) -> Replace | None:
        """Read anew and apply what needs no replacement; what is to be replaced."""
        wanted = self._take_wanted()
        plan = self._node.running.plan
        try:
            new = self._node.read()
            catalog = load_catalog(new.node.markets_file)
            digests = digests_of(new)
            files = frozenset(place for place in FILES if digests[place] != self._digests[place])
            is_same = is_same_layout(plan.catalog, catalog)
            possible = new if is_same else _without_markets(new, plan)
            found = difference(plan.config, possible, files, not is_same or catalog == plan.catalog)
            if not is_same:
                found, catalog = found._replace(waiting=(*found.waiting, "node.markets_file")), plan.catalog
            self._node.check(found.config)
        except ConfigError as error:
            self._tell(ReloadOutcome(wanted.token, "refused", key=error.key, reason=error.reason), logging.ERROR)
            return None
        self._before, self._digests = (plan, self._digests), digests
        self._node.running.plan = plan._replace(config=found.config, catalog=catalog)
        self._node.apply(found.config, plan.config, catalog)
        outcome = ReloadOutcome(wanted.token, "running", found.applied, found.replacing, found.waiting)
        return self._replace(outcome, {*found.kinds, *wanted.kinds})

    def end(self, replaced: Replaced) -> Replace | None:
        """Tell what was done; when it failed, put everything back first."""
        if self._is_undoing:
            self._is_undoing = False
            self._tell(msgspec.structs.replace(self._outcome, state="failed"), logging.ERROR)
            return None
        done = msgspec.structs.replace(self._outcome, state="done", replaced=replaced.names)
        if not replaced.failed:
            self._tell(done)
            return None
        failed = self._node.running.plan
        self._node.running.plan, self._digests = self._before
        before = self._node.running.plan
        self._node.apply(before.config, failed.config, before.catalog)
        self._is_undoing = True
        self._outcome = ReloadOutcome(done.token, "running", reason=replaced.failed)
        self._log.error("a reload failed and is taken back", extra={"fields": {"cause": replaced.failed}})
        kinds = {self._node.kinds[name] for name in replaced.names}
        alone = tuple(name for name in replaced.names if self._node.kinds[name] not in POOLS)
        return Replace(alone, tuple(kind for kind in POOLS if kind in kinds))

    def _replace(self, outcome: ReloadOutcome, kinds: set[str]) -> Replace | None:
        names = tuple(name for name, kind in self._node.kinds.items() if kind in kinds and kind not in POOLS)
        pools = tuple(kind for kind in POOLS if kind in kinds and kind in self._node.kinds.values())
        if not names and not pools:
            self._tell(msgspec.structs.replace(outcome, state="done"))
            return None
        self._tell(outcome)
        return Replace(names, pools)

    def _take_wanted(self) -> ReloadRequest:
        path = self._folder / WANTED
        try:
            wanted = msgspec.json.decode(path.read_bytes(), type=ReloadRequest)
        except (OSError, msgspec.DecodeError):
            wanted = ReloadRequest()
        with contextlib.suppress(OSError):
            path.unlink()
        return wanted

    def _tell(self, outcome: ReloadOutcome, level: int = logging.INFO) -> None:
        self._outcome = outcome
        self._log.log(level, "reload", extra={"fields": msgspec.to_builtins(outcome)})
        with contextlib.suppress(OSError):  # a full disk: it is in the log as far as that goes
            write_whole(self._folder / OUTCOME, [msgspec.json.encode(outcome)], Durability.RENAMED)


def digests_of(config: Config) -> dict[tuple[str, str], str]:
    """Of the files that settings name; of one that is not there an empty text."""
    found = {}
    for section, field in FILES:
        path = getattr(getattr(config, section), field)
        try:
            found[section, field] = hashlib.sha256(Path(path).read_bytes()).hexdigest() if path else ""
        except OSError:
            found[section, field] = ""
    return found


def _without_markets(config: Config, plan: NodePlan) -> Config:
    """The same with the markets of now: others need other tables, and wait for the next start."""
    node = msgspec.structs.replace(config.node, markets_file=plan.config.node.markets_file)
    return msgspec.structs.replace(config, node=node)
