"""The system calls of the compiled loop: libc's functions through numba, with their structs as plain arrays.

Rules: every buffer is checked against its array before its address leaves for the kernel: out of range is an
IndexError. A failed call returns the negative errno and raises nothing; a count or descriptor is never negative.
No call blocks but `wait_events`. Nothing here decides anything. These functions exist only compiled.

The structs, little-endian (x86-64 and arm64, the two that Trinity runs on):

    epoll_event  uint32[EVENT_WORDS]   events, data: packed to 12 bytes on x86-64 (epoll_ctl(2)), 16 bytes elsewhere
    mmsghdr      uint64[8]             name, name length, iov, iov count, control, control length, flags, length
    iovec        uint64[2]             base, length
    cmsghdr      uint64[CONTROL_WORDS] length, level and type, then in_pktinfo (interface and the address that was
                                       asked, in one word) or in6_pktinfo (that address in two, then the interface)
    timespec     int64[2]              seconds, nanoseconds
    sockaddr     uint64[4]             as addresses.py reads it
"""

import errno
import platform
import select
import socket
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from trinity.clock import NS_PER_SECOND
from trinity.compiled import compiled, compiled_inline
from trinity.linux import IP_PKTINFO
from trinity.native.addresses import SOCKADDR_BYTES, SOCKADDR_WORDS
from trinity.native.octets import Integers, Octets

Events = NDArray[np.uint32]
Words = NDArray[np.uint64]

EVENT_WORDS = 3 if platform.machine() == "x86_64" else 4
_TAG_WORD = 1 if platform.machine() == "x86_64" else 2
MESSAGE_WORDS = 8
NAME, NAME_LENGTH, IOV, IOV_COUNT, CONTROL, CONTROL_LENGTH, _FLAGS, _LENGTH = range(MESSAGE_WORDS)
IOV_WORDS = 2
CONTROL_WORDS = 5
CONTROL_BYTES = 8 * CONTROL_WORDS
_IN_PKTINFO = np.uint64(IP_PKTINFO << 32 | socket.IPPROTO_IP)
_IN_INTERFACE_WORD, _IN6_INTERFACE_WORD = 2, 4
_LOWER_HALF = np.uint64(0xFFFFFFFF)

EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP = select.EPOLLIN, select.EPOLLOUT, select.EPOLLERR, select.EPOLLHUP
EPOLLRDHUP, EPOLLET = select.EPOLLRDHUP, 1 << 31
EPOLL_ADD, EPOLL_DELETE, EPOLL_MODIFY = 1, 2, 3  # epoll.h

EAGAIN = errno.EAGAIN
# Out of descriptors or memory: accepting again at once would fail again at once (accept(2)).
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

MONOTONIC, REALTIME = 1, 0  # bits/time.h
_NONBLOCK = int(socket.SOCK_NONBLOCK)
_CLOEXEC = int(socket.SOCK_CLOEXEC)
_NOSIGNAL = int(socket.MSG_NOSIGNAL)
_DONTWAIT = int(socket.MSG_DONTWAIT)
_SHUT_RD, _SHUT_WR = int(socket.SHUT_RD), int(socket.SHUT_WR)
_SOL_SOCKET = int(socket.SOL_SOCKET)
_SO_MEMINFO, _MEMINFO_COUNT, _MEMINFO_QUEUED, _MEMINFO_DROPS = 55, 9, 0, 8  # asm-generic/socket.h, linux/sock_diag.h
_SO_RCVBUF = int(socket.SO_RCVBUF)
MEMINFO_WORDS = _MEMINFO_COUNT + 1

_int, _long, _pointer = types.int32, types.int64, types.uintp
_errno_location = types.ExternalFunction("__errno_location", _pointer())
_epoll_wait = types.ExternalFunction("epoll_wait", _int(_int, _pointer, _int, _int))
_epoll_ctl = types.ExternalFunction("epoll_ctl", _int(_int, _int, _int, _pointer))
_accept4 = types.ExternalFunction("accept4", _int(_int, _pointer, _pointer, _int))
_recv = types.ExternalFunction("recv", _long(_int, _pointer, _pointer, _int))
_send = types.ExternalFunction("send", _long(_int, _pointer, _pointer, _int))
_recvmmsg = types.ExternalFunction("recvmmsg", _int(_int, _pointer, _int, _int, _pointer))
_sendmmsg = types.ExternalFunction("sendmmsg", _int(_int, _pointer, _int, _int))
_close = types.ExternalFunction("close", _int(_int))
_shutdown = types.ExternalFunction("shutdown", _int(_int, _int))
_write = types.ExternalFunction("write", _long(_int, _pointer, _pointer))
_read = types.ExternalFunction("read", _long(_int, _pointer, _pointer))
_getsockopt = types.ExternalFunction("getsockopt", _int(_int, _int, _int, _pointer, _pointer))
_setsockopt = types.ExternalFunction("setsockopt", _int(_int, _int, _int, _pointer, _int))
_clock_gettime = types.ExternalFunction("clock_gettime", _int(_int, _pointer))


