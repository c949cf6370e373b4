"""X-Forwarded-For, read from the right, and believed of the operator's own proxies only."""

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trinity.native.addresses import address_words
from trinity.native.octets import octets_of
from workers.request.forwarded import ADDRESS, find_caller, make_caller, set_peer
from workers.request.http import parse

pytestmark = pytest.mark.uncompiled

CALLER = make_caller(("10.0.0.0/8", "fd00::/8", "127.0.0.1"))


def caller_of(peer: str, *lines: str, proxies: tuple[str, ...] | None = None) -> str:
    """Who asks, when `peer` sends a request with these X-Forwarded-For lines between others."""
    import numpy as np

    caller = CALLER if proxies is None else make_caller(proxies)
    headers = "".join(f"{'x-forwarded-for' if i % 2 else 'X-Forwarded-For'}: {line}\r\nX: 9.9.9.9\r\n"
                      for i, line in enumerate(lines))  # fmt: skip
    buffer = octets_of(f"GET / HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode("latin-1"))
    head = np.zeros(parse.HEAD_WORDS, dtype=np.int64)
    assert parse.parse_head(buffer, 0, buffer.size, head) == parse.REQUEST
    set_peer(caller, address_words(peer), 0)
    find_caller(caller, buffer, head)
    found = ipaddress.IPv6Address(caller.words[ADDRESS : ADDRESS + 2].tobytes())
    return str(found.ipv4_mapped or found)


@pytest.mark.parametrize(
    ("peer", "lines", "caller"),
    [
        ("203.0.113.9", (), "203.0.113.9"),
        ("203.0.113.9", ("1.2.3.4",), "203.0.113.9"),
        ("10.0.0.1", (), "10.0.0.1"),
        ("10.0.0.1", ("1.2.3.4",), "1.2.3.4"),
        ("10.0.0.1", ("6.6.6.6, 1.2.3.4",), "1.2.3.4"),
        ("10.0.0.1", ("6.6.6.6,1.2.3.4,10.9.9.9",), "1.2.3.4"),
        ("10.0.0.1", ("6.6.6.6", "1.2.3.4", "10.9.9.9"), "1.2.3.4"),
        ("10.0.0.1", ("6.6.6.6", "1.2.3.4, fd00::7", "10.9.9.9"), "1.2.3.4"),
        ("10.0.0.1", ("10.3.3.3 , 10.2.2.2",), "10.3.3.3"),
        ("10.0.0.1", ("1.2.3.4:5678",), "1.2.3.4"),
        ("10.0.0.1", ("[2001:db8::1]:443",), "2001:db8::1"),
        ("10.0.0.1", ("2001:DB8::1",), "2001:db8::1"),
        ("fd00::1", ("1.2.3.4",), "1.2.3.4"),
        ("127.0.0.1", ("::ffff:1.2.3.4",), "1.2.3.4"),
    ],
)
def test_the_first_hop_from_the_right_that_is_no_proxy_is_the_caller(
    peer: str, lines: tuple[str, ...], caller: str
) -> None:
    """What a caller wrote itself stands further left and is never reached; a stranger's header is not read."""
    assert caller_of(peer, *lines) == caller


@pytest.mark.parametrize(
    ("line", "caller"),
    [
        ("1.2.3.4, unknown", "10.0.0.1"),
        ("1.2.3.4, unknown, 10.2.2.2", "10.2.2.2"),
        ("1.2.3.4,", "10.0.0.1"),
        ("", "10.0.0.1"),
        (" , ,", "10.0.0.1"),
        ("1.2.3.4, 10.2.2.2, 256.1.1.1", "10.0.0.1"),
        ("1.2.3.4, \xff\xfe", "10.0.0.1"),
        ("1.2.3.4 5.6.7.8", "10.0.0.1"),
    ],
)
def test_an_entry_that_is_no_address_ends_the_walk_at_the_hop_that_wrote_it(line: str, caller: str) -> None:
    """The caller is then the last proxy that is known: nobody can name an innocent through garbage."""
    assert caller_of("10.0.0.1", line) == caller


def test_without_a_trusted_proxy_nobody_is_believed() -> None:
    """The default: the peer is the caller, also on loopback."""
    assert caller_of("127.0.0.1", "1.2.3.4", proxies=()) == "127.0.0.1"


@settings(max_examples=300)
@given(st.lists(st.one_of(st.sampled_from(["10.1.1.1", "8.8.8.8", "fd00::2", "", "x"]), st.text("0123456789.:, x"))))
def test_any_header_gives_the_peer_or_an_entry_of_it(entries: list[str]) -> None:
    """No line makes an address out of nothing, and none raises."""
    named = {part.strip() for entry in entries for part in entry.split(",")}
    found = caller_of("10.0.0.1", *entries[:20])
    readable = {found == "10.0.0.1"}
    for text in named:
        for bare in (text, text.rpartition(":")[0]):
            try:
                address = ipaddress.ip_address(bare)
            except ValueError:
                continue
            readable.add(found in (str(address), str(getattr(address, "ipv4_mapped", None))))
    assert True in readable
