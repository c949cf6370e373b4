"""Asks one health port of one node, again and again, in a thread of its own; what it heard goes into a queue.

Rules: the connection stays open between questions, and its end is a reason to ask at once: a node that was killed, or
that shuts its connections because it drains, is noticed within milliseconds, however rarely it is asked. A question
takes SECONDS_MAX at most. The name is looked up for each new connection: a container that was started again has another
address.
"""

import http.client
import json
import queue
import select
import socket
import threading
from dataclasses import dataclass

from trinity.balancer.verdicts import AskingPace, ListStanding, ServiceHealth
from trinity.clock import NS_PER_SECOND, Clock

SECONDS_MAX = 2.0
# Connections that end as soon as they are idle must not become a flood of questions.
_AGAIN_NS = 50_000_000


@dataclass(frozen=True)
class Heard:
    """What is known of one service of one node after a question."""

    node: str
    service: str
    standing: ListStanding
    reason: str
    address: str  # "" while its name was never found


class HealthAsker(threading.Thread):
    """One node's service; `stop` ends the thread within a question."""

    def __init__(
        self,
        node: str,
        service: str,
        target: tuple[str, int],
        pace: AskingPace,
        clock: Clock,
        heard: "queue.Queue[Heard]",
    ) -> None:
        super().__init__(daemon=True, name=f"{node} {service}")
        self._node, self._service, self._clock, self._heard = node, service, clock, heard
        self._host, self._port = target
        self._health = ServiceHealth(pace)
        self._address = ""
        self._connection: http.client.HTTPConnection | None = None
        self._stopped, self._stopping = socket.socketpair()

    def run(self) -> None:
        """Ask until stopped."""
        while True:
            self._health.hear(*self._ask())
            self._heard.put(Heard(self._node, self._service, self._health.standing, self._health.reason, self._address))
            if self._is_stopped_within(self._health.wait_ns):
                self._close()
                return

    def stop(self) -> None:
        """End soon; `join` waits for it."""
        self._stopping.close()

    def _ask(self) -> tuple[int, str]:
        """(status, reason); a kept connection that turns out to be dead is no answer yet, but a reason to open one."""
        is_kept = self._connection is not None
        try:
            return self._ask_once()
        except (OSError, http.client.HTTPException) as error:
            self._close()
            if not is_kept:
                return 0, _words(error)
        try:
            return self._ask_once()
        except (OSError, http.client.HTTPException) as error:
            self._close()
            return 0, _words(error)

    def _ask_once(self) -> tuple[int, str]:
        if self._connection is None:
            self._address = str(socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)[0][4][0])
            self._connection = http.client.HTTPConnection(self._address, self._port, timeout=SECONDS_MAX)
        self._connection.request("GET", "/ready")
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.will_close:
            self._close()
        return answer.status, _reasons_in(body) or f"HTTP {answer.status}"

    def _is_stopped_within(self, wait_ns: int) -> bool:
        """Wait, or until the kept connection ends or brings what nobody asked for; whether it is to stop."""
        kept = self._connection.sock if self._connection is not None else None
        began_ns = self._clock.monotonic_ns()
        ready, _, _ = select.select([self._stopped, *([kept] if kept else [])], [], [], wait_ns / NS_PER_SECOND)
        if self._stopped in ready:
            return True
        if kept in ready:
            self._close()
            left_ns = _AGAIN_NS - (self._clock.monotonic_ns() - began_ns)
            return bool(select.select([self._stopped], [], [], max(0, left_ns) / NS_PER_SECOND)[0])
        return False

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _reasons_in(body: bytes) -> str:
    """The codes that /ready gives, "" where there are none."""
    try:
        return ", ".join(str(reason["code"]) for reason in json.loads(body)["reasons"])
    except (ValueError, LookupError, TypeError):
        return ""


def _words(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
