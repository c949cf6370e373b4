"""The table of connections: places are given out, taken back and used again."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.workers.request.bench import Bench
from trinity.compiled import jit_enabled
from trinity.limits import CONNECTIONS_MAX
from trinity.native.addresses import address_words
from workers.request.http.slots import FD, FREE_COUNT, close_connection, connections_of, push_ready

pytestmark = pytest.mark.skipif(not jit_enabled(), reason="system calls exist only compiled")


@pytest.fixture
def bench(warm: None, make_private: Any, make_answer: Any) -> Iterator[Bench]:
    made = Bench(make_private(), make_answer)
    yield made
    made.close()


def test_a_place_is_given_back_once_and_used_again(bench: Bench) -> None:
    """Closing twice gives one place back, and the next client gets it."""
    bench.open()
    free = int(bench.at.state[FREE_COUNT])
    close_connection(bench.at, 0)
    close_connection(bench.at, 0)
    assert bench.at.state[FREE_COUNT] == free + 1
    bench.open()
    assert bench.at.table[0, FD] >= 0


def test_a_connection_stands_on_the_ready_list_once(bench: Bench) -> None:
    """However often it is pushed, the next turn serves it once and then waits for the kernel."""
    bench.open()
    push_ready(bench.at, 0)
    push_ready(bench.at, 0)
    assert bench.serve_ready() == 1
    assert bench.serve_ready() == 0


@pytest.mark.parametrize(
    ("files", "connections"), [(-1, CONNECTIONS_MAX), (1 << 20, CONNECTIONS_MAX), (1024, 896), (100, 1)]
)
def test_a_worker_takes_no_more_connections_than_it_has_descriptors_for(files: int, connections: int) -> None:
    """Whom it cannot even accept it could not tell."""
    assert connections_of(files) == connections


def test_every_place_has_its_own_address(bench: Bench) -> None:
    """Two peers lie side by side, as words and as bytes."""
    bench.open("203.0.113.1")
    bench.open("2001:db8::2")
    expected = address_words("203.0.113.1").tobytes() + address_words("2001:db8::2").tobytes()
    assert bench.at.addresses.tobytes() == bench.at.address_octets.tobytes() == expected
