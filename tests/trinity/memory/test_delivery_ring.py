"""trinity/memory/delivery_ring.py"""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.memory.delivery_ring import RECORD_DTYPE, DeliveryRing
from trinity.memory.record_ring import POSITION_BITS

pytestmark = pytest.mark.uncompiled

WORD, HALF, SHORT, BYTE = (st.integers(0, 2**bits - 1) for bits in (63, 32, 16, 8))
FIELDS = {
    "time_ns": WORD, "subscription_id": WORD, "sequence": WORD, "latency_ns": WORD,
    "account_id": HALF, "late_us": HALF, "status": SHORT, "assets": SHORT,
    "outcome": BYTE, "attempts": BYTE, "reason": BYTE,
}  # fmt: skip
ONE = dict.fromkeys(FIELDS, 1)


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> DeliveryRing:
    return DeliveryRing.open(tmp_path_factory.mktemp("rings") / "ring-3", 3, 1024, 1_700_000_000)


@given(values=st.fixed_dictionaries(FIELDS))
def test_a_record_is_read_as_it_was_written(ring: DeliveryRing, values: dict[str, int]) -> None:
    """Every field arrives whatever the others are, and the id is that of its place."""
    position = ring.written
    delivery_id = ring.append(**values)
    assert delivery_id == 3 << POSITION_BITS | position
    (record,) = ring.read(position, 1)
    assert {name: int(record[name]) for name in FIELDS} == values
    assert int(record["delivery_id"]) == delivery_id
    ring.release(position + 1)


def test_what_is_early_or_very_late_is_at_the_bounds(ring: DeliveryRing) -> None:
    """A due time in the future is no lateness, and 72 minutes are the most that is told."""
    position = ring.written
    for late_us, kept in ((-1, 0), (1 << 40, 2**32 - 1)):
        ring.append(**ONE | {"late_us": late_us})
        assert ring.read(position, 2)[-1]["late_us"] == kept
    ring.release(position + 2)


def test_a_full_ring_refuses_and_counts(tmp_path: Path) -> None:
    """What the flusher has not taken over is never lost to a newer record."""
    ring = DeliveryRing.open(tmp_path / "ring-0", 0, 16, 1)
    assert all(ring.append(**ONE) is not None for _ in range(16))
    assert ring.append(**ONE) is None
    assert ring.refused == 1
    ring.release(ring.released + 1)
    assert ring.append(**ONE) is not None


def test_every_field_of_the_layout_is_one_that_is_written() -> None:
    """But the id, which is the ring's, and what is kept free."""
    assert set(RECORD_DTYPE.names or ()) == {*FIELDS, "delivery_id", "reserved"}
