"""workers/request/udp/parked.py"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.compiled import refer_to
from trinity.limits import UDP_REQUEST_BYTES_MAX
from trinity.native.addresses import SOCKADDR_WORDS
from trinity.native.libc import CONTROL_LENGTH, CONTROL_WORDS, MESSAGE_WORDS, NAME_LENGTH
from trinity.process import AskerMemory
from workers.request.beyond import make_beyond
from workers.request.udp.parked import give_again, keep_datagram, make_parked_datagrams

pytestmark = pytest.mark.uncompiled

BEYOND = make_beyond(AskerMemory.private(), 4, True, 3)
PARKED = make_parked_datagrams(3)


@given(st.lists(st.binary(min_size=1, max_size=UDP_REQUEST_BYTES_MAX), min_size=3, max_size=3), st.integers(0, 7))
def test_a_datagram_comes_back_whole_with_its_sender(datagrams: list[bytes], message: int) -> None:
    """From wherever in a batch it was kept, to where the first of a batch lies."""
    received = np.zeros(8 * MESSAGE_WORDS, dtype=np.uint64)
    names = np.zeros(8 * SOCKADDR_WORDS, dtype=np.uint64)
    controls = np.zeros(8 * CONTROL_WORDS, dtype=np.uint64)
    inbox = np.zeros(UDP_REQUEST_BYTES_MAX + 100, dtype=np.uint8)
    name, control, word = message * SOCKADDR_WORDS, message * CONTROL_WORDS, message * MESSAGE_WORDS
    for place, datagram in enumerate(datagrams):
        inbox[100 : 100 + len(datagram)] = np.frombuffer(datagram, dtype=np.uint8)
        received[word + NAME_LENGTH], received[word + CONTROL_LENGTH] = 10 + place, 20 + place
        names[name : name + SOCKADDR_WORDS] = 30 + place
        controls[control : control + CONTROL_WORDS] = 40 + place
        keep_datagram(
            refer_to(PARKED), refer_to(BEYOND), place, inbox, 100, len(datagram), received, word, names, name,
            controls, control,
        )  # fmt: skip
    for place in (2, 0, 1):
        size = give_again(refer_to(PARKED), refer_to(BEYOND), place, inbox, received, names, controls)
        assert bytes(inbox[:size]) == datagrams[place]
        assert (received[NAME_LENGTH], received[CONTROL_LENGTH]) == (10 + place, 20 + place)
        assert set(names[:SOCKADDR_WORDS].tolist()) == {30 + place}
        assert set(controls[:CONTROL_WORDS].tolist()) == {40 + place}