@intrinsic  # type: ignore[untyped-decorator]
def _int_behind(_context: Any, address: Any) -> Any:
    """The C int at an address: numba's own way to it (carray) counts references."""

    def emit(_codegen: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.load(builder.inttoptr(args[0], ir.IntType(32).as_pointer()))

    return types.int32(address), emit


@compiled_inline
def _result(returned: int) -> int:
    """What libc returned, or the negative errno of what failed."""
    if returned >= 0:
        return returned
    error: int = _int_behind(_errno_location())
    return -error


@compiled_inline
def _check(size: int, at: int, length: int) -> None:
    if at < 0 or length < 0 or at > size - length:
        raise IndexError("system call out of range")


@compiled
def read_clock(which: int, timespec: Integers) -> int:
    """Nanoseconds of MONOTONIC or REALTIME."""
    _check(timespec.size, 0, 2)
    _clock_gettime(which, timespec.ctypes.data)
    nanoseconds: int = timespec[0] * NS_PER_SECOND + timespec[1]
    return nanoseconds


@compiled
def wait_events(epoll_fd: int, events: Events, count: int, timeout_ms: int) -> int:
    """Fill `events` with up to `count` that are ready; how many there are."""
    _check(events.size, 0, count * EVENT_WORDS)
    return _result(_epoll_wait(epoll_fd, events.ctypes.data, count, timeout_ms))


@compiled
def event_bits(events: Events, which: int) -> int:
    return np.int64(events[which * EVENT_WORDS])  # type: ignore[return-value]


@compiled
def event_tag(events: Events, which: int) -> int:
    return np.int64(events[which * EVENT_WORDS + _TAG_WORD])  # type: ignore[return-value]


@compiled
def set_event(events: Events, which: int, bits: int, tag: int) -> None:
    events[which * EVENT_WORDS] = bits
    events[which * EVENT_WORDS + _TAG_WORD] = tag


@compiled
def control_events(epoll_fd: int, operation: int, fd: int, bits: int, tag: int, event: Events) -> int:
    """EPOLL_ADD, EPOLL_MODIFY or EPOLL_DELETE; `event` is scratch of EVENT_WORDS."""
    set_event(event, 0, bits, tag)
    _check(event.size, 0, EVENT_WORDS)
    return _result(_epoll_ctl(epoll_fd, operation, fd, event.ctypes.data))


def make_sockaddr() -> Words:
    """Memory for one peer's address and, behind it, its length."""
    return np.zeros(SOCKADDR_WORDS + 1, dtype=np.uint64)


@compiled
def accept(listener_fd: int, sockaddr: Words) -> int:
    """The next waiting connection, as a descriptor that does not block; its peer goes to `sockaddr`."""
    _check(sockaddr.size, 0, SOCKADDR_WORDS + 1)
    sockaddr[SOCKADDR_WORDS] = SOCKADDR_BYTES
    address = sockaddr.ctypes.data
    return _result(_accept4(listener_fd, address, address + np.uint64(SOCKADDR_BYTES), _NONBLOCK | _CLOEXEC))


@compiled
def is_exhausted(returned: int) -> bool:
    """Whether accepting failed for want of descriptors or memory."""
    return -returned in EXHAUSTED


@compiled_inline
def receive(fd: int, buffer: Octets, at: int, length: int) -> int:
    """Receive at most `length` bytes to `buffer[at:]`; 0: the peer sends no more."""
    _check(buffer.size, at, length)
    return _result(_recv(fd, buffer.ctypes.data + np.uint64(at), length, _DONTWAIT))


@compiled_inline
def send(fd: int, buffer: Octets, at: int, length: int) -> int:
    """Send `buffer[at:at + length]`, or as much of it as the socket takes."""
    _check(buffer.size, at, length)
    return _result(_send(fd, buffer.ctypes.data + np.uint64(at), length, _NOSIGNAL | _DONTWAIT))


@compiled
def receive_many(fd: int, messages: Words, count: int) -> int:
    """Receive up to `count` datagrams into the buffers that `messages` names; how many came."""
    _check(messages.size, 0, count * MESSAGE_WORDS)
    return _result(_recvmmsg(fd, messages.ctypes.data, count, _DONTWAIT, 0))


@compiled
def message_length(messages: Words, which: int) -> int:
    """Bytes of a received datagram: the lower half of its word."""
    return np.int64(messages[which * MESSAGE_WORDS + _LENGTH] & _LOWER_HALF)  # type: ignore[return-value]


@compiled
def forget_interface(control: Words, at: int) -> None:
    """Of a datagram's control message keep the address that was asked; by which interface to reply, routing knows."""
    if control[at + 1] == _IN_PKTINFO:
        control[at + _IN_INTERFACE_WORD] &= ~_LOWER_HALF
    else:
        control[at + _IN6_INTERFACE_WORD] &= ~_LOWER_HALF


@compiled
def send_many(fd: int, messages: Words, first: int, count: int) -> int:
    """Send `count` datagrams from message `first` on; how many went."""
    _check(messages.size, first * MESSAGE_WORDS, count * MESSAGE_WORDS)
    address = messages.ctypes.data + np.uint64(first * MESSAGE_WORDS * 8)
    return _result(_sendmmsg(fd, address, count, _DONTWAIT | _NOSIGNAL))


@compiled
def dropped_datagrams(fd: int, scratch: Events) -> int:
    """Datagrams that this socket's filter threw away or its queue had no room for, modulo 2^32; -errno of a failure."""
    result = _read_meminfo(fd, scratch)
    return np.int64(scratch[_MEMINFO_DROPS]) if result >= 0 else result  # type: ignore[return-value]


@compiled
def queued_bytes(fd: int, scratch: Events) -> int:
    """Memory that this socket's waiting datagrams take, as its receive buffer counts it; -errno of a failure."""
    result = _read_meminfo(fd, scratch)
    return np.int64(scratch[_MEMINFO_QUEUED]) if result >= 0 else result  # type: ignore[return-value]


@compiled
def set_receive_buffer(fd: int, size: int, scratch: Events) -> int:
    """Let so many bytes wait in this socket; the kernel's own bounds hold, and what waits already stays."""
    _check(scratch.size, 0, 1)
    scratch[0] = size // 2  # the kernel doubles it (socket(7))
    return _result(_setsockopt(fd, _SOL_SOCKET, _SO_RCVBUF, scratch.ctypes.data, 4))


@compiled
def _read_meminfo(fd: int, scratch: Events) -> int:
    _check(scratch.size, 0, MEMINFO_WORDS)
    scratch[_MEMINFO_COUNT] = 4 * _MEMINFO_COUNT
    address = scratch.ctypes.data
    return _result(_getsockopt(fd, _SOL_SOCKET, _SO_MEMINFO, address, address + np.uint64(4 * _MEMINFO_COUNT)))


@compiled
def close(fd: int) -> int:
    return _result(_close(fd))


@compiled
def shut_output(fd: int) -> int:
    """Say that no more will be sent; the peer's bytes still come in."""
    return _result(_shutdown(fd, _SHUT_WR))


@compiled
def shut_listener(fd: int) -> int:
    """Listen no more, whoever else holds the socket; what nobody has accepted is reset (tcp(7))."""
    return _result(_shutdown(fd, _SHUT_RD))


@compiled
def read_words(fd: int, buffer: Octets) -> int:
    """Read what an eventfd or a signalfd holds, so that it is no longer ready."""
    return _result(_read(fd, buffer.ctypes.data, buffer.size))


@compiled
def write_event(fd: int, buffer: Octets) -> int:
    """Add one to what an eventfd holds, so that it is ready; the first eight bytes of `buffer` are scratch."""
    _check(buffer.size, 0, 8)
    buffer[:8] = 0
    buffer[0] = 1  # little-endian
    return _result(_write(fd, buffer.ctypes.data, 8))
