"""workers/push/shares/snapshot.py: what a start without a database knows."""

import datetime
from pathlib import Path

import pytest

from trinity.errors import SnapshotError
from trinity.push.subscription import Subscription
from workers.push.shares.snapshot import KnownFailing, PushSnapshot, load, save

NOW = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)


def subscription(number: int) -> Subscription:
    return Subscription(
        id=number,
        account_id=1,
        key_id=None,
        name="a\nname",
        target="https://example.com/x",
        assets=("BTC", "ETH"),
        interval_s=3,
        deviation_bps=0,
        heartbeat_s=0,
        max_age_ms=0,
        min_sources=0,
        state="active",
        disabled_reason=None,
        disabled_at=None,
        secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        old_secret=None,
        old_secret_until=None,
        revision=number,
        created_at=NOW,
        changed_at=NOW,
        deleted_at=None,
    )


def _snapshot(count: int = 1_200) -> PushSnapshot:
    failing = KnownFailing(id=3, failing_since=NOW, failures=4, next_at=NOW)
    return PushSnapshot(NOW, [subscription(number) for number in range(1, count + 1)], [failing])


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    """To the last field, in a file that is its owner's alone: it has secrets."""
    path = tmp_path / "push.snapshot"
    save(path, _snapshot())
    assert load(path) == _snapshot()
    assert path.stat().st_mode & 0o777 == 0o600


def test_there_may_be_none(tmp_path: Path) -> None:
    """A first start."""
    assert load(tmp_path / "push.snapshot") is None


@pytest.mark.parametrize("at", [0, 1, 20, 200, -1, -33, -40])
def test_a_byte_that_is_another_one_is_seen(tmp_path: Path, at: int) -> None:
    """Nothing of a broken snapshot is believed."""
    path = tmp_path / "push.snapshot"
    save(path, _snapshot(3))
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)
    with pytest.raises(SnapshotError):
        load(path)


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 300])
def test_half_a_file_is_none(tmp_path: Path, length: int) -> None:
    """Whatever its length."""
    path = tmp_path / "push.snapshot"
    save(path, _snapshot(3))
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(SnapshotError):
        load(path)
