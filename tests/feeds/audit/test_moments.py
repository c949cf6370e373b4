"""A past moment explained: as the running node would have explained it then."""

from pathlib import Path

import pytest

from feeds.audit import moments, replay
from feeds.audit.account import DecisionAccount
from feeds.audit.entries import Entry, Turn
from feeds.audit.explain import explain_moment, explain_now
from feeds.audit.recorder import CHECKPOINT_NS
from feeds.audit.segments import FOLDER, Chunk, list_segments, read_chunk, read_chunks, read_segment
from tests.feeds.audit.small_node import SmallNode, small_node
from trinity.clock import NS_PER_SECOND
from trinity.errors import AbsentError


def now(node: SmallNode) -> DecisionAccount:
    context = node.context
    return explain_now(context.prices, context.answers, context.catalog, 1, node.clock)


def test_a_recorded_moment_is_explained_as_it_was_then(tmp_path: Path) -> None:
    """Every source, every step and the result, at moments all over a recording."""
    then: list[tuple[int, DecisionAccount]] = []
    with small_node(tmp_path) as node:
        node.switch(True)
        for seed in range(30):
            node.trade_a_while(5, seed)
            node.turn(0.0)
            then.append((node.clock.wall_ns(), now(node)))
            node.turn(0.1)
        node.close()

    good = 0
    for wall_ns, account in then:
        again = explain_moment(tmp_path, "SOL", wall_ns)
        assert again.sources == account.sources
        assert (again.state, again.price, again.used, again.left_out) == (
            account.state,
            account.price,
            account.used,
            account.left_out,
        )
        assert again.served_as == account.served_as
        good += account.price is not None
    assert good > 10


def test_a_moment_outside_of_the_recording_is_absent(tmp_path: Path) -> None:
    """Before it, long after it, while it was off, and an asset that it does not have: said, not guessed."""
    with small_node(tmp_path) as node:
        before_ns = node.clock.wall_ns() - NS_PER_SECOND
        node.switch(True)
        node.trade_a_while(20)
        node.switch(False)
        node.clock.advance(60)
        off_ns = node.clock.wall_ns()
        node.switch(True)
        node.trade_a_while(20)
        within_ns = node.clock.wall_ns()
        node.turn()
        node.close()

    for wall_ns in (before_ns, off_ns - 10 * NS_PER_SECOND, within_ns + 3600 * NS_PER_SECOND):
        with pytest.raises(AbsentError, match="recording of SOL"):
            explain_moment(tmp_path, "SOL", wall_ns)
    with pytest.raises(AbsentError, match="it has BTC SOL USDT USDC"):
        explain_moment(tmp_path, "DOGE", within_ns)
    with pytest.raises(AbsentError):
        explain_moment(tmp_path / "nowhere", "SOL", within_ns)
    assert explain_moment(tmp_path, "SOL", within_ns).asset == "SOL"


def turns_of(path: Path) -> list[int]:
    """When a segment's turns were, by the wall clock."""
    return [entry.wall_ns for _, entries in read_segment(path) for entry in entries if isinstance(entry, Turn)]


def test_only_the_turns_around_a_moment_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the checkpoint to the first turn behind the moment, of one segment, however long the recording is."""
    with small_node(tmp_path, bytes_max=64 * 40_000) as node:
        node.switch(True)
        node.trade_a_while(800)
        node.close()
    infos = [info for info in list_segments(tmp_path / FOLDER) if info.stream == "consensus"]
    assert len(infos) > 2
    chunks = list(read_chunks(infos[1].path))
    assert len(chunks) > 50
    decoded: list[Chunk] = []
    headers: list[Path] = []

    def counted(path: Path, chunk: Chunk) -> list[Entry]:
        decoded.append(chunk)
        return read_chunk(path, chunk)

    header_of = replay.header_of
    monkeypatch.setattr(moments, "read_chunk", counted)
    monkeypatch.setattr(replay, "header_of", lambda path: headers.append(path) or header_of(path))
    # A segment ends with a turn: a moment shortly before that, and not long behind the turn before, has an account.
    before_ns = min(infos[2].start_ns - 1, turns_of(infos[1].path)[-2] + NS_PER_SECOND)
    assert explain_moment(tmp_path, "SOL", before_ns).asset == "SOL"
    for chunk in (chunks[3], chunks[len(chunks) // 2], chunks[-2]):
        decoded.clear()
        headers.clear()
        assert explain_moment(tmp_path, "SOL", chunk.wall_ns).asset == "SOL"
        span_ns = max(found.wall_ns for found in decoded) - min(found.wall_ns for found in decoded)
        # Turns of this node are up to 3 s apart, and a chunk is written behind the turn that ends it.
        assert span_ns <= CHECKPOINT_NS + 10 * NS_PER_SECOND
        assert headers == [infos[1].path]


def test_what_is_not_written_yet_is_not_guessed(tmp_path: Path) -> None:
    """A moment behind the newest turn of the file has no account, however shortly: another turn may come."""
    with small_node(tmp_path) as node:
        node.switch(True)
        node.trade_a_while(20)
        node.turn(1.0)
        node.turn(0.0)
        newest_ns = node.clock.wall_ns()
        for recorder in (node.recorder, *node.recorders.values()):
            assert recorder is not None
            recorder.flush(node.clock.monotonic_ns())
        node.clock.advance(1.0)
        for wall_ns in (newest_ns + 1, node.clock.wall_ns()):
            with pytest.raises(AbsentError, match="recording of SOL"):
                explain_moment(tmp_path, "SOL", wall_ns)
        assert explain_moment(tmp_path, "SOL", newest_ns).asset == "SOL"
        node.turn(0.0)
        node.close()
    assert explain_moment(tmp_path, "SOL", newest_ns + NS_PER_SECOND // 2).asset == "SOL"
