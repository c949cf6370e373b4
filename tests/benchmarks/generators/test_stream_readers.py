"""Readers of streams: lags out of bytes that come in any pieces, and real sockets."""

import contextlib
import itertools
import socket
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.errors import PeerError
from benchmarks.generators.stream_readers import MS_MAX, StreamReaders, note

NOW_MS = 1_800_000_000_000


def _event(stamp: int, is_last: bool = False) -> bytes:
    data = f'{{"asset":"BTC","price":71002.5,"timestamp":{stamp},"newest_timestamp":{stamp + 5},"status":"fresh"}}'
    return f"event: price\ndata: {data}\n{'id: 1-2-3' + chr(10) if is_last else ''}\n".encode()


@pytest.mark.uncompiled
@given(
    st.lists(st.tuples(st.integers(-50, MS_MAX + 50), st.booleans()), max_size=8),
    st.lists(st.integers(0, 2_000), max_size=12),
)
def test_every_event_is_counted_once_however_it_was_cut(events: list[tuple[int, bool]], cuts: list[int]) -> None:
    """Each by its own timestamp and no other number, with the framing of HTTP and heartbeats in between."""
    stream = b"HTTP/1.1 200 OK\r\n\r\n1f\r\nretry: 2000\n\n\r\n"
    for lag, is_last in events:
        stream += _event(NOW_MS - lag, is_last) + b"\r\n3e8\r\nevent: heartbeat\ndata: {}\n\n"
    lags, left = np.zeros(MS_MAX + 1, dtype=np.int32), b""
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    for start, end in itertools.pairwise(edges):
        left += stream[start:end]
        left = left[note(np.frombuffer(left + b"\0", dtype=np.uint8), len(left), lags, NOW_MS) :]
    assert len(left) < 400
    expected = np.bincount([min(max(lag, 0), MS_MAX) for lag, _ in events] or [0], minlength=MS_MAX + 1)
    assert lags.tolist() == (expected if events else expected * 0).tolist()


def _serve(listener: socket.socket, answers: list[bytes]) -> None:
    """Each connection gets what is its turn; when all have got it they are closed."""
    held = []
    for answer in answers:
        connection, _ = listener.accept()
        held.append(connection)
        connection.recv(4096)
        connection.sendall(answer)
    for connection in held:
        connection.close()


def _read_for(seconds: float, port: int, count: int) -> None:
    with contextlib.closing(StreamReaders(port, b"GET / HTTP/1.1\r\n\r\n", count)) as readers:
        readers.run(seconds)


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([b"HTTP/1.1 200 OK\r\n\r\n"] * 3, "ended, or broke"),
        ([b"HTTP/1.1 429 Too Many Requests\r\n\r\n"], "refused: b'HTTP/1.1 429"),
    ],
)
def test_a_stream_that_is_refused_or_ends_is_an_error(answers: list[bytes], said: str) -> None:
    """Readers that hear nothing any more would look like readers that are told quickly."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = threading.Thread(target=_serve, args=(listener, answers))
        serving.start()
        with pytest.raises(PeerError, match=said):
            _read_for(5, listener.getsockname()[1], len(answers))
        serving.join()
