"""trinity/node/notify.py against a real socket of the kind that systemd listens on."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.limits import READY_HINT_NS
from trinity.node.notify import Notifier, Phase

SECOND = 1_000_000_000
T0 = 5_000 * SECOND
PID = 4711


class Manager:
    """What systemd is to a service: a datagram socket at an address."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.setblocking(False)
        self.environment = {"NOTIFY_SOCKET": address, "PATH": "/usr/bin"}

    def heard(self) -> list[str]:
        """All that was said since."""
        said = []
        while True:
            try:
                said.append(self._socket.recv(65_536).decode())
            except BlockingIOError:
                return said

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    made = Manager(f"@trinity-test-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify"))
    yield made
    made.close()


def test_readiness_is_said_once_and_with_the_first_fresh_price(manager: Manager) -> None:
    """Whoever waits for the service finds prices."""
    notifier = Notifier(manager.environment, PID)
    notifier.on_turn(T0, False)
    assert manager.heard() == []
    notifier.on_turn(T0 + SECOND, True)
    notifier.on_turn(T0 + 2 * SECOND, True)
    assert manager.heard() == ["READY=1"]


def test_a_node_without_exchanges_is_not_restarted_for_their_sake(manager: Manager) -> None:
    """systemd ends a service that never says READY; ours says it when its prices are all that is missing."""
    notifier = Notifier(manager.environment, PID)
    notifier.on_turn(T0, False)
    notifier.on_turn(T0 + READY_HINT_NS, False)
    assert manager.heard() == []
    notifier.on_turn(T0 + READY_HINT_NS + 1, False)
    assert manager.heard() == ["READY=1"]


def test_the_watchdog_hears_twice_within_its_time_while_the_supervisor_turns(manager: Manager) -> None:
    """And never, where it is meant for another process."""
    notifier = Notifier(manager.environment | {"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": str(PID)}, PID)
    for tenth in range(300):
        notifier.on_turn(T0 + tenth * SECOND // 10, False)
    heard = manager.heard()
    assert heard.count("WATCHDOG=1") == 6
    silent = Notifier(manager.environment | {"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"}, PID)
    silent.on_turn(T0, False)
    assert manager.heard() == [], "it is meant for another process"


def test_a_service_that_stops_is_not_called_ready_afterwards(manager: Manager) -> None:
    """A price that comes in during the drain changes nothing."""
    notifier = Notifier(manager.environment, PID)
    notifier.on_turn(T0, False)
    notifier.announce(Phase.STOPPING, T0)
    notifier.on_turn(T0 + SECOND, True)
    assert manager.heard() == ["STOPPING=1\nSTATUS=draining"]


def test_a_reload_says_when_it_began_in_the_clock_of_the_kernel(manager: Manager) -> None:
    """systemd compares it with when it asked."""
    notifier = Notifier(manager.environment, PID)
    notifier.announce(Phase.RELOADING, T0 + 1_999)
    notifier.announce(Phase.READY, T0)
    assert manager.heard() == [f"RELOADING=1\nMONOTONIC_USEC={T0 // 1000 + 1}", "READY=1"]


@given(st.text())
def test_a_status_is_one_line_that_systemd_reads_whole(status: str) -> None:
    """Whatever stands in it, a second line would be another message."""
    made = Manager(f"@trinity-status-{os.getpid()}")
    try:
        Notifier(made.environment, PID).tell(status)
        (heard,) = made.heard()
        assert heard.startswith("STATUS=")
        assert "\n" not in heard
        assert len(heard.encode()) < 4096
    finally:
        made.close()


def test_a_start_that_compiles_asks_for_the_time(manager: Manager) -> None:
    """In microseconds."""
    Notifier(manager.environment, PID).ask_for_time(600)
    assert manager.heard() == ["EXTEND_TIMEOUT_USEC=600000000"]


def test_no_child_inherits_the_way_to_systemd(manager: Manager) -> None:
    """PostgreSQL would say READY of itself."""
    environment = manager.environment | {"WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"}
    Notifier(environment, PID)
    assert environment == {"PATH": "/usr/bin"}


@pytest.mark.parametrize("address", ["", "/nowhere/at/all", "vsock:2:1234", "relative"])
def test_nobody_who_listens_is_no_error(address: str) -> None:
    """No socket, a wrong one, one of another family: the node goes on."""
    notifier = Notifier({"NOTIFY_SOCKET": address} if address else {}, PID)
    notifier.announce(Phase.READY, T0)
    notifier.tell("alone")


def test_a_full_socket_costs_a_notification_and_never_a_turn(manager: Manager) -> None:
    """It does not block."""
    notifier = Notifier(manager.environment, PID)
    for number in range(2_000):
        notifier.tell(str(number))
    assert 0 < len(manager.heard()) < 2_000
