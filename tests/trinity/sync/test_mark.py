"""The mark as it stands in Valkey."""

import valkey
from hypothesis import given
from hypothesis import strategies as st

from tests.support.valkey_server import ValkeyServer
from trinity.cache.client import SyncCacheClient
from trinity.sync.mark import AGE_SECONDS_MAX, MOVE, Mark, read_mark

MARK = Mark("1.1.5", "10:12:11", ((100, 200), (300, 400)), 50, 1_000, "run", ("0", "3"))


def _stored(mark: Mark) -> dict[bytes, bytes]:
    fields = [text.encode() for text in mark.fields()]
    return dict(zip(fields[::2], fields[1::2], strict=True))


def test_it_is_read_as_it_was_written() -> None:
    """With and without gaps and tags; fresh for less than batches are kept."""
    for mark in (MARK, MARK.with_missing(()), Mark("a", "1:1:", (), 0, 0, "r")):
        assert read_mark(_stored(mark)) == mark
    assert MARK.is_fresh(1_000 + AGE_SECONDS_MAX - 1)
    assert not MARK.is_fresh(1_000 + AGE_SECONDS_MAX)


@given(st.sampled_from(sorted(_stored(MARK))), st.one_of(st.none(), st.text(max_size=9).map(str.encode)))
def test_what_is_broken_is_no_mark_or_another_one(name: bytes, value: bytes | None) -> None:
    """Never an error."""
    found = _stored(MARK)
    if value is None:
        del found[name]
    else:
        found[name] = value
    assert read_mark(found) is None or value is not None


def test_it_moves_only_while_it_is_the_run_s_own(valkey_server: ValkeyServer) -> None:
    """A Valkey that was emptied has none, and gets none."""
    cache = SyncCacheClient.open(valkey_server.settings)
    assert cache.script(MOVE, [("sync:mark", ["", *MARK.fields()])], 10) == [1]
    assert cache.script(MOVE, [("sync:mark", ["other", *MARK.fields()])], 10) == [0]
    assert cache.script(MOVE, [("sync:mark", ["run", *MARK.with_missing(()).fields()])], 10) == [1]
    valkey_server.flush()
    assert cache.script(MOVE, [("sync:mark", ["run", *MARK.fields()])], 10) == [0]
    client: valkey.Valkey
    with valkey_server.admin() as client:
        assert client.dbsize() == 0
    cache.close()
