"""The connections of this process as its own descriptors: for servers that do not give a connection away.

Rules: a descriptor that a server holds is never closed and never written to by its number, which may be another
connection a moment later: whoever wants a connection gets a duplicate of it, proved after it was made.
"""

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Collection, Iterator

Peer = tuple[str, int]  # address and port, as the kernel writes them

_DESCRIPTORS = "/proc/self/fd"


def descriptors_of(inode: int) -> list[int]:
    """All that this process holds of one socket."""
    found = []
    for name in os.listdir(_DESCRIPTORS):
        with contextlib.suppress(OSError):  # closed meanwhile
            if os.fstat(int(name)).st_ino == inode:
                found.append(int(name))
    return found


def sockets() -> Iterator[tuple[int, int]]:
    """(descriptor, inode) of the sockets that this process holds; each once, however often it is held."""
    seen = set()
    for name in os.listdir(_DESCRIPTORS):
        try:
            found = os.fstat(int(name))
        except OSError:
            continue  # closed meanwhile
        if stat.S_ISSOCK(found.st_mode) and found.st_ino not in seen:
            seen.add(found.st_ino)
            yield int(name), found.st_ino


def peer_at(fd: int, ports: Collection[int]) -> Peer | None:
    """Who is at the other end, if this is a connection to one of the ports."""
    try:
        found = socket.socket(fileno=fd)  # lent: `detach` gives it back as it was
    except OSError:
        return None  # closed meanwhile, or something else by now
    try:
        if found.family not in (socket.AF_INET, socket.AF_INET6) or found.type != socket.SOCK_STREAM:
            return None
        if found.getsockname()[1] not in ports:
            return None
        return found.getpeername()[:2]  # type: ignore[no-any-return]
    except OSError as error:
        if error.errno in (errno.ENOTCONN, errno.EBADF, errno.EINVAL, errno.ENOTSOCK):
            return None  # a listener, or gone meanwhile
        raise
    finally:
        found.detach()


def duplicates(peers: Collection[Peer], ports: Collection[int]) -> dict[Peer, int]:
    """A duplicate of the connection of each of these peers to these ports; one look for all of them.

    Left out are those that are gone, those that there are several of (one peer may be connected to two addresses of
    ours), and those for which there is no descriptor left. OSError when there is none left to look with.
    """
    found: dict[Peer, list[int]] = {peer: [] for peer in peers}
    for fd, _ in sockets():
        peer = peer_at(fd, ports)
        if peer in found:
            found[peer].append(fd)
    made = {peer: _duplicate(fds[0], peer, ports) for peer, fds in found.items() if len(fds) == 1}
    return {peer: fd for peer, fd in made.items() if fd is not None}


def _duplicate(fd: int, peer: Peer, ports: Collection[int]) -> int | None:
    try:
        again = os.dup(fd)
    except OSError:
        return None  # closed meanwhile, or no descriptor is left
    if peer_at(again, ports) != peer:
        os.close(again)
        return None
    return again
