"""The system calls that load generators and floors make from compiled code, through libc.

Rules: addresses are whole numbers, so that one call serves every array; nothing here keeps an array alive or checks
a length: the caller does both. Layouts are those of 64-bit Linux, x86-64 and ARM.
"""

import platform
from collections.abc import Callable
from typing import Any

import numpy as np
from numba.core import types
from numpy.typing import NDArray

from trinity.compiled import compiled_allocating

Words = NDArray[np.uint64]


def _libc(name: str, result: Any, *arguments: Any) -> Callable[..., int]:
    call: Callable[..., int] = types.ExternalFunction(name, result(*arguments))
    return call


_INT, _SIZE, _ADDRESS = types.int32, types.intp, types.uintp
epoll_wait = _libc("epoll_wait", _INT, _INT, _ADDRESS, _INT, _INT)
recv = _libc("recv", _SIZE, _INT, _ADDRESS, _SIZE, _INT)
send = _libc("send", _SIZE, _INT, _ADDRESS, _SIZE, _INT)
recvmmsg = _libc("recvmmsg", _INT, _INT, _ADDRESS, _INT, _INT, _ADDRESS)
sendmmsg = _libc("sendmmsg", _INT, _INT, _ADDRESS, _INT, _INT)
close = _libc("close", _INT, _INT)
_clock_gettime = _libc("clock_gettime", _INT, _INT, _ADDRESS)
_nanosleep = _libc("nanosleep", _INT, _ADDRESS, _ADDRESS)

MSG_DONTWAIT = 0x40
MSG_NOSIGNAL = 0x4000
_CLOCK_MONOTONIC = 1

# epoll_event is packed on x86-64 (12 bytes, data behind the mask) and aligned elsewhere (16 bytes, data at 8).
EVENT_WORDS32 = 3 if platform.machine() == "x86_64" else 4
EVENT_FD_WORD32 = EVENT_WORDS32 - 2

# mmsghdr as 64-bit words: name, namelen, iov, iovlen, control, controllen, flags, received length.
MMSG_WORDS = 8
_NAME, _NAMELEN, _IOV, _IOVLEN, _, _, _, LENGTH = range(MMSG_WORDS)
SOCKADDR_BYTES = 16  # sockaddr_in


@compiled_allocating
def monotonic_ns() -> int:
    """CLOCK_MONOTONIC in nanoseconds, through the vDSO."""
    spec = np.empty(2, dtype=np.int64)
    _clock_gettime(_CLOCK_MONOTONIC, spec.ctypes.data)
    return int(spec[0] * 1_000_000_000 + spec[1])


@compiled_allocating
def sleep_ns(duration_ns: int) -> None:
    """Give the processor away for less than a second."""
    spec = np.zeros(2, dtype=np.int64)
    spec[1] = duration_ns
    _nanosleep(spec.ctypes.data, np.uintp(0))


class Datagrams:
    """A batch for recvmmsg and sendmmsg: `size` datagrams of up to `bytes_max` bytes, with their senders' addresses."""

    def __init__(self, size: int, bytes_max: int, with_names: bool = False) -> None:
        self.size = size
        self.buffer = np.zeros((size, bytes_max), dtype=np.uint8)
        self.names = np.zeros((size, SOCKADDR_BYTES), dtype=np.uint8)
        self.iovecs = np.zeros((size, 2), dtype=np.uint64)
        self.headers: Words = np.zeros((size, MMSG_WORDS), dtype=np.uint64)
        for i in range(size):
            self.iovecs[i] = (self.buffer[i].ctypes.data, bytes_max)
            self.headers[i, _IOV] = self.iovecs[i].ctypes.data
            self.headers[i, _IOVLEN] = 1
            if with_names:
                self.headers[i, _NAME] = self.names[i].ctypes.data
                self.headers[i, _NAMELEN] = SOCKADDR_BYTES
