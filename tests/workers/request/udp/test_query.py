"""workers/request/udp/query.py; what it says: test_text.py, waiting: test_beyond.py."""

import pytest

from tests.workers.request.beyond_desk import Desk
from workers.request.beyond import NOT_OF_CATALOG

pytestmark = pytest.mark.uncompiled


@pytest.mark.parametrize(
    ("datagram", "strangers", "asset", "given"),
    [
        (b"BTC", 0, b"BTC", 1),
        (b"pepe", 1, b"PEPE", 1),
        (b'{"assets":["PEPE"]}', 1, b"PEPE", 1),
        (b"PEPE,BTC,N-O", 2, b"", 2),
        (b"N-O", 1, b"", 1),
    ],
)
def test_each_name_of_a_datagram_is_counted_as_what_it_is(
    datagram: bytes, strangers: int, asset: bytes, given: int
) -> None:
    """Of the catalog or not; the usage record names a lone asset, whoever names it."""
    desk = Desk()
    desk.resolve("PEPE")
    assert isinstance(desk.send(datagram.ljust(1500)), bytes)
    assert int(desk.beyond.state[NOT_OF_CATALOG]) == strangers
    record = desk.private.record()
    assert (record["asset"], record["assets"]) == (asset, given)
