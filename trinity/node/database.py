"""The life of the process `database`: it starts the embedded PostgreSQL and looks after it until it is told to stop.

Rules: this process holds no connection; whether the server answers it asks once a second. What the server says goes to
the log. A server that does not start, or ends by itself, ends this process with a StoreUnavailableError; the
supervisor starts it again.
"""

import select
import signal
from pathlib import Path

from trinity.clock import NS_PER_SECOND
from trinity.errors import StoreUnavailableError
from trinity.observe.metrics import DATABASE
from trinity.process import ProcessContext
from trinity.store.embedded import Server
from trinity.store.settings import server_settings

# A turn of the loop: heartbeat, log lines of the server, its end. The supervisor expects a beat each 250 ms.
_TURN_MS = 100
_PING_NS = NS_PER_SECOND


class _StopAskedError(Exception):
    """SIGTERM came before the server was there."""


def run(context: ProcessContext, data_dir: Path, backed_up: bool = False) -> None:
    """Keep a server running until SIGTERM; StoreUnavailableError when it does not start or ends by itself."""
    stop_asked = False

    def on_stop(_number: int, _frame: object) -> None:
        nonlocal stop_asked
        stop_asked = True

    def turn() -> None:
        context.block.beat(context.clock.monotonic_ns())
        if stop_asked:
            raise _StopAskedError
        select.select([], [], [], _TURN_MS / 1000)

    up = DATABASE.index("database_up")
    context.block.set_gauge(up, 0.0)
    context.block.beat(context.clock.monotonic_ns())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_stop)
    server = Server(data_dir, context.log, server_settings(backed_up))
    try:
        server.start(turn)
    except _StopAskedError:
        return
    ping_at_ns = 0
    while server.exit_code() is None:
        now_ns = context.clock.monotonic_ns()
        context.block.beat(now_ns)
        if stop_asked:
            server.shut_down()
        if now_ns >= ping_at_ns:
            context.block.set_gauge(up, float(server.answers()))
            ping_at_ns = now_ns + _PING_NS
        server.pass_on_log(_TURN_MS)
    context.block.set_gauge(up, 0.0)
    if not stop_asked:
        raise StoreUnavailableError(f"PostgreSQL ended ({server.exit_code()}): {server.failure_message()}")
