"""The watcher: hears of every node, writes the lists where they changed, and has nginx read them.

    nodes/<upstream>.conf   the lists; each is replaced whole
    nodes/state.json        who is in and who is out and why, and whether nginx has it; `trinity balancer show`

Rules: nothing is written before each node was asked once. What nginx does not take (`nginx -t`) is put back, told, and
tried again with the next change. Between two reloads lies RELOAD_GAP_NS: each costs nginx its idle connections. A
watcher that dies changes nothing: nginx goes on with the lists that it has, and its own counting of failures.
"""

import contextlib
import json
import logging
import queue
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from trinity.balancer.asking import HealthAsker, Heard
from trinity.balancer.lists import SERVICES, Place, ServicePorts, write_lists
from trinity.balancer.verdicts import AskingPace, ListStanding, chosen
from trinity.clock import NS_PER_SECOND, Clock
from trinity.errors import BalancerRefusedError
from trinity.files import Durability, write_whole

STATE_FILE = "state.json"
RELOAD_GAP_NS = NS_PER_SECOND // 2
_TURN_SECONDS = 0.2

# Checks what stands in the folder and has nginx read it; BalancerRefusedError where it does not take it.
Apply = Callable[[], None]


class Watcher:
    """Of one folder of lists; `nodes` are names and hosts."""

    def __init__(
        self,
        nodes: Mapping[str, str],
        ports: Mapping[str, ServicePorts],
        folder: Path,
        apply: Apply,
        pace: AskingPace,
        clock: Clock,
        log: logging.Logger,
    ) -> None:
        self._nodes, self._ports, self._folder, self._apply = nodes, ports, folder, apply
        self._clock, self._log = clock, log
        self._heard: queue.Queue[Heard] = queue.Queue()
        self._known: dict[tuple[str, str], Heard] = {}
        self._applied_at_ns = -RELOAD_GAP_NS
        self._written: Mapping[str, object] = {}
        self._refused: Mapping[str, str] | None = None
        self._reloads = 0
        self._askers = [
            HealthAsker(node, service, (host, ports[service].health), pace, clock, self._heard)
            for node, host in nodes.items()
            for service in SERVICES
        ]

    def run(self, is_stopped: Callable[[], bool]) -> None:
        """Watch until told to stop."""
        for asker in self._askers:
            asker.start()
        try:
            while not is_stopped():
                self._take_in()
                if len(self._known) == len(self._askers):
                    self._bring_up_to_date()
        finally:
            for asker in self._askers:
                asker.stop()
            for asker in self._askers:
                asker.join()

    def _take_in(self) -> None:
        """Wait a moment for news, then take all that there are."""
        with contextlib.suppress(queue.Empty):
            heard = self._heard.get(timeout=_TURN_SECONDS)
            while True:
                before = self._known.get((heard.node, heard.service))
                self._known[heard.node, heard.service] = heard
                if before is None or before.standing is not heard.standing:
                    fields = {"node": heard.node, "service": heard.service, "reason": heard.reason}
                    self._log.info(f"node is {heard.standing.value}", extra={"fields": fields})
                heard = self._heard.get_nowait()

    def _bring_up_to_date(self) -> None:
        texts = {name: text for service in SERVICES for name, text in self._texts(service).items()}
        before = {name: _read(self._folder / name) for name in texts}
        now_ns = self._clock.monotonic_ns()
        if texts == before:
            self._write_state(is_applied=True)
        elif texts != self._refused and now_ns - self._applied_at_ns >= RELOAD_GAP_NS:
            self._applied_at_ns = now_ns
            self._write(texts)
            try:
                self._apply()
                self._reloads, self._refused = self._reloads + 1, None
                self._write_state(is_applied=True)
            except BalancerRefusedError as error:
                self._log.error("the lists were not taken", extra={"fields": {"reason": error.reason}})
                self._refused = texts
                self._write({name: text for name, text in before.items() if text})
                self._write_state(is_applied=False)

    def _texts(self, service: str) -> dict[str, str]:
        found = [self._known[node, service] for node in self._nodes if self._known[node, service].address]
        asked = chosen([(heard.node, heard.standing) for heard in found])
        if not asked:
            return {}  # no name of a node was ever found: what stands there stays
        places = [Place(heard.node, heard.address) for heard in found if heard.node in asked]
        left_out = [
            (node, self._known[node, service].reason or "its name is not found")
            for node in self._nodes
            if node not in asked
        ]
        return write_lists(service, self._ports[service], places, left_out)

    def _write(self, texts: Mapping[str, str]) -> None:
        for name, text in texts.items():
            write_whole(self._folder / name, [text.encode()], Durability.RENAMED)

    def _write_state(self, *, is_applied: bool) -> None:
        nodes = {
            node: {
                service: {"standing": heard.standing.value, "reason": heard.reason}
                for service in SERVICES
                for heard in (self._known[node, service],)
            }
            for node in self._nodes
        }
        state = {
            "nodes": nodes,
            "applied": is_applied,
            "reloads": self._reloads,
            "written_at": self._clock.wall_ns() // NS_PER_SECOND,
        }
        write_whole(self._folder / STATE_FILE, [json.dumps(state, indent=1).encode()], Durability.RENAMED)


def read_state(folder: Path) -> dict[str, Any] | None:
    """What the watcher wrote last; None where there is none."""
    try:
        state: dict[str, Any] = json.loads((folder / STATE_FILE).read_text())
    except (OSError, ValueError):
        return None
    return state


def read_standings(folder: Path) -> dict[str, bool]:
    """Of each node whether all its services are in nginx's lists; {} where no watcher has written yet."""
    state = read_state(folder)
    if state is None:
        return {}
    return {node: bool(state["applied"]) and _are_in(services.values()) for node, services in state["nodes"].items()}


def _are_in(services: Iterable[Mapping[str, str]]) -> bool:
    return all(service["standing"] == ListStanding.IN.value for service in services)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
