"""A launcher over a pool of two tiny servers and their spare, run as a program by test_launcher_pool.py.

Each server echoes datagrams and what comes over TCP, in upper case, on a port that all share. SIGHUP replaces all of
them; standard output has a line for the ports, for each server that began, and for each replacement that ended.
"""

import logging
import os
import select
import signal
import socket
import sys

from tests.support.tiny_node import say
from trinity.clock import SystemClock
from trinity.memory.control import COMMAND, Command, Control, ProcessBlock
from trinity.net.ports import bind_socket
from trinity.net.seat import Seat, Sockets, sockets_of
from trinity.node.launcher import Launcher, Process
from trinity.node.replacement import Replace, Replaced
from trinity.node.supervisor import ProcessSpec

SEATS = 2


class ReplaceAll:
    """What SIGHUP does here."""

    def begin(self) -> Replace | None:
        return Replace((), ("desk",))

    def end(self, replaced: Replaced) -> Replace | None:
        say(f"replaced {len(replaced.names)} {replaced.failed}")
        return None


def serve(block: ProcessBlock, seat: Seat | None, ports: tuple[int, int]) -> None:
    """Until SIGTERM; who is replaced leaves what waits, and ends at once."""

    def bind() -> Sockets:
        kinds = zip(ports, (socket.SOCK_STREAM, socket.SOCK_DGRAM), strict=True)
        return tuple(bind_socket("127.0.0.1", port, kind, shared=True) for port, kind in kinds)

    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
    tcp, udp = sockets_of(seat, bind)
    tcp.listen()
    assert seat is not None
    say(f"desk {os.getpid()} {seat.number}")
    while not ended:
        block.beat(SystemClock().monotonic_ns())
        for ready in select.select([tcp, udp], [], [], 0.02)[0]:
            try:
                if ready is udp:
                    data, sender = udp.recvfrom(100)
                    udp.sendto(data.upper(), sender)
                else:
                    connection, _ = tcp.accept()
                    with connection:
                        connection.setblocking(True)
                        connection.sendall(connection.recv(100).upper())
            except BlockingIOError:
                continue  # the other one at this seat has it
    assert block.read(COMMAND) in (Command.RETIRE, Command.DRAIN)


def main(name: str) -> int:
    with socket.socket() as one, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        for probe in (one, other):
            probe.bind(("127.0.0.1", 0))
        ports = one.getsockname()[1], other.getsockname()[1]
    control = Control.create(f"trinity-{name}-control", SEATS + 1)
    processes = []
    for index in range(SEATS + 1):
        block = control.block(index)

        def run(seat: Seat | None, block: ProcessBlock = block) -> None:
            serve(block, seat, ports)

        spec = ProcessSpec(f"desk-{index}", 0, pool="desk", seat=index if index < SEATS else None)
        processes.append(Process(spec, run, block, os.eventfd(0, os.EFD_NONBLOCK)))
    log = logging.getLogger("trinity.node.supervisor")
    log.addHandler(logging.NullHandler())
    say(f"ports {ports[0]} {ports[1]}")
    try:
        stop = Launcher(processes, SystemClock(), log, lambda: True, lambda _: None, changes=ReplaceAll()).run()
    finally:
        control.segment.unlink()
    print(stop.message, file=sys.stderr, flush=True)
    return stop.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
