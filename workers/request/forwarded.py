"""Who asks: the peer of the connection, or whom the operator's own proxies name in X-Forwarded-For. Pure, compiled.

Each proxy appends the address of its own peer, so the header is a list of hops, and only its right end is known to be
true. Rules: it is read from the right, as long as the address so far is that of a trusted proxy: the first that is
not is the caller. Several lines are one list (RFC 9110, 5.3). An entry that is no address stops the walk at the
trusted hop that wrote it; so does the end of the list.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from trinity.compiled import compiled, compiled_inline
from trinity.memory.atomics import Words
from trinity.memory.cell import WORD_BYTES
from trinity.native.addresses import ADDRESS_WORDS, parse_address
from trinity.native.networks import Networks, is_inside, proxy_networks
from trinity.native.octets import NOT_FOUND, Integers, Octets, byte_at, find_folded, pack_texts
from workers.request.http.parse import FORWARDED, HEADER_COUNT, HEADER_WORDS, HEADERS

_NAME, _NAME_BOUNDS = pack_texts([b"x-forwarded-for"])
_COMMA, _SPACE, _TAB = b", \t"


class Caller(NamedTuple):
    """The addresses of the request that is being answered, two words each; few arrays, because they are passed on."""

    words: Words  # PEER, ADDRESS and an entry of the header
    octets: Octets  # the same memory
    proxies: Networks


# Words of Caller.words: whose connection or datagram it is; who asks, whom limits, blocks and usage records mean.
PEER, ADDRESS, _NAMED = range(0, 3 * ADDRESS_WORDS, ADDRESS_WORDS)


def make_caller(trusted_proxies: Sequence[str]) -> Caller:
    """Memory for one request's addresses; ConfigError("TRUSTED_PROXIES") for what is no network."""
    words = np.zeros(3 * ADDRESS_WORDS, dtype=np.uint64)
    return Caller(words, words.view(np.uint8), proxy_networks(trusted_proxies))


@compiled_inline
def set_peer(caller: Caller, addresses: Words, at: int) -> None:
    """The request came from the address at word `at`; until a header says otherwise, that is who asks."""
    caller.words[PEER], caller.words[PEER + 1] = addresses[at], addresses[at + 1]
    forget_forwarded(caller)


@compiled_inline
def forget_forwarded(caller: Caller) -> None:
    """Nobody but the peer asks."""
    caller.words[ADDRESS], caller.words[ADDRESS + 1] = caller.words[PEER], caller.words[PEER + 1]


@compiled_inline
def find_caller(caller: Caller, buffer: Octets, head: Integers) -> None:
    """Set the address of who asks by the parsed request `head`."""
    forget_forwarded(caller)
    if head[FORWARDED] > 0 and is_inside(caller.proxies, caller.words, PEER):
        _walk(caller, buffer, head)


@compiled
def _walk(caller: Caller, buffer: Octets, head: Integers) -> None:
    words = caller.words
    for header in range(head[HEADER_COUNT] - 1, -1, -1):
        word = HEADERS + header * HEADER_WORDS
        if find_folded(_NAME, _NAME_BOUNDS, buffer, head[word], head[word + 1]) == NOT_FOUND:
            continue
        start, end = head[word + 2], head[word + 3]
        while end >= start:
            entry_end = end
            entry_start = entry_end
            while entry_start > start and byte_at(buffer, entry_start - 1) != _COMMA:
                entry_start -= 1
            end = entry_start - 1  # before the comma; before the value itself when this was the first entry
            while entry_start < entry_end and _is_blank(buffer, entry_start):
                entry_start += 1
            while entry_end > entry_start and _is_blank(buffer, entry_end - 1):
                entry_end -= 1
            if not parse_address(buffer, entry_start, entry_end, caller.octets, _NAMED * WORD_BYTES):
                return
            words[ADDRESS], words[ADDRESS + 1] = words[_NAMED], words[_NAMED + 1]
            if not is_inside(caller.proxies, words, ADDRESS):
                return


@compiled
def _is_blank(buffer: Octets, at: int) -> bool:
    return byte_at(buffer, at) in (_SPACE, _TAB)
