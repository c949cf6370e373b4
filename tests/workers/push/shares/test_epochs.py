"""workers/push/shares/epochs.py: sequences rise whatever happens to the process, the disk and the file."""

import logging
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from workers.push.shares import epochs
from workers.push.shares.epochs import COUNTER_BITS, EPOCH_MAX, EPOCHS_PER_LEASE, FILE_NAME, Epochs

LOG = logging.getLogger("test.epochs")


def test_each_start_uses_the_next_epoch(tmp_path: Path) -> None:
    """Written down before it is told."""
    assert Epochs(tmp_path, LOG).begin({3: 65}) == {3: 65}
    assert [Epochs(tmp_path, LOG).resume() for _ in range(3)] == [{3: 66}, {3: 67}, {3: 68}]


def test_a_reservation_ends(tmp_path: Path) -> None:
    """64 starts without PostgreSQL, then the shard is silent; a new reservation ends that."""
    Epochs(tmp_path, LOG).begin({3: 1})
    used = [Epochs(tmp_path, LOG).resume().get(3) for _ in range(EPOCHS_PER_LEASE)]
    assert used == [*range(2, EPOCHS_PER_LEASE + 1), None]
    again = Epochs(tmp_path, LOG)
    assert again.known()[3].is_used_up
    assert again.begin({3: 65}) == {3: 65}


def test_a_sequence_is_exact_in_json() -> None:
    """2**53 is the bound of a float (RFC 8259, 6)."""
    assert (EPOCH_MAX << COUNTER_BITS) <= 1 << 53


def test_what_is_given_up_is_not_resumed(tmp_path: Path) -> None:
    """It is another node's; what is left of its epochs may be gone on with when it comes back."""
    own = Epochs(tmp_path, LOG)
    own.begin({3: 1, 4: 1})
    own.give_up([3])
    assert Epochs(tmp_path, LOG).resume() == {4: 2}
    assert {shard: kept.first for shard, kept in Epochs(tmp_path, LOG).known().items()} == {3: 1, 4: 1}
    assert Epochs(tmp_path, LOG).begin({3: 1}) == {3: 2}


def test_a_disk_that_refuses_begins_no_epoch_and_costs_no_reservation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was reserved is known, so it is not reserved again each second."""
    own = Epochs(tmp_path, LOG)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(epochs, "write_whole", refuse)
        with pytest.raises(OSError, match="No space"):
            own.begin({3: 65})
    assert own.known() == {3: (65, 0, False)}
    assert own.held() == []
    assert own.begin({3: 65}) == {3: 65}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"3":[1]}', b'{"3":["a",1,true]}', b"\xff"])
def test_a_broken_file_is_as_good_as_none(tmp_path: Path, content: bytes) -> None:
    """New epochs come from the database, higher than all before."""
    (tmp_path / FILE_NAME).write_bytes(content)
    assert Epochs(tmp_path, LOG).known() == {}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(steps=st.lists(st.sampled_from(["resume", "renew", "give_up", "forget"]), max_size=30))
def test_epochs_rise_over_any_life(tmp_path: Path, steps: list[str]) -> None:
    """Starts, new reservations, losses, and a file that is gone."""
    (tmp_path / FILE_NAME).unlink(missing_ok=True)
    given_out, last = 1, 0
    for step in steps:
        own = Epochs(tmp_path, LOG)
        begun: dict[int, int] = {}
        if step == "resume":
            begun = own.resume()
        elif step == "renew":
            begun = own.begin({3: given_out})
            given_out += EPOCHS_PER_LEASE
        elif step == "give_up":
            own.give_up([3])
        else:
            (tmp_path / FILE_NAME).unlink(missing_ok=True)
        if begun:
            assert begun[3] > last
            last = begun[3]
