"""What the supervisor tells who started it: systemd's notifications (sd_notify(3)), and its watchdog.

    READY=1      the node answers with a fresh price, or had READY_HINT_NS for it: then only exchanges are missing, and
                 a restart brings none of them nearer
    STOPPING=1   the drain began
    RELOADING=1  the configuration is read anew; READY=1 follows
    WATCHDOG=1   at each half of WATCHDOG_USEC: the supervisor turns. Its processes it watches itself
    STATUS=...   one line for `systemctl status`
    EXTEND_TIMEOUT_USEC=...   before the request loop is compiled, which takes longer than a start may

Rules: without NOTIFY_SOCKET nothing happens; a notification that cannot be sent is lost, and never an error of the
node. The variables are taken out of the environment: only the supervisor speaks (NotifyAccess=main), and PostgreSQL,
which its process starts, would tell of itself. The supervisor's one thread sends; the socket never blocks.
"""

import contextlib
import enum
import socket
from collections.abc import MutableMapping

from trinity.limits import READY_HINT_NS

# systemd reads a datagram of at most 4,096 bytes (NOTIFY_BUFFER_MAX).
_STATUS_CHARS = 500
_NS_PER_US = 1_000


class Phase(enum.Enum):
    """What the service is doing, by the line that says so."""

    READY = "READY=1"
    STOPPING = "STOPPING=1\nSTATUS=draining"
    RELOADING = "RELOADING=1"


class Notifier:
    """The way to systemd; `pid` is this process's, which the watchdog is meant for."""

    def __init__(self, environment: MutableMapping[str, str], pid: int) -> None:
        self._address = _address_of(environment.pop("NOTIFY_SOCKET", ""))
        period_us = environment.pop("WATCHDOG_USEC", "")
        watched = environment.pop("WATCHDOG_PID", "") in ("", str(pid))
        self._beat_every_ns = int(period_us) * _NS_PER_US // 2 if watched and period_us.isdecimal() else 0
        self._beat_at_ns = 0
        self._first_turn_ns: int | None = None
        self._phase: Phase | None = None
        self._socket: socket.socket | None = None
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def on_turn(self, now_ns: int, is_ready: bool) -> None:
        """Called at every turn of the supervisor."""
        if self._first_turn_ns is None:
            self._first_turn_ns = now_ns
        if self._phase is None and (is_ready or now_ns - self._first_turn_ns > READY_HINT_NS):
            self.announce(Phase.READY, now_ns)
        if self._beat_every_ns and now_ns >= self._beat_at_ns:
            self._beat_at_ns = now_ns + self._beat_every_ns
            self._send("WATCHDOG=1")

    def announce(self, phase: Phase, now_ns: int) -> None:
        """Say what the service is doing now."""
        self._phase = phase
        # A manager from 253 on compares it with when it asked (Type=notify-reload); an older one passes over it.
        since = f"\nMONOTONIC_USEC={now_ns // _NS_PER_US}" if phase is Phase.RELOADING else ""
        self._send(phase.value + since)

    def tell(self, status: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={' '.join(status.split())[:_STATUS_CHARS]}")

    def ask_for_time(self, seconds: int) -> None:
        """The start takes longer: as much from now on."""
        self._send(f"EXTEND_TIMEOUT_USEC={seconds * 1_000_000}")

    def _send(self, text: str) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):  # nobody listens any more, or its queue is full
                self._socket.sendto(text.encode(), self._address)


def _address_of(text: str) -> str:
    """A path, or a name that begins with @ in the place of a null byte; of other families we have no socket."""
    if text.startswith("@"):
        return "\0" + text[1:]
    return text if text.startswith("/") else ""
