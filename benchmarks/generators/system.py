"""What the compiled loops of the harness need beside the request worker's own system calls (trinity/native/libc.py).

Rules: the harness makes its system calls through the same functions as the server, so that floors and generators cost
what the server's own calls cost. Nothing here makes an array while it runs compiled: scratch memory is passed in.
"""

from collections.abc import Callable

import numpy as np
from numba.core import types

from benchmarks.generators.checks import Bytes, Ints
from trinity.clock import NS_PER_SECOND
from trinity.compiled import compiled
from trinity.native import libc
from trinity.native.libc import Words

_nanosleep: Callable[..., int] = types.ExternalFunction("nanosleep", types.int32(types.uintp, types.uintp))

TIMESPEC_WORDS = 2
_THREAD_CPUTIME = 3  # bits/time.h, CLOCK_THREAD_CPUTIME_ID
SOCKADDR_BYTES = 16  # sockaddr_in


def make_timespec() -> Ints:
    """Scratch memory for `monotonic_ns` and `sleep_ns`."""
    return np.zeros(TIMESPEC_WORDS, dtype=np.int64)


@compiled
def monotonic_ns(timespec: Ints) -> int:
    """CLOCK_MONOTONIC in nanoseconds."""
    return libc.read_clock(libc.MONOTONIC, timespec)


@compiled
def thread_cpu_ns(timespec: Ints) -> int:
    """Processor time of the calling thread in nanoseconds: it stands still while others run."""
    return libc.read_clock(_THREAD_CPUTIME, timespec)


@compiled
def sleep_ns(duration_ns: int, timespec: Ints) -> None:
    """Give the processor away for so long."""
    timespec[0] = duration_ns // NS_PER_SECOND
    timespec[1] = duration_ns % NS_PER_SECOND
    _nanosleep(timespec.ctypes.data, np.uintp(0))


class Datagrams:
    """A batch for receive_many and send_many: `size` datagrams of up to `bytes_max` bytes.

    `headers` (flat, as libc.py wants it) and `iovecs` (a row each datagram) are what the kernel reads; with
    `with_names` each datagram keeps its sender's address, so that a batch that was received can be sent back.
    """

    def __init__(self, size: int, bytes_max: int, with_names: bool = False) -> None:
        self.buffer: Bytes = np.zeros((size, bytes_max), dtype=np.uint8)
        self.names = np.zeros((size, SOCKADDR_BYTES), dtype=np.uint8)
        self.iovecs: Words = np.zeros((size, libc.IOV_WORDS), dtype=np.uint64)
        self.headers: Words = np.zeros(size * libc.MESSAGE_WORDS, dtype=np.uint64)
        rows = self.headers.reshape(size, libc.MESSAGE_WORDS)
        for i in range(size):
            self.iovecs[i] = (self.buffer[i].ctypes.data, bytes_max)
            rows[i, libc.IOV] = self.iovecs[i].ctypes.data
            rows[i, libc.IOV_COUNT] = 1
            if with_names:
                rows[i, libc.NAME] = self.names[i].ctypes.data
                rows[i, libc.NAME_LENGTH] = SOCKADDR_BYTES
