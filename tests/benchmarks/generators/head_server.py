"""A threaded server on a free port that answers heads alone, as a test says; a thread a connection."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
# Bytes for the n-th request of a connection; None hangs up.
Behaviour = Callable[[int], bytes | None]


@contextlib.contextmanager
def head_server(behaviour: Behaviour) -> Iterator[int]:
    """Its port."""

    def talk(connection: socket.socket) -> None:
        pending, count = b"", 0
        with connection, contextlib.suppress(OSError):
            while received := connection.recv(65536):
                *requests, pending = (pending + received).split(b"\r\n\r\n")
                answers = [behaviour(count + i) for i in range(len(requests))]
                count += len(requests)
                connection.sendall(b"".join(answer for answer in answers if answer is not None))
                if None in answers:
                    return

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=talk, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
