"""Which server of a Valkey Cluster has a name: the slots, and where in a command the name stands.

Rules: pure. A command without a name (PING, TIME) may go to any server. One with several names is ours only when they
share a hash tag, so the first decides. An empty host in what a server says of itself means: the one that was asked.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from valkey.crc import key_slot

Command = tuple[bytes | str | int | float, ...]

_NO_NAME = frozenset({"PING", "TIME", "INFO", "SCRIPT", "CONFIG", "CLIENT", "DBSIZE", "CLUSTER", "SCAN", "COMMAND"})
# EVAL script 1 name ...
_NAME_AT: Mapping[str, int] = {"EVAL": 3, "EVALSHA": 3, "EVAL_RO": 3, "EVALSHA_RO": 3, "OBJECT": 2, "MEMORY": 2}


class CacheServer(NamedTuple):
    """Where one server listens."""

    host: str
    port: int


def slot_of(command: Command) -> int | None:
    """The slot of the command's name; None when any server will do."""
    word = command[0].decode() if isinstance(command[0], bytes) else str(command[0])
    word = word.partition(" ")[0].upper()
    if word in _NO_NAME:
        return None
    name = command[_NAME_AT.get(word, 1)]
    return key_slot(name if isinstance(name, bytes) else str(name).encode())


def read_slots(answer: Sequence[Any], asked: CacheServer) -> dict[int, CacheServer]:
    """The primary of each slot, from CLUSTER SLOTS; ValueError when it is another shape."""
    found: dict[int, CacheServer] = {}
    try:
        for first, last, primary, *_ in answer:
            host = primary[0] or asked.host
            server = CacheServer(host.decode() if isinstance(host, bytes) else host, int(primary[1]))
            found.update(dict.fromkeys(range(int(first), int(last) + 1), server))
    except (TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"the answer to CLUSTER SLOTS is not understood: {error}") from None
    return found
