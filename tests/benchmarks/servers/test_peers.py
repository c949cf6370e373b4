"""Each peer that is installed gives right answers; one that is not is skipped."""

from pathlib import Path

import pytest

from benchmarks.errors import PeerError
from benchmarks.generators.http import HttpGenerator
from benchmarks.generators.load import Load
from benchmarks.servers.peers import PEERS, Peer, Place, start_peer, versions
from benchmarks.servers.processes import Server, cores

BODY = (
    b'{"asset":"BTC","price":71002.5,"currency":"USD","confidence":17.5,"sources":5,"rejected":1,"source":"consensus",'
    b'"timestamp":1760000000123,"status":"fresh","disagreement_bps":1.69,"exchanges":["coinbase","gemini"]}'
)


def _place(folder: Path) -> Place:
    return Place(folder, cores()[0], b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY), BODY)


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_a_peer_sends_our_body_to_every_request(peer: Peer, tmp_path: Path) -> None:
    """Over kept-alive connections every answer of a peer passes the same checks as ours."""
    started = start_peer(peer, _place(tmp_path))
    if started is None:
        pytest.skip(f"{peer.name} is not installed")
    server, target = started
    try:
        generator = HttpGenerator(target, 4)
        outcome = generator.run(Load(0.1))
        generator.close()
    finally:
        server.stop()
    assert outcome.answered == outcome.sent >= 4
    assert outcome.faults == {}


def test_an_absent_peer_is_none(tmp_path: Path) -> None:
    """A peer that says it is not installed starts nothing."""
    assert start_peer(Peer("absent", "", lambda _place, _port: None), _place(tmp_path)) is None


def test_a_peer_that_does_not_start_is_an_error_with_its_name(tmp_path: Path) -> None:
    """A program that ends at once is named with what it said."""

    def broken(place: Place, _port: int) -> Server:
        from benchmarks.servers.processes import start

        return start("broken", ["sh", "-c", "echo no licence; exit 1"], place.folder)

    with pytest.raises(PeerError, match="broken: did not start: no licence"):
        start_peer(Peer("broken", "", broken), _place(tmp_path))


def test_versions_are_lines_of_the_installed_peers() -> None:
    """Whatever is installed says one line about itself."""
    found = versions()
    assert {"granian", "uvicorn"} <= found.keys()
    for line in found.values():
        assert line
        assert "\n" not in line
