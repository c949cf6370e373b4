"""What a UDP socket need not even queue: a classic BPF program that the kernel runs before a datagram takes a place.

A worker has one queue; a flood that fills it pushes good questions out. What is never answered, by its size or its
first bytes, is told apart here at the flooder's own cost (the sender's processor, on loopback; the network card's, on a
wire), and counted by the kernel with what found the queue full: `datagrams_dropped` of trinity/native/libc.py.

Rules: only what the worker would throw away as well, so the filter changes no answer. It sees a datagram from its UDP
header on (`sk_filter` in the kernel's net/ipv4/udp.c), whatever the family. It knows nothing of the protocols but a
number that each frame begins with.
"""

import ctypes
import socket
import struct

_SO_ATTACH_FILTER = 26  # asm-generic/socket.h
_UDP_HEADER_BYTES = 8
# linux/bpf_common.h: load the length, a word and a byte; compare; return.
_LOAD_LENGTH, _LOAD_WORD, _LOAD_BYTE = 0x80, 0x20, 0x30
_IF_EQUAL, _IF_GREATER, _RETURN = 0x15, 0x25, 0x06
_KEEP_ALL, _DROP = 0xFFFFFFFF, 0


def attach_filter(bound: socket.socket, bytes_max: int, frame_magic: bytes) -> None:
    """Drop what is empty, longer than `bytes_max`, or begins as a frame (first of four bytes) and is none."""
    first, magic = frame_magic[0], int.from_bytes(frame_magic, "big")
    program = (
        (_LOAD_LENGTH, 0, 0, 0),
        (_IF_GREATER, 6, 0, _UDP_HEADER_BYTES + bytes_max),  # to _DROP
        (_IF_GREATER, 0, 5, _UDP_HEADER_BYTES),
        (_LOAD_BYTE, 0, 0, _UDP_HEADER_BYTES),
        (_IF_EQUAL, 0, 2, first),  # to _KEEP_ALL
        (_LOAD_WORD, 0, 0, _UDP_HEADER_BYTES),  # of less than four bytes: the kernel drops it
        (_IF_EQUAL, 0, 1, magic),
        (_RETURN, 0, 0, _KEEP_ALL),
        (_RETURN, 0, 0, _DROP),
    )
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in program))
    bound.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(program), ctypes.addressof(code)))
