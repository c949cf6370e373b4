"""A process that owns an embedded server, as the node's process `database` does; tests kill it.

`python owner.py <data_dir>`: prints the server's process number once it answers, then looks after it until it ends.
"""

import logging
import signal
import sys
import threading
from pathlib import Path

from trinity.store.embedded import Server


def main(data_dir: str) -> None:
    server = Server(Path(data_dir), logging.getLogger("owner"))
    signal.signal(signal.SIGTERM, lambda _number, _frame: server.shut_down())
    wait = threading.Event().wait
    server.start(lambda: wait(0.02) and None)
    while not server.answers() and server.exit_code() is None:
        server.pass_on_log(10)
    print(server.pid, server.exit_code(), server.failure_message(), flush=True)
    while server.exit_code() is None:
        server.pass_on_log(50)


if __name__ == "__main__":
    main(sys.argv[1])
