"""workers/push/udp/frames.py: the compiled writer makes the bytes of the plain one, to the last of them."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.push.udp.pushed import EXCHANGES, MARKETS, NOW_NS, Answer, expected, table_of
from trinity.limits import UDP_PAYLOAD_BYTES_MAX
from trinity.native.hmac import key_states
from trinity.native.sha256 import SCHEDULE_WORDS
from trinity.push.datagram import FLAG_SIMULATED, Datagram, encode, key_id_of, shared_out
from trinity.vocabulary import DELIVERY_REASONS
from workers.push.udp.board import make_board, take_prices
from workers.push.udp.frames import ASSETS_A_SUBSCRIPTION_MAX, PLACE_BYTES, SLOT_DTYPE, write_datagram

pytestmark = pytest.mark.uncompiled

NUMBER = st.integers(0, 2**63 - 1)


class Wanted(NamedTuple):
    """A subscription, and the moment."""

    subscription_id: int
    sequence: int
    time_ns: int
    lifetime_ms: int
    reason: int
    is_simulated: bool
    max_age_ms: int
    min_sources: int
    secret: bytes


WANTED = st.builds(
    Wanted, NUMBER, st.integers(0, 2**53), NUMBER, st.integers(0, 2**32 - 1),
    st.integers(0, len(DELIVERY_REASONS) - 1), st.booleans(), st.integers(0, 2000), st.integers(0, 6),
    st.binary(min_size=24, max_size=64),
)  # fmt: skip


def written(market: dict[str, Answer | None], assets: list[int], wanted: Wanted) -> list[bytes]:
    """All datagrams of the compiled writer, in a place between others."""
    board = make_board(list(market), EXCHANGES)
    take_prices(board, table_of(list(market.values())), NOW_NS)
    slots = np.zeros(1, dtype=SLOT_DTYPE)
    for name in ("subscription_id", "sequence", "lifetime_ms", "max_age_ms", "min_sources"):
        slots[name] = getattr(wanted, name)
    slots["key_states"], slots["key_id"] = key_states(wanted.secret), np.frombuffer(key_id_of(wanted.secret), "u1")
    slots["count"], slots["assets"][0, : len(assets)] = len(assets), assets
    octets, schedule = np.full(3 * PLACE_BYTES, 0xFF, dtype=np.uint8), np.zeros(SCHEDULE_WORDS, dtype=np.int64)
    datagrams, first = [], 0
    while first < len(assets):
        flags = FLAG_SIMULATED * wanted.is_simulated
        end, first = write_datagram(
            board, slots[0], first, flags, wanted.reason, wanted.time_ns, octets, octets.view(np.uint32), PLACE_BYTES,
            schedule,
        )  # fmt: skip
        datagrams.append(octets[PLACE_BYTES:end].tobytes())
        slots["sequence"] += 1
    assert (octets[:PLACE_BYTES] == 0xFF).all()
    assert (octets[2 * PLACE_BYTES :] == 0xFF).all()
    return datagrams


def encoded(market: dict[str, Answer | None], assets: list[int], wanted: Wanted) -> list[bytes]:
    """The same of the plain writer."""
    prices = [
        expected(name, answer, wanted.max_age_ms, wanted.min_sources)
        for name, answer in (list(market.items())[number] for number in assets)
    ]
    datagrams, first = [], 0
    for number, count in enumerate(shared_out([price.asset for price in prices])):
        said = Datagram(
            wanted.subscription_id, wanted.sequence + number, wanted.time_ns, wanted.lifetime_ms, wanted.reason,
            wanted.is_simulated, tuple(prices[first : first + count]),
        )  # fmt: skip
        datagrams.append(encode(said, wanted.secret))
        first += count
    return datagrams


@given(market=MARKETS, wanted=WANTED, data=st.data())
def test_a_datagram_is_the_plain_writers_byte_by_byte(
    market: dict[str, Answer | None], wanted: Wanted, data: st.DataObject
) -> None:
    """Any prices, limits, numbers and secret; assets in any order."""
    assets = data.draw(st.lists(st.integers(0, len(market) - 1), min_size=1, max_size=9))
    assert written(market, assets, wanted) == encoded(market, assets, wanted)


@pytest.mark.parametrize("letters", [1, 3, 16])
def test_more_assets_than_a_datagram_holds_take_several(letters: int) -> None:
    """150 of them: each datagram has a sequence of its own, and none is longer than an Ethernet frame permits."""
    names = [f"{number:0{max(letters, 3)}}"[:16] for number in range(ASSETS_A_SUBSCRIPTION_MAX)]
    market: dict[str, Answer | None] = {name: Answer(price=number + 1) for number, name in enumerate(names)}
    wanted = Wanted(1, 5, 1, 1, 0, False, 0, 0, b"s" * 24)
    found = written(market, list(range(len(names))), wanted)
    assert found == encoded(market, list(range(len(names))), wanted)
    assert 2 < len(found) < 6
    assert max(map(len, found)) <= UDP_PAYLOAD_BYTES_MAX
